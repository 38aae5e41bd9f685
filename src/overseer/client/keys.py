"""The keyring over the API: its state, rotation, verification. Never a key."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from uuid import uuid4

from overseer.client.retries import IDEMPOTENCY_KEY, RetryingClient
from overseer.core.durations import span
from overseer.core.errors import NotReady
from overseer.wire.keys import KeyringView, KeyVerification, KeyVerify, RotationView


class Keys:
    """``/api/keys``."""

    def __init__(self, http: RetryingClient) -> None:
        self._http = http

    def status(self) -> KeyringView:
        """The keys, how used up they are, and the last rotation."""
        return self._http.request("GET", "/api/keys", returns=KeyringView).value

    def rotate(self) -> RotationView:
        """Begin a rotation of the key-encryption key. :class:`Conflict` while one runs."""
        headers = {IDEMPOTENCY_KEY: str(uuid4())}
        return self._http.request("POST", "/api/keys/rotate", returns=RotationView, headers=headers).value

    def wait(
        self,
        timeout: float,
        *,
        seen: Callable[[RotationView], None] | None = None,
        pause: float = 1.0,
        sleep: Callable[[float], None] = time.sleep,
    ) -> RotationView | None:
        """The last rotation once it has finished, None where there never was one; ``seen`` is told how far it is.

        :class:`NotReady` after ``timeout`` seconds: the servers go on with it.
        """
        deadline = time.monotonic() + timeout
        while True:
            rotation = self.status().rotation
            if rotation is None or rotation.state != "running":
                return rotation
            if seen is not None:
                seen(rotation)
            if time.monotonic() >= deadline:
                raise NotReady(f"the rotation is still running after {span(timeout)}: look again with 'overseer key status'")
            sleep(pause)

    def verify(self) -> Iterator[KeyVerification]:
        """Open every stored row, a part a request: the parts, each with the rows that did not open."""
        cursor: str | None = None
        while True:
            body = KeyVerify(cursor=cursor)
            part = self._http.request("POST", "/api/keys/verify", body, returns=KeyVerification, repeatable=True).value
            yield part
            cursor = part.next_cursor
            if cursor is None:
                return

    def retire(self, term: int) -> None:
        """Delete an old term for good. :class:`Conflict` where it is, or may still come, into use."""
        self._http.request("DELETE", f"/api/keys/{term}")
