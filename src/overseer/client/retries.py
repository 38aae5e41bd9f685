"""Trying again, only where that is safe, and never for long.

A request is repeated when repeating it cannot do anything twice: GET, whatever carries an ``Idempotency-Key``, and the few POSTs
that only read (``repeatable=True``: a second reveal is one more audit row, no more). It is repeated when the server could not be
reached, said 503 or said 429, after the time the server asked for and with jitter, so that many clients do not come back at once.
A sealed server is not asked again: only a person can unseal it. Where the client has several addresses, each is asked before
there is a pause: it is one try.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

import msgspec

from overseer.client.http import HttpClient, Query, Response
from overseer.core.errors import NotReady, RateLimited, Sealed, Unreachable

Value = TypeVar("Value")
IDEMPOTENCY_KEY: Final = "Idempotency-Key"


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """At most ``attempts`` requests (to each address), and no waiting beyond ``budget`` seconds in sum."""

    attempts: int = 4
    budget: float = 15.0
    first_pause: float = 0.1


class RetryingClient:
    """``client`` with the rule of this module around it; sleeping and chance are given so that tests need no time."""

    def __init__(
        self,
        client: HttpClient,
        policy: RetryPolicy = RetryPolicy(),
        *,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.client = client
        self.policy = policy
        self._sleep = sleep
        self._chance = chance

    @overload
    def request(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        returns: type[Value],
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        repeatable: bool = False,
    ) -> Response[Value]: ...

    @overload
    def request(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        returns: None = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        repeatable: bool = False,
    ) -> Response[None]: ...

    def request(
        self,
        method: str,
        path: str,
        body: msgspec.Struct | None = None,
        *,
        returns: Any = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float | None = None,
        repeatable: bool = False,
    ) -> Response[Any]:
        """As :meth:`HttpClient.request`; raises the last error when the attempts or the budget are used up."""
        may_repeat = repeatable or method == "GET" or IDEMPOTENCY_KEY in (headers or {})
        waited, sealed, addresses = 0.0, 0, len(self.client.addresses)
        for asked in range(1, self.policy.attempts * addresses + 1):
            try:
                return self.client.request(method, path, body, returns=returns, query=query, headers=headers, timeout=timeout)
            except (NotReady, RateLimited) as error:
                sealed = sealed + 1 if isinstance(error, Sealed) else 0
                if not may_repeat or sealed == addresses or asked == self.policy.attempts * addresses:
                    raise
                if asked % addresses and isinstance(error, NotReady):
                    continue  # the client has gone on to an address that was not asked yet
                pause = self._pause(error, -(-asked // addresses))
                if waited + pause > self.policy.budget:
                    raise
            self._sleep(pause)
            waited += pause
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _pause(self, error: NotReady | RateLimited, attempt: int) -> float:
        own = self.policy.first_pause * 3.0 ** (attempt - 1)
        if isinstance(error, Unreachable):
            return own * (0.5 + self._chance())
        # Never before the server's time; up to a quarter later, so that waiting clients spread.
        return max(own, error.retry_after) * (1 + self._chance() / 4)
