"""MySQL and MariaDB: ``ALTER USER``, of one account or of two that take turns.

A user is written ``name`` or ``name@host`` (default ``%``). With two accounts the other one gets a new password and is unlocked,
and the old one is locked with a password that nobody knows when it is retired. With one, MySQL from 8.0.14 on keeps the old
password beside the new one until it is retired (``RETAIN CURRENT PASSWORD``); MariaDB and older ones refuse it from ``apply`` on,
for new connections. Which it is, the server's version says at each step. Retaining twice would push the old password out, so a
repeated ``apply`` looks first whether the new one works already.

The statements carry passwords, which the servers leave out of their logs but not out of a network: it is TLS but where the
operator listed the network. The driver blocks, so it works in a thread.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import socket
from collections.abc import Mapping, Sequence
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
_SET_BESIDE: Final = "ALTER USER %s@%s IDENTIFIED BY %s RETAIN CURRENT PASSWORD"
_ONE_ONLY: Final = "ALTER USER %s@%s DISCARD OLD PASSWORD"
_VERSION: Final = re.compile(r"(\d+)\.(\d+)\.(\d+)")
_TWO_PASSWORDS: Final = (8, 0, 14)
_DENIED: Final = 1045  # ER_ACCESS_DENIED_ERROR

Statements = Sequence[tuple[str, tuple[str, ...]]]


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
        login = self._target.login(change.new)
        if self.both_work:
            await self._change(change, login, [_SET_OPEN], "apply")
        elif not await self._keeps_two(change, "apply"):
            await self._change(change, login, [_SET], "apply")
        elif not await self._works(login):
            await self._change(change, login, [_SET_BESIDE], "apply")

    async def verify(self, change: Change) -> None:
        await self._run(_account(self._target.login(change.new)), [("SELECT 1", ())], "verify")

    async def retire(self, change: Change) -> None:
        login = self._target.login(change.old)
        if self.both_work:
            await self._lock(change, login.username, "retire")
        elif await self._keeps_two(change, "retire"):
            await self._change(change, login, [_ONE_ONLY], "retire")

    async def revert(self, change: Change) -> None:
        if self.both_work:
            await self._lock(change, self._target.login(change.new).username, "revert")
        else:
            back = [_SET, _ONE_ONLY] if await self._keeps_two(change, "revert") else [_SET]
            await self._change(change, self._target.login(change.old), back, "revert")

    async def _lock(self, change: Change, username: str, step: str) -> None:
        await self._change(change, Login(username, SecretValue(secrets.token_urlsafe(32))), [_SET_LOCKED], step)

    async def _change(self, change: Change, login: Login, statements: Sequence[str], step: str) -> None:
        name, _, host = login.username.partition("@")
        account, password = (name, host or "%"), login.password.reveal().decode("utf-8")
        filled = [(one, account if one == _ONE_ONLY else (*account, password)) for one in statements]
        await self._run(admin_login(change, self._fields), filled, step)

    async def _keeps_two(self, change: Change, step: str) -> bool:
        """Whether the server keeps a former password beside a new one."""
        return has_two_passwords(await self._run(admin_login(change, self._fields), (), step))

    async def _works(self, login: Login) -> bool:
        """Whether the account can sign in like this already. Raises where that cannot be found out."""
        return bool(await self._run(_account(login), (), "apply", may_be_refused=True))

    async def _run(self, login: Login, statements: Statements, step: str, *, may_be_refused: bool = False) -> str:
        """Carry the statements out as this login; the server's version, or '' where it refused a login that it may refuse."""
        try:
            import pymysql
        except ImportError:
            raise failed(KIND, step, "install the extra 'rotators' on the server") from None
        encrypted, port = self._target.url.scheme == "mysql", self._target.url.port or 3306
        address = await self._rule.judged(self._target.host, port, encrypted=encrypted, what=KIND)
        try:
            async with asyncio.timeout(SECONDS * 2):
                return await asyncio.to_thread(self._work, address, port, login, statements)
        except pymysql.OperationalError as error:
            if may_be_refused and error.args and error.args[0] == _DENIED:
                return ""
            raise failed(KIND, step) from None
        except (OSError, TimeoutError, ValueError, pymysql.MySQLError):
            raise failed(KIND, step) from None

    def _work(self, address: str, port: int, login: Login, statements: Statements) -> str:
        connection = self._connection(address, port, login)
        try:
            with connection.cursor() as cursor:
                for statement, parameters in statements:
                    cursor.execute(statement, parameters)
            return str(connection.get_server_info())  # type: ignore[no-untyped-call]
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


def has_two_passwords(version: str) -> bool:
    """Whether a server that calls its version so keeps a former password beside a new one: MySQL from 8.0.14 on. MariaDB, also
    where it calls itself ``5.5.5-10.11.6-MariaDB`` for old clients, does not."""
    found = _VERSION.match(version)
    numbers = tuple(int(part) for part in found.groups()) if found else ()
    return "mariadb" not in version.lower() and numbers >= _TWO_PASSWORDS


def _account(login: Login) -> Login:
    """As the account itself signs in: without its host."""
    return Login(login.username.partition("@")[0], login.password)
