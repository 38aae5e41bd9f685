"""MySQL and MariaDB: ``ALTER USER``, of one account or of two that take turns.

A user is written ``name`` or ``name@host`` (default ``%``). With one account the old password is refused from ``apply`` on, for
new connections; with two the other one gets a new password and is unlocked, and the old one is locked with a password that
nobody knows when it is retired. The statements carry passwords, which the servers leave out of their logs but not out of a
network: it is TLS but where the operator listed the network. The driver blocks, so it works in a thread.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from overseer.core.secret_value import SecretValue
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.contract import SECONDS, Change, Login, admin_login, failed, read_target
from overseer.server.rotators.tls import context

if TYPE_CHECKING:
    import pymysql

KIND: Final = "MySQL or MariaDB"
_SET: Final = "ALTER USER %s@%s IDENTIFIED BY %s"
_SET_OPEN: Final = "ALTER USER %s@%s IDENTIFIED BY %s ACCOUNT UNLOCK"
_SET_LOCKED: Final = "ALTER USER %s@%s IDENTIFIED BY %s ACCOUNT LOCK"


class MysqlRotator:
    """See the module's text."""

    def __init__(self, fields: Mapping[str, Any], rule: AddressRule) -> None:
        self._fields = fields
        self._rule = rule
        self._target = read_target(fields, ("mysql", "mysql+plain"))
        self.both_work = len(self._target.users) == 2

    def compose(self, current: SecretValue, fresh: SecretValue) -> SecretValue:
        return self._target.next_value(current, fresh)

    async def apply(self, change: Change) -> None:
        await self._change(change, self._target.login(change.new), _SET_OPEN if self.both_work else _SET, "apply")

    async def verify(self, change: Change) -> None:
        login = self._target.login(change.new)
        await self._run(Login(login.username.partition("@")[0], login.password), "SELECT 1", (), "verify")

    async def retire(self, change: Change) -> None:
        if self.both_work:
            await self._lock(change, self._target.login(change.old).username, "retire")

    async def revert(self, change: Change) -> None:
        if self.both_work:
            await self._lock(change, self._target.login(change.new).username, "revert")
        else:
            await self._change(change, self._target.login(change.old), _SET, "revert")

    async def _lock(self, change: Change, username: str, step: str) -> None:
        await self._change(change, Login(username, SecretValue(secrets.token_urlsafe(32))), _SET_LOCKED, step)

    async def _change(self, change: Change, login: Login, statement: str, step: str) -> None:
        name, _, host = login.username.partition("@")
        parameters = (name, host or "%", login.password.reveal().decode("utf-8"))
        await self._run(admin_login(change, self._fields), statement, parameters, step)

    async def _run(self, login: Login, statement: str, parameters: tuple[str, ...], step: str) -> None:
        try:
            import pymysql
        except ImportError:
            raise failed(KIND, step, "install the extra 'rotators' on the server") from None
        encrypted, port = self._target.url.scheme == "mysql", self._target.url.port or 3306
        address = await self._rule.judged(self._target.host, port, encrypted=encrypted, what=KIND)
        try:
            async with asyncio.timeout(SECONDS * 2):
                await asyncio.to_thread(self._work, address, port, login, statement, parameters)
        except (OSError, TimeoutError, ValueError, pymysql.MySQLError):
            raise failed(KIND, step) from None

    def _work(self, address: str, port: int, login: Login, statement: str, parameters: tuple[str, ...]) -> None:
        connection = self._connection(address, port, login)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement, parameters)
        finally:
            connection.close()

    def _connection(self, address: str, port: int, login: Login) -> pymysql.Connection[Any]:
        import pymysql

        encrypted = self._target.url.scheme == "mysql"
        connection = pymysql.connect(
            host=self._target.host,  # the name that the certificate is for; the socket goes to the address that was judged
            user=login.username,
            password=login.password.reveal(),
            charset="utf8mb4",
            ssl=context(self._target) if encrypted else None,
            ssl_disabled=not encrypted,
            read_timeout=int(SECONDS),
            write_timeout=int(SECONDS),
            defer_connect=True,
        )
        connection.connect(socket.create_connection((address, port), SECONDS))
        return connection
