"""A connected socket with a deadline: the standard library's time-outs begin anew with every byte that a peer sends.

Guarantee: no receiving and no sending goes on after ``deadline`` (of ``time.monotonic``), however slowly bytes come or go; then
:class:`TimeoutError` is raised. It is what ``http.client`` needs of a socket, and nothing more.
"""

from __future__ import annotations

import io
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer, WriteableBuffer


class TimedSocket:
    """Around ``connected``, which is closed with it. ``deadline`` may be moved at any time."""

    def __init__(self, connected: socket.socket, deadline: float) -> None:
        self._connected = connected
        self.deadline = deadline

    def sendall(self, data: ReadableBuffer) -> None:
        """All of ``data``. Raises :class:`OSError`."""
        rest = memoryview(data).cast("B")
        while rest:
            self.limit()
            rest = rest[self._connected.send(rest) :]

    def makefile(self, *_: Any) -> io.BufferedReader:
        """What is received, as a file that keeps the socket open until it is closed itself."""
        return io.BufferedReader(_Received(self, self._connected.makefile("rb", buffering=0)))

    def fileno(self) -> int:
        """The descriptor."""
        return self._connected.fileno()

    def close(self) -> None:
        """The socket, when no file of it is open any more."""
        self._connected.close()

    def limit(self) -> None:
        """Let the next step last until the deadline. Raises :class:`TimeoutError` where that has passed."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connected.settimeout(left)


class _Received(io.RawIOBase):
    def __init__(self, timed: TimedSocket, raw: socket.SocketIO) -> None:
        self._timed, self._raw = timed, raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        self._timed.limit()
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()
