"""Shares that came in so far, of one server (all workers of one supervisor), in memory and nowhere else.

Guarantees: shares of one set only, each number once; they are forgotten when the server is unsealed, when somebody starts over,
when a share of a newer set comes, and half an hour after the last one came. What was given through one worker counts for all,
because the supervisor keeps the box.

What it will not do: find out whether a share is right (the seal's digests do, before it comes here), or show one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from overseer.crypto.keys import RootKey
from overseer.crypto.shares import Share
from overseer.server.seals.shamir import root_of_shares

KEEP_SECONDS: Final = 1800.0


@dataclass(frozen=True, slots=True)
class Collected:
    """How many different shares were given, and the root key once they are enough (not checked against the instance yet)."""

    given: int
    root_key: RootKey | None = field(default=None, repr=False)


class ShareCollector(Protocol):
    """Where a worker brings shares."""

    async def give(self, share: Share, *, anew: bool = False) -> Collected:
        """Add a checked share; with ``anew`` all others are forgotten first. Raises :class:`NotReady`."""

    async def given(self) -> int:
        """How many were given so far. Raises :class:`NotReady`."""

    async def forget(self) -> None:
        """Start over: what was gathered is of no use."""


class ShareBox:
    """The shares themselves. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shares: dict[int, Share] = {}
        self._at = clock()

    def give(self, share: Share, *, anew: bool = False) -> Collected:
        """As :meth:`ShareCollector.give`."""
        self._expire()
        if anew or any(other.set_id != share.set_id for other in self._shares.values()):
            self.forget()
        self._shares[share.number] = share
        self._at = self._clock()
        enough = len(self._shares) >= share.threshold
        return Collected(len(self._shares), root_of_shares(self._shares.values()) if enough else None)

    def given(self) -> int:
        self._expire()
        return len(self._shares)

    def forget(self) -> None:
        self._shares.clear()

    def _expire(self) -> None:
        if self._clock() - self._at >= KEEP_SECONDS:
            self.forget()


class LocalShares:
    """A :class:`ShareCollector` for a process without a supervisor."""

    def __init__(self, box: ShareBox | None = None) -> None:
        self._box = box or ShareBox()

    async def give(self, share: Share, *, anew: bool = False) -> Collected:
        return self._box.give(share, anew=anew)

    async def given(self) -> int:
        return self._box.given()

    async def forget(self) -> None:
        self._box.forget()
