"""PostgreSQL: ``ALTER ROLE``, of one role or of two that take turns.

The source gets SCRAM verifiers (RFC 5802, RFC 7677), computed here: no password is in a statement, so none is in its log. With
one role the old password is refused from ``apply`` on: connections that are open stay, new ones need the new password, which the
consumers get a moment later. With two roles the other one gets a new password and the right to log in, and the old one loses
both when it is retired. The administrator needs ``CREATEROLE`` and ``ADMIN`` on the roles, nothing more.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import os
import unicodedata
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg

from overseer.core.secret_value import SecretValue
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.contract import SECONDS, Change, Login, admin_login, failed, read_target
from overseer.server.rotators.tls import context

KIND: Final = "PostgreSQL"
ITERATIONS: Final = 4096  # PostgreSQL's own number; RFC 7677 asks for at least as many
_STATEMENT: Final = "SELECT format('ALTER ROLE %I ' || $2::text, $1::text, $3::text)"


class PostgresqlRotator:
    """See the module's text."""

    def __init__(self, fields: Mapping[str, Any], rule: AddressRule) -> None:
        self._fields = fields
        self._rule = rule
        self._target = read_target(fields, ("postgresql", "postgresql+plain"))
        self.both_work = len(self._target.users) == 2

    def compose(self, current: SecretValue, fresh: SecretValue) -> SecretValue:
        return self._target.next_value(current, fresh)

    async def apply(self, change: Change) -> None:
        await self._give(change, self._target.login(change.new), "apply")

    async def verify(self, change: Change) -> None:
        async with self._connected(self._target.login(change.new), "verify") as connection:
            await connection.fetchval("SELECT 1")

    async def retire(self, change: Change) -> None:
        if self.both_work:
            await self._take(change, self._target.login(change.old).username, "retire")

    async def revert(self, change: Change) -> None:
        if self.both_work:
            await self._take(change, self._target.login(change.new).username, "revert")
        else:
            await self._give(change, self._target.login(change.old), "revert")

    async def _give(self, change: Change, login: Login, step: str) -> None:
        async with self._connected(admin_login(change, self._fields), step) as connection:
            words = "LOGIN PASSWORD %L" if self.both_work else "PASSWORD %L"
            await connection.execute(await connection.fetchval(_STATEMENT, login.username, words, scram_verifier(login.password)))

    async def _take(self, change: Change, role: str, step: str) -> None:
        async with self._connected(admin_login(change, self._fields), step) as connection:
            await connection.execute(await connection.fetchval(_STATEMENT, role, "NOLOGIN PASSWORD NULL", None))

    @asynccontextmanager
    async def _connected(self, login: Login, step: str) -> AsyncIterator[asyncpg.Connection]:
        target, encrypted = self._target, self._target.url.scheme == "postgresql"
        port = target.url.port or 5432
        address = await self._rule.judged(target.host, port, encrypted=encrypted, what=KIND)
        try:
            async with asyncio.timeout(SECONDS):
                connection = await asyncpg.connect(
                    host=address,
                    port=port,
                    user=login.username,
                    password=login.password.reveal().decode("utf-8"),
                    database=target.url.path.strip("/") or "postgres",
                    ssl=context(target) if encrypted else False,
                    timeout=SECONDS,
                    statement_cache_size=0,
                )
                try:
                    yield connection
                finally:
                    await connection.close(timeout=2)
        except (OSError, TimeoutError, UnicodeDecodeError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError):
            raise failed(KIND, step) from None


def scram_verifier(password: SecretValue, salt: bytes | None = None) -> str:
    """What PostgreSQL stores of a password: ``SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY``."""
    salt = os.urandom(16) if salt is None else salt
    # NFKC is what SASLprep (RFC 4013) comes to for text without controls; generated passwords are ASCII, which stays as it is.
    text = unicodedata.normalize("NFKC", password.reveal().decode("utf-8")).encode()
    salted = hashlib.pbkdf2_hmac("sha256", text, salt, ITERATIONS)
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    stored, server = hashlib.sha256(client_key).digest(), hmac.digest(salted, b"Server Key", "sha256")
    parts = [base64.b64encode(one).decode() for one in (salt, stored, server)]
    return f"SCRAM-SHA-256${ITERATIONS}:{parts[0]}${parts[1]}:{parts[2]}"
