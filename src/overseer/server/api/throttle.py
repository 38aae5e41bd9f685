"""Limits on callers that have not shown a live credential, before anything of theirs reaches the store.

Each peer (IPv6: its /64) has a bucket of attempts. An attempt is taken before a request and given back unless it ends
unauthenticated, so only failures cost. A token that lately was good passes without an attempt: a neighbour's guessing
behind the same address cannot lock a working client out. That is an exemption from the limit, never from the gate.

Large bodies of strangers are few at a time, so that nobody without a credential can fill the memory of the process.

Per process and in memory, bounded in size: several workers allow as many times the rate.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Final

from overseer.core.errors import NotReady, RateLimited
from overseer.server.services.token_holders import Holder, TokenHolders, network_of

FAILURES_PER_SECOND: Final = 10.0
BURST_SECONDS: Final = 10
FAILURES_BURST: Final = int(FAILURES_PER_SECOND * BURST_SECONDS)
MAX_PEERS: Final = 10_000
MAX_GOOD_TOKENS: Final = 10_000
GOOD_SECONDS: Final = 300.0
LARGE_AT_A_TIME: Final = 4


@dataclass(slots=True)
class Bucket:
    """Tokens that come back with time, at most ``burst``; times in seconds of one monotonic clock."""

    burst: float
    per_second: float
    tokens: float
    at: float

    def take(self, now: float, refusal: str = "too many attempts; wait") -> None:
        """Take one, or raise :class:`RateLimited` with ``refusal`` and the time until there is one."""
        self.tokens = min(self.burst, self.tokens + (now - self.at) * self.per_second)
        self.at = now
        if self.tokens < 1:
            raise RateLimited(refusal, retry_after=ceil((1 - self.tokens) / self.per_second))
        self.tokens -= 1


class Throttle:
    """``clock`` is monotonic, in seconds; ``per_second`` attempts of a peer may fail, and ten times as many at once;
    ``holders`` knows the principals of tokens."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        *,
        per_second: float = FAILURES_PER_SECOND,
        holders: TokenHolders | None = None,
    ) -> None:
        self._holders = holders or TokenHolders()
        self._clock = clock
        self._per_second = per_second
        self._burst = per_second * BURST_SECONDS
        self._peers: OrderedDict[str, Bucket] = OrderedDict()
        self._good: OrderedDict[bytes, float] = OrderedDict()
        self._large = 0

    def admit(self, peer: str, token_hash: bytes | None) -> None:
        """Take an attempt of ``peer``, or raise :class:`RateLimited` (429)."""
        if self._is_good(token_hash):
            return
        now = self._clock()
        key = network_of(peer)
        bucket = self._peers.get(key)
        if bucket is None:
            if len(self._peers) >= MAX_PEERS:
                self._peers.popitem(last=False)
            bucket = self._peers[key] = Bucket(self._burst, self._per_second, self._burst, now)
        else:
            self._peers.move_to_end(key)
        bucket.take(now)

    @contextmanager
    def large_body(self, token_hash: bytes | None) -> Iterator[None]:
        """For as long as a large body is held. Raises :class:`NotReady` (503) where too many of strangers are."""
        if self._is_good(token_hash):
            yield
            return
        if self._large >= LARGE_AT_A_TIME:
            raise NotReady("too many large requests by callers that are not known yet; try again", retry_after=1)
        self._large += 1
        try:
            yield
        finally:
            self._large -= 1

    def failed(self, token_hash: bytes | None) -> None:
        """The request ended unauthenticated: its attempt is spent, its token no longer good."""
        if token_hash is not None:
            self._good.pop(token_hash, None)

    def passed(self, peer: str, token_hash: bytes | None, *, authenticated: bool) -> None:
        """The request did not end unauthenticated: its attempt comes back. ``authenticated``: the gate knew the token."""
        if self._is_good(token_hash):
            return
        now = self._clock()
        bucket = self._peers.get(network_of(peer))
        if bucket is not None:
            bucket.tokens = min(bucket.burst, bucket.tokens + 1)
        if authenticated and token_hash is not None:
            self._good[token_hash] = now + GOOD_SECONDS
            self._good.move_to_end(token_hash)
            if len(self._good) > MAX_GOOD_TOKENS:
                self._good.popitem(last=False)

    def holder(self, peer: str, token_hash: bytes | None) -> Holder | bytes:
        """Who answers for a request: the principal of a credential that lately was good (the credential, where the gate has not
        said whose it is), else its peer (IPv6: the /64)."""
        if token_hash is None or not self._is_good(token_hash):
            return network_of(peer)
        return self._holders.of(token_hash) or token_hash

    def _is_good(self, token_hash: bytes | None) -> bool:
        return token_hash is not None and self._good.get(token_hash, 0) > self._clock()
