"""Reading a request body: JSON unless a page asks for a form, never more than the route allows, within a deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from contextlib import suppress
from typing import Any, Final

from overseer.core.errors import InvalidInput, TooLarge, UnsupportedMedia

BODY_SECONDS: Final = 30.0
DISCARD_BYTES: Final = 16 * 1024 * 1024
DISCARD_SECONDS: Final = 5.0
JSON: Final = b"application/json"

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Headers = Mapping[bytes, list[bytes]]


class ClientGone(Exception):
    """The client closed the connection; there is nobody to answer."""


class Incoming:
    """The request's messages, and what becomes of a body that is refused unread.

    A server that answers and closes while a body is still coming makes the kernel reset the connection, and the answer is lost.
    So the rest is read and thrown away first: at most 16 MiB, for at most five seconds, and not where the client waits to be
    asked for it (Expect: 100-continue).
    """

    __slots__ = ("_finished", "_receive", "_unasked")

    def __init__(self, receive: Receive, headers: Headers) -> None:
        self._receive = receive
        announced = b"content-length" in headers or b"transfer-encoding" in headers
        self._finished = not announced
        self._unasked = b"expect" in headers

    async def receive(self) -> MutableMapping[str, Any]:
        """The next ASGI message."""
        self._unasked = False  # to receive is to ask for it
        message = await self._receive()
        if not message.get("more_body", False):
            self._finished = True
        return message

    @property
    def finished(self) -> bool:
        """Whether nothing of the body is left."""
        return self._finished

    async def discard_rest(self) -> bool:
        """Read what is left of the body, within the limits above; False where more may come."""
        left = DISCARD_BYTES
        if not self._finished and not self._unasked:
            with suppress(TimeoutError):
                async with asyncio.timeout(DISCARD_SECONDS):
                    while not self._finished and left > 0:
                        left -= len((await self.receive()).get("body", b""))
        return self._finished


async def read_body(headers: Headers, receive: Receive, limit: int, *, media: bytes = JSON, arrived: bool = False) -> bytes:
    """The whole body, at most ``limit`` bytes, of the media type ``media``. ``arrived``: all of it is there, and none waits.

    An announced length is checked before reading, the real one while reading.

    Raises :class:`TooLarge` (413), :class:`UnsupportedMedia` (415), :class:`InvalidInput` (422) after 30 seconds, ClientGone.
    """
    for announced in headers.get(b"content-length", []):
        if announced.isdigit() and int(announced[:20]) > limit:
            raise _too_large(limit)
    if arrived:
        body = await _collect(receive, limit)
    else:
        try:
            async with asyncio.timeout(BODY_SECONDS):
                body = await _collect(receive, limit)
        except TimeoutError:
            raise InvalidInput(f"the body did not arrive within {BODY_SECONDS:.0f} seconds") from None
    if body:
        _check_media(headers, media)
    return body


async def _collect(receive: Receive, limit: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            raise _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return parts[0] if len(parts) == 1 else b"".join(parts)


def _check_media(headers: Headers, expected: bytes) -> None:
    sent = headers.get(b"content-type", [])
    media, _, parameters = (sent[0] if len(sent) == 1 else b"").partition(b";")
    name = expected.decode("ascii")
    if media.strip().lower() != expected:
        raise UnsupportedMedia(f"send the body as Content-Type: {name}")
    if parameters.replace(b'"', b"").replace(b" ", b"").lower() not in (b"", b"charset=utf-8"):
        raise UnsupportedMedia(f"text is UTF-8; send Content-Type: {name} without another charset")
    if any(coding.strip().lower() != b"identity" for coding in headers.get(b"content-encoding", [])):
        raise UnsupportedMedia("a compressed body is not accepted")


def _too_large(limit: int) -> TooLarge:
    return TooLarge(f"the body is larger than {limit:,} bytes")
