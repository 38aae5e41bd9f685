"""Where sinks deliver: a file, a syslog server, a webhook.

Guarantee of each: when :meth:`Target.send` returns, the target has what it was given, as far as its protocol can tell; whatever
else happens raises, and the same items are sent again.

- A file is written and fsync'ed. A line that a crash tore is ended before the next one.
- A webhook has answered 2xx.
- Syslog over TCP has no acknowledgement (RFC 6587, section 4): the messages were taken, and the receiver has closed its side in
  order where it does that within some seconds. What it loses in its own memory is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import os
import socket
import ssl
import stat
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

from overseer.core.errors import NotReady
from overseer.core.secret_value import SecretValue
from overseer.server.outgoing import Outgoing, OutgoingFailure
from overseer.server.sink_settings import SinkSettings

SIGNATURE: Final = "overseer-signature"
DELIVERY: Final = "overseer-delivery"
SECONDS: Final = 15.0
_CLOSING: Final = 3.0
#: Facility 13 is "log audit" (RFC 5424, table 1).
_FACILITY: Final = 13
_ALERT, _ERROR, _WARNING, _INFO = 1, 3, 4, 6
_SEVERITIES: Final = {"failed": _ERROR, "denied": _WARNING, "allowed": _INFO}


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to deliver: ``line`` is JSON without a line break; ``word`` is the action, or ``checkpoint``."""

    word: str
    outcome: str
    at: datetime
    line: bytes


class Target(Protocol):
    """A place that takes items in order."""

    async def send(self, name: str, items: Sequence[Item]) -> None:
        """Deliver; ``name`` is that of this delivery and the same when it is repeated. Raises :class:`NotReady` or OSError."""


def make_target(sink: str, settings: SinkSettings) -> Target:
    """The target of a sink."""
    if settings.type == "file":
        assert settings.path is not None  # noqa: S101  # checked by the settings
        return FileTarget(settings.path, settings.max_mebibytes << 20, settings.keep)
    if settings.type == "syslog":
        assert settings.host is not None  # noqa: S101
        return SyslogTarget(settings.host, settings.port, tls=settings.tls, ca_file=settings.ca_file)
    assert settings.url is not None  # noqa: S101
    assert settings.secret is not None  # noqa: S101
    outgoing = Outgoing(f"sink {sink}", allow_private=settings.allow_private, ca_file=settings.ca_file, seconds=SECONDS)
    return WebhookTarget(settings.url, settings.secret, outgoing)


class FileTarget:
    """JSON Lines in a file that only the server may read."""

    def __init__(self, path: Path, max_bytes: int, keep: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._keep = keep

    async def send(self, name: str, items: Sequence[Item]) -> None:  # noqa: ARG002  # a file needs no name
        await asyncio.to_thread(self._append, b"".join(item.line + b"\n" for item in items))

    def _append(self, content: bytes) -> None:
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o600)
        with os.fdopen(descriptor, "r+b", buffering=0) as file:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
                raise NotReady("the file of the sink is no plain file of the server's alone (0600)", retry_after=60)
            if found.st_size and os.pread(descriptor, 1, found.st_size - 1) != b"\n":
                content = b"\n" + content
            view = memoryview(content)
            while view:
                view = view[file.write(view) :]
            os.fsync(descriptor)
            size = os.fstat(descriptor).st_size
        if size >= self._max_bytes:
            self._rotate()

    def _rotate(self) -> None:
        """NAME becomes NAME.1, NAME.1 becomes NAME.2; what is beyond ``keep`` goes."""
        for number in range(self._keep, -1, -1):
            old = self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")
            with contextlib.suppress(FileNotFoundError):
                if number == self._keep:
                    old.unlink()
                else:
                    old.rename(self._path.with_name(f"{self._path.name}.{number + 1}"))


class SyslogTarget:
    """RFC 5424 messages with octet counting (RFC 6587, section 3.4.1; RFC 5425 over TLS), a connection a batch."""

    def __init__(self, host: str, port: int, *, tls: bool, ca_file: Path | None) -> None:
        self._host = host
        self._port = port
        self._tls = tls
        self._ca_file = ca_file
        self._own_name = _header_word(socket.gethostname(), 255)

    async def send(self, name: str, items: Sequence[Item]) -> None:  # noqa: ARG002  # every message has its row's id
        async with asyncio.timeout(SECONDS):
            context = ssl.create_default_context(cafile=str(self._ca_file) if self._ca_file else None) if self._tls else None
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=context)
            try:
                for item in items:
                    message = self.message(item)
                    writer.write(b"%d %s" % (len(message), message))
                    await writer.drain()
                if writer.can_write_eof():
                    writer.write_eof()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(_CLOSING):
                            await reader.read()
            finally:
                writer.close()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_CLOSING):
                        await writer.wait_closed()

    def message(self, item: Item) -> bytes:
        """``<PRI>1 TIME HOST overseer - MSGID - JSON``; UTF-8, which the byte order mark says."""
        severity = _ALERT if item.word.startswith("alarm:") else _SEVERITIES.get(item.outcome, _INFO)
        at = item.at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        head = f"<{_FACILITY * 8 + severity}>1 {at} {self._own_name} overseer - {_header_word(item.word, 32)} - "
        return head.encode("ascii") + b"\xef\xbb\xbf" + item.line


class WebhookTarget:
    """A POST of JSON Lines. The signature is ``t=SECONDS,v1=HEX``: HMAC-SHA-256 over ``SECONDS.BODY``."""

    def __init__(self, url: str, secret: SecretValue, outgoing: Outgoing) -> None:
        self._url = url
        self._secret = secret
        self._outgoing = outgoing

    async def send(self, name: str, items: Sequence[Item]) -> None:
        body = b"".join(item.line + b"\n" for item in items)
        headers = {
            "content-type": "application/x-ndjson",
            DELIVERY: name,
            SIGNATURE: signature(self._secret, int(time.time()), body),
        }
        try:
            async with self._outgoing.opened() as connections:
                answer = await connections.send("POST", self._url, headers=headers, content=body)
        except OutgoingFailure as failure:
            raise NotReady(f"the webhook cannot be asked: {failure.why}", retry_after=5) from None
        if not 200 <= answer.status < 300:
            raise NotReady(f"the webhook answers {answer.status}", retry_after=5)


def signature(secret: SecretValue, seconds: int, body: bytes) -> str:
    """The value of the header ``overseer-signature``."""
    digest = hmac.new(secret.reveal(), b"%d." % seconds + body, hashlib.sha256).hexdigest()
    return f"t={seconds},v1={digest}"


def _header_word(text: str, most: int) -> str:
    """A field of a syslog header: printable ASCII without blanks, ``-`` where nothing is left."""
    return "".join(c for c in text if "!" <= c <= "~")[:most] or "-"
