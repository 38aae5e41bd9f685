"""A transport that sends what is written in one turn of the event loop with one call of the system.

An HTTP answer is written as head and body; each would be a system call (and a TLS record) of its own, which costs as much as
finding out the answer. What is written is sent at the latest when the loop turns, in order, and before the connection closes.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

MOST_HELD: Final = 64 * 1024
"""Bytes; more than that is sent at once, so that flow control sees it."""


class JoinedWrites:
    """Wraps a transport; everything but ``write``, ``close`` and ``abort`` is the transport's own."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0

    def write(self, data: bytes) -> None:
        """Hold ``data`` until the loop turns."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > MOST_HELD:
            self.flush()

    def flush(self) -> None:
        """Send what is held."""
        if self._held:
            held, self._held, self._size = self._held, [], 0
            if not self._transport.is_closing():
                self._transport.write(b"".join(held))

    def close(self) -> None:
        """Close after what is held was sent."""
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        """Close at once; what is held is lost, as what the transport itself has not sent."""
        self._held = []
        self._transport.abort()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
