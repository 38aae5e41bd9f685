"""The agent's connection: a short token from a signed assertion (RFC 7523 section 3), renewed before it ends.

Guarantees: every request carries a token that has at least ``_MARGIN`` left by the server's own measure; a token that the server
no longer takes is replaced once; a clock that is off is said so, with both times. The private key signs, it is never sent. Where
the server does not know the key any more, the keys that are on disk now are tried: they may have been rotated meanwhile.

A session belongs to one thread at a time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec

from overseer.agent.enrolment import USER_AGENT
from overseer.agent.identity import Identity
from overseer.client.http import HttpClient
from overseer.core.errors import Unauthenticated
from overseer.core.secret_value import SecretValue
from overseer.crypto.node_assertions import make_assertion
from overseer.wire.agent import AgentTokenAnswer, AgentTokenRequest

Value = TypeVar("Value")
#: A larger difference between the clocks is worth a warning; assertions and bundles have about a minute.
TOLERATED_SKEW: Final = timedelta(seconds=20)
_MARGIN: Final = 30.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Session:
    """Requests as this node. ``skew`` is how far this node's clock is ahead of the server's, known after the first token."""

    def __init__(
        self,
        identity: Identity,
        *,
        clock: Callable[[], datetime] = _utc_now,
        monotonic: Callable[[], float] = time.monotonic,
        identity_again: Callable[[], Sequence[Identity]] = tuple,
        promote: Callable[[Identity], None] = lambda _: None,
    ) -> None:
        self.identity = identity
        self._identity_again, self._promote = identity_again, promote
        self.skew = timedelta(0)
        self._clock, self._monotonic = clock, monotonic
        self._renew_at = float("-inf")
        self._http = HttpClient(identity.record.url, ca_file=identity.ca_file, user_agent=USER_AGENT)

    def close(self) -> None:
        self._http.close()

    def authenticate(self) -> None:
        """Get a token now; :class:`Unauthenticated` where the node is unknown, revoked or its clock off."""
        self._ensure_token()

    def post(self, path: str, body: msgspec.Struct, returns: type[Value], timeout: float = 30.0) -> Value:
        """POST as this node. Raises the server's errors; :class:`Unauthenticated`: node unknown, revoked, or its clock is off."""
        fresh = self._ensure_token()
        try:
            return self._http.request("POST", path, body, returns=returns, timeout=timeout).value
        except Unauthenticated:
            if fresh:
                raise
        self._renew_at = float("-inf")  # ended early: the server restarted its sessions, or the clock was turned
        self._ensure_token()
        return self._http.request("POST", path, body, returns=returns, timeout=timeout).value

    def _ensure_token(self) -> bool:
        """A live token; True where it is a new one."""
        if self._monotonic() < self._renew_at:
            return False
        try:
            return self._authenticate(self.identity)
        except Unauthenticated as refusal:
            for other in self._identity_again():
                if other.keys.public == self.identity.keys.public:
                    continue
                try:
                    self._authenticate(other)
                except Unauthenticated:
                    continue
                self.identity = other
                self._promote(other)
                return True
            raise refusal from None

    def _authenticate(self, identity: Identity) -> bool:
        record = identity.record
        now = self._clock()
        request = AgentTokenRequest(assertion=make_assertion(record.node_id, record.instance_id, identity.keys.signing, now))
        self._http.token = None
        answer = self._http.request("POST", "/api/agent/token", request, returns=AgentTokenAnswer).value
        self._http.token = SecretValue(answer.access_token)
        self._renew_at = self._monotonic() + max(1.0, answer.expires_in - min(_MARGIN, answer.expires_in / 2))
        self.skew = now - answer.server_time
        return True
