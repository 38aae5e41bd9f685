"""Redis 6 and later, and what speaks like it: an ACL user that has two passwords while a rotation is on its way.

``apply`` adds the new password to the user, ``retire`` takes the old one away, each by its SHA-256 as Redis itself keeps them, so
that no new password is sent but to sign in. What was changed is saved with ``ACL SAVE``, or with ``CONFIG REWRITE`` where the
server has no ACL file, as it would be forgotten with the next restart; ``persist`` false leaves that to somebody else.
Spoken is RESP2, of which this needs two answers.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from overseer.core.secret_value import SecretValue
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.contract import SECONDS, Change, Login, admin_login, failed, read_target
from overseer.server.rotators.tls import context

KIND: Final = "Redis"
_GONE: Final = "does not exist"
_NO_FILE: Final = "not configured to use an ACL file"


class RedisRotator:
    """See the module's text."""

    both_work = True

    def __init__(self, fields: Mapping[str, Any], rule: AddressRule) -> None:
        self._fields = fields
        self._rule = rule
        self._target = read_target(fields, ("rediss", "redis"), most_users=1)

    def compose(self, current: SecretValue, fresh: SecretValue) -> SecretValue:
        return self._target.next_value(current, fresh)

    async def apply(self, change: Change) -> None:
        await self._set(change, change.new, "#", "apply")

    async def verify(self, change: Change) -> None:
        async with self._connected(self._target.login(change.new), "verify"):
            pass

    async def retire(self, change: Change) -> None:
        await self._set(change, change.old, "!", "retire")

    async def revert(self, change: Change) -> None:
        await self._set(change, change.old, "#", "revert")
        await self._set(change, change.new, "!", "revert")

    async def _set(self, change: Change, value: SecretValue, sign: str, step: str) -> None:
        login = self._target.login(value)
        digest = hashlib.sha256(login.password.reveal()).hexdigest()
        async with self._connected(admin_login(change, self._fields), step) as connection:
            refusal = await connection.ask("ACL", "SETUSER", login.username, sign + digest)
            if refusal and not (sign == "!" and _GONE in refusal):
                raise failed(KIND, step)
            if self._fields.get("persist", True):
                refusal = await connection.ask("ACL", "SAVE")
                if refusal and _NO_FILE in refusal:
                    refusal = await connection.ask("CONFIG", "REWRITE")
                if refusal:
                    raise failed(KIND, step, "it has neither an ACL file nor a configuration file that it could write to")

    @asynccontextmanager
    async def _connected(self, login: Login, step: str) -> AsyncIterator[_Connection]:
        target, encrypted = self._target, self._target.url.scheme == "rediss"
        port = target.url.port or 6379
        address = await self._rule.judged(target.host, port, encrypted=encrypted, what=KIND)
        try:
            async with asyncio.timeout(SECONDS):
                tls = {"ssl": context(target), "server_hostname": target.host} if encrypted else {}
                reader, writer = await asyncio.open_connection(address, port, **tls)  # type: ignore[arg-type]
                try:
                    connection = _Connection(reader, writer)
                    if await connection.ask("AUTH", login.username, login.password.reveal()):
                        raise failed(KIND, step, "it refuses the login")
                    yield connection
                finally:
                    writer.close()
        except (OSError, TimeoutError, ValueError, EOFError):
            raise failed(KIND, step) from None


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, *words: str | bytes) -> str:
        """Empty where the server says OK, else its refusal (which stays in here). Raises ValueError for another answer."""
        encoded = [word.encode() if isinstance(word, str) else word for word in words]
        parts = [b"$%d\r\n%b\r\n" % (len(word), word) for word in encoded]
        self._writer.write(b"*%d\r\n" % len(encoded) + b"".join(parts))
        await self._writer.drain()
        line = (await self._reader.readuntil(b"\r\n")).decode("utf-8", "replace")
        if line[0] not in "+-":
            raise ValueError("not a simple answer")
        return "" if line[0] == "+" else line[1:].strip() or "refused"
