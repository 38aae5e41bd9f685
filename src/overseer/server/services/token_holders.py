"""Whose share of a process a request counts for: its principal's where that is known, else its peer's.

The gate and the batches tell whose token they found alive, so a principal has one share however many tokens and sessions it
holds. A token whose principal is not known yet, or that was refused since, counts for its peer: made-up ones gain nothing.

What it is not: a decision about access. A token never changes hands, so what is remembered cannot become wrong; whether the token
is still good is read anew by each request, in its transaction. Per process, in memory, bounded in size.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Final
from uuid import UUID

from overseer.core.errors import NotReady
from overseer.core.principals import Caller

MAX_TOKENS: Final = 20_000
#: Of the ten connections of a process: the others stay for everybody else.
TURNS_AT_ONCE: Final = 5
TURN_SECONDS: Final = 10.0

Holder = UUID | str


class TokenHolders:
    """Token hashes and the principals they were found to belong to."""

    def __init__(self) -> None:
        self._principals: OrderedDict[bytes, UUID] = OrderedDict()

    def learn(self, token_hash: bytes | None, principal: UUID) -> None:
        """The token was alive, and is the principal's."""
        if token_hash is None:
            return
        self._principals[token_hash] = principal
        self._principals.move_to_end(token_hash)
        if len(self._principals) > MAX_TOKENS:
            self._principals.popitem(last=False)

    def forget(self, token_hash: bytes | None) -> None:
        """The token was refused: from now on it counts for whoever sends it."""
        if token_hash is not None:
            self._principals.pop(token_hash, None)

    def of(self, token_hash: bytes | None) -> UUID | None:
        """The principal of a token that was alive when it was last seen."""
        return None if token_hash is None else self._principals.get(token_hash)

    def whose(self, caller: Caller) -> Holder:
        """The principal, or ``peer`` and the network that the request comes from."""
        return self.of(caller.token_hash) or f"peer {network_of(caller.peer)}"


@dataclass(slots=True)
class _Line:
    free: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(TURNS_AT_ONCE))
    users: int = 0


class Turns:
    """How many transactions of one holder are under way at a time; the next ones wait in line, behind nobody else's."""

    def __init__(self) -> None:
        self._lines: dict[Holder, _Line] = {}

    @asynccontextmanager
    async def take(self, holder: Holder) -> AsyncIterator[None]:
        """Hold a turn. Raises :class:`NotReady` where the holder's own requests leave none for ten seconds."""
        line = self._lines.setdefault(holder, _Line())
        line.users += 1
        try:
            try:
                async with asyncio.timeout(TURN_SECONDS):
                    await line.free.acquire()
            except TimeoutError:
                raise NotReady("too many requests of yours wait for the store; try again", retry_after=1) from None
            try:
                yield
            finally:
                line.free.release()
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[holder]


@lru_cache(maxsize=1024)
def network_of(peer: str) -> str:
    """What counts as one peer: an IPv4 address, the first 64 bits of an IPv6 address, anything else as it is."""
    try:
        address = ip_address(peer)
    except ValueError:
        return peer
    return address.exploded[:19] if isinstance(address, IPv6Address) else peer
