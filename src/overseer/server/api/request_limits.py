"""Limits on what one principal, or one peer without a credential, may ask of a process at a time and in a second.

Guarantees: a burst of long polls and event streams of one principal leaves room for its ordinary requests (a quarter of the
places is for what waits), and no principal takes every place that others need, however many tokens it holds; beyond a limit the
answer is 429 with Retry-After, before anything reaches the store. A credential counts for its principal once it lately was good;
until then its peer counts, so made-up tokens gain nothing.

Per process and in memory, as ``throttle`` is: w workers allow w times as much, and a replica more doubles it again. The numbers
are bounds against one client taking over a process, not quotas: a shared count would cost a round trip for each request.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from time import monotonic
from typing import Final

from overseer.core.errors import RateLimited
from overseer.server.api.throttle import Bucket
from overseer.server.services.token_holders import Holder

MAX_KEYS: Final = 10_000
WAITING_SHARE: Final = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """``per_second`` 0: no limit on the rate; a burst of two seconds' worth is let through."""

    in_flight: int = 256
    per_second: int = 20_000

    @property
    def waiting(self) -> int:
        """How many of the requests in flight may wait for an event."""
        return max(1, self.in_flight // WAITING_SHARE)


@dataclass(slots=True)
class Use:
    """What one key has in flight, and how many of those wait for an event."""

    bucket: Bucket
    in_flight: int = 0
    waiting: int = 0

    def leave(self, *, waits: bool) -> None:
        """Give back what :meth:`RequestLimits.enter` took."""
        self.in_flight -= 1
        self.waiting -= waits


class RequestLimits:
    """``clock`` is monotonic, in seconds."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = monotonic) -> None:
        self._limits = limits or Limits()
        self._clock = clock
        self._uses: dict[Holder | bytes, Use] = {}

    @contextmanager
    def take(self, key: Holder | bytes, *, waits: bool) -> Iterator[None]:
        """Hold a place of ``key`` for as long as its request is answered. Raises :class:`RateLimited` (429)."""
        use = self.enter(key, waits=waits)
        try:
            yield
        finally:
            use.leave(waits=waits)

    def enter(self, key: Holder | bytes, *, waits: bool) -> Use:
        """As :meth:`take`, until :meth:`Use.leave` is called."""
        use = self._uses.get(key) or self._add(key)
        if use.in_flight >= self._limits.in_flight or (waits and use.waiting >= self._limits.waiting):
            raise RateLimited("too many requests of yours are being answered at once; wait for some to end", retry_after=1)
        if self._limits.per_second:
            use.bucket.take(self._clock(), "too many requests in a second; slow down")
        use.in_flight += 1
        use.waiting += waits
        return use

    def _add(self, key: Holder | bytes) -> Use:
        if len(self._uses) >= MAX_KEYS:
            self._forget()
        rate = self._limits.per_second
        use = self._uses[key] = Use(Bucket(2.0 * rate, float(rate or 1), 2.0 * rate, self._clock()))
        return use

    def _forget(self) -> None:
        """Drop those that nothing is in flight of, the oldest first, until a tenth is free again."""
        idle = [key for key, use in self._uses.items() if use.in_flight == 0]
        for key in idle[: ceil(MAX_KEYS / 10)]:
            del self._uses[key]
