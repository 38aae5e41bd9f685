"""What the supervisor and its workers say to each other, over an inherited socket pair and nowhere else.

The root key travels here and only here: never in arguments, the environment or a file. A message is four bytes of length and
MessagePack; both ends are of one version, so there is no evolution rule. The other end's close means that it is gone: a
worker whose supervisor died drains and ends.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from overseer.core.secret_value import REDACTED
from overseer.server.settings import Settings

_LENGTH: Final = 4
_LONGEST: Final = 1024 * 1024
Message = TypeVar("Message")


class Start(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The first message to a worker; ``root_key`` is None while the server is sealed."""

    worker: int
    settings: dict[str, Any]
    root_key: bytes | None

    def __repr__(self) -> str:
        return f"Start(worker={self.worker}, {REDACTED})"


class Unsealed(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The root key, found right: from the worker that was unsealed to the supervisor, and from there to all others."""

    root_key: bytes

    def __repr__(self) -> str:
        return f"Unsealed({REDACTED})"


class Serving(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The worker accepts connections."""


class Refused(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The worker will not run, and starting another would change nothing; ``message`` holds no value."""

    exit_code: int
    message: str


class ShareGiven(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """A share that was found right; ``anew``: the ones before it are forgotten. Answered by :class:`ShareState`."""

    number: int
    share: bytes
    anew: bool

    def __repr__(self) -> str:
        return f"ShareGiven({REDACTED})"


class SharesAsked(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How many shares were given? Answered by :class:`ShareState`."""

    number: int


class SharesForgotten(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """The shares that were gathered are of no use."""


class ShareState(msgspec.Struct, frozen=True, kw_only=True, tag=True):
    """How many shares the supervisor has; ``root_key`` to whoever brought the last one, not yet checked."""

    number: int
    given: int
    root_key: bytes | None

    def __repr__(self) -> str:
        return f"ShareState({REDACTED})"


ToWorker = Start | Unsealed | ShareState
ToSupervisor = Unsealed | Serving | Refused | ShareGiven | SharesAsked | SharesForgotten


class Channel:
    """One end of the pair, on the running event loop."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """The channel over a connected socket, which it owns from here on."""
        return cls(*await asyncio.open_unix_connection(sock=end))

    async def send(self, message: ToWorker | ToSupervisor) -> None:
        """Raises OSError where the other end is gone."""
        body = msgspec.msgpack.encode(message)
        self._writer.write(len(body).to_bytes(_LENGTH, "big") + body)
        await self._writer.drain()

    async def receive(self, type_: Any) -> Any:
        """The next message, None where the other end is gone. ``type_`` is :data:`ToWorker` or :data:`ToSupervisor`."""
        try:
            length = int.from_bytes(await self._reader.readexactly(_LENGTH), "big")
            if length > _LONGEST:
                return None
            return msgspec.msgpack.decode(await self._reader.readexactly(length), type=type_)
        except (asyncio.IncompleteReadError, OSError, msgspec.MsgspecError):
            return None

    def close(self) -> None:
        self._writer.close()


def settings_to_wire(settings: Settings) -> dict[str, Any]:
    """Plain data for :class:`Start`."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(settings).items()}


def settings_from_wire(data: dict[str, Any]) -> Settings:
    """The settings again, checked again."""
    return msgspec.convert(data, Settings, dec_hook=lambda type_, value: type_(value))
