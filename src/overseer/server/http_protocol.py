"""uvicorn's HTTP/1.1 protocol with limits that it lacks: how long and how large the head of a request may be, how much may stand
around a body, and no connection that outlives an answer to half a request.

Without them anybody could hold connections open with heads that never end, or fill memory: the parser keeps every field, and
every byte of an unfinished one, wherever in the request it stands. Fields behind a chunked body (trailers, RFC 9110, section 6.5)
are refused: nothing here would read them.

It also writes the head of an answer with one look at the whole of it where uvicorn looks at each name and value.
"""

from __future__ import annotations

import re
from asyncio import TimerHandle, Transport
from functools import partial
from typing import Any, Final
from weakref import proxy

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from overseer.server.joined_writes import JoinedWrites

HEAD_SECONDS: Final = 20.0
HEAD_BYTES: Final = 64 * 1024
ARRIVED: Final = "overseer.arrived"
"""In a scope: a function that says whether the whole body is there, so that nobody has to wait for it."""

_CONTROLS: Final = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
#: What says how an answer is framed, or is not ours: uvicorn's own code looks at it.
_FRAMING: Final = frozenset({b"connection", b"transfer-encoding"})


class _Cycle(RequestResponseCycle):
    """One request and its answer."""

    def arrived(self) -> bool:
        return not (self.more_body or self.disconnected or self.waiting_for_100_continue)

    async def send(self, message: Any) -> None:
        """As the base class. An answer of known length in one piece is written here; names are this program's, in lower case."""
        if self.response_started and not message.get("more_body", False) and self._is_plain(message):
            self.transport.write(message["body"])
            self.expected_content_length, self.response_complete = 0, True
            self.message_event.set()
            self.on_response()
            return None
        if self.response_started or self.disconnected or self.flow.write_paused or not self.keep_alive:
            return await super().send(message)
        headers = message.get("headers", ())
        length = None
        parts = [STATUS_LINE[message["status"]]]
        for pair in self.default_headers:
            parts += (pair[0], b": ", pair[1], b"\r\n")
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name in _FRAMING:
                return await super().send(message)
            parts += (name, b": ", value, b"\r\n")
        parts.append(b"\r\n")
        head = b"".join(parts)
        lines = 2 + len(headers) + len(self.default_headers)
        if length is None or not head.count(b"\r") == head.count(b"\n") == lines or _CONTROLS.search(head):
            return await super().send(message)  # which says what is wrong with it, or how it is framed
        self.response_started, self.waiting_for_100_continue = True, False
        self.expected_content_length, self.chunked_encoding = int(length), False
        self.transport.write(head)
        return None

    def _is_plain(self, message: Any) -> bool:
        """Whether all that is left to do is to write the body and to end."""
        if self.response_complete or self.disconnected or self.flow.write_paused or not self.keep_alive:
            return False
        length = len(message.get("body", b""))
        return length > 0 and length == self.expected_content_length and self.scope["method"] != "HEAD"


class LimitedHttp(HttpToolsProtocol):
    """Closes a connection whose request head is not complete within 20 seconds or 64 KiB; both count anew for each request.

    Also one that sends a trailer, or 64 KiB of a body's framing without a byte of the body.
    """

    _head_timer: TimerHandle | None = None
    _head_bytes = 0
    _in_head = True
    _framing_bytes = 0
    _trailer = False

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        super().connection_made(JoinedWrites(transport, self.loop))  # type: ignore[arg-type]
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head:
            self._head_bytes += len(data)
        else:
            self._framing_bytes += len(data)
        super().data_received(data)
        # Looked at after parsing: a whole request with its body may come in one piece.
        if self.transport.is_closing():
            return
        if self._in_head and self._head_bytes and self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)
        if self._trailer:
            self._refuse(b"400 Bad Request")
        elif (self._head_bytes if self._in_head else self._framing_bytes) > HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_head:
            name = name.lower()
            if name == b"expect":
                super().on_header(name, value)
            else:
                self.headers.append((name, value))
        else:
            self._trailer = True

    def on_body(self, body: bytes) -> None:
        self._framing_bytes = 0
        super().on_body(body)

    def on_headers_complete(self) -> None:
        self._in_head, self._framing_bytes = False, 0
        self._stop_timer()
        super().on_headers_complete()
        self.cycle.__class__ = _Cycle  # uvicorn names the class of its cycles itself; its task has not begun
        # Through a proxy: a cycle that its scope holds would keep the credential in its head until the collector comes by.
        self.scope[ARRIVED] = partial(_Cycle.arrived, proxy(self.cycle))  # type: ignore[typeddict-unknown-key]

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._head_bytes = True, 0

    def on_response_complete(self) -> None:
        # What is left of a request that was answered already belongs to nothing that would ever end it.
        if self.cycle.response_complete and self.cycle.more_body:
            self.transport.close()
        super().on_response_complete()

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(b"408 Request Timeout")

    def _refuse(self, status: bytes) -> None:
        cycle = self.cycle
        # Only where it is the answer that the client waits for: not into the middle of another, nor before one that is due.
        if cycle is None or cycle.response_complete:
            self._write_refusal(status)
        elif (self._trailer or not self._in_head) and not cycle.response_started and not self.pipeline:
            self._write_refusal(status)
            cycle.disconnected = True  # its own answer must not follow
            cycle.message_event.set()
        self.transport.close()

    def _write_refusal(self, status: bytes) -> None:
        self.transport.write(b"HTTP/1.1 " + status + b"\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def protocol_options() -> dict[str, Any]:
    """What uvicorn's ``Config`` gets: no proxy headers, no access log, no server header, no web sockets."""
    return {
        "http": LimitedHttp,
        "ws": "none",
        "lifespan": "off",
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
        "log_config": None,
        "timeout_keep_alive": 65,
    }
