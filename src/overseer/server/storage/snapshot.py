"""Every table of an instance as it was at one moment: one REPEATABLE READ, READ ONLY transaction, COPY TO of each table.

Guarantees: what is read is consistent, whatever is written meanwhile, and nobody waits for it: it takes no lock but the weakest,
and holds no transaction id, so the sealing of the audit log goes on. Tables and columns come from the catalogue; a new table is
in the next backup. Rows come in the order of the primary key, so that a restored table gives the same bytes again. Memory is
bounded: PostgreSQL waits while what it sent is being taken. What it will not do: vacuum cannot clean up behind the snapshot
while it is open.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import asyncpg

from overseer.core.errors import ConfigurationProblem
from overseer.server.storage.backup_archive import TableHead
from overseer.server.storage.connection import login_connection
from overseer.server.storage.database import Session, translate
from overseer.server.storage.keyring_rows import InstanceRow, load_instance
from overseer.server.storage.log_identity import check_log_identity, read_log_state
from overseer.server.storage.queries import named_queries

#: What decides how a value is written by COPY stands first: a restore compares the bytes.
COPY_SETTINGS: Final = {
    "TimeZone": "UTC",
    "DateStyle": "ISO, YMD",
    "IntervalStyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "search_path": "pg_catalog, public, pg_temp",
}
_SETTINGS: Final = COPY_SETTINGS | {
    "application_name": "overseer backup",
    "synchronous_commit": "on",
    "statement_timeout": "0",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "10min",
}


@dataclass(frozen=True, slots=True)
class Table:
    """``query`` reads it in the order of its primary key."""

    head: TableHead
    query: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What a backup says of itself."""

    instance: InstanceRow
    created_at: str
    postgres_version: str
    migrations: tuple[tuple[int, str, str], ...]
    log_size: int


class Snapshot:
    """One open transaction; used from one task."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection

    async def facts(self) -> Facts:
        session = Session(self._connection)
        instance = await load_instance(session)
        if instance is None:
            raise ConfigurationProblem("the database holds no Overseer instance yet: there is nothing to back up")
        row = await session.fetchrow("backup_facts")
        assert row is not None  # noqa: S101  # a query of settings
        found = await session.fetch("backup_migrations")
        migrations = tuple((one["number"], one["name"], one["checksum"]) for one in found)
        return Facts(instance, row["now"].isoformat(), row["postgres_version"], migrations, row["log_size"])

    async def tables(self) -> list[Table]:
        """All of them, each after those that its foreign keys point to."""
        return await tables_in_order(self._connection)

    async def copy(self, table: Table, take: Callable[[bytes], Awaitable[None]]) -> int:
        """Give every byte of COPY's text form to ``take``; how many rows there were."""
        return await copy_out(self._connection, table, take)


@asynccontextmanager
async def snapshot(url: str) -> AsyncIterator[Snapshot]:
    """The database of ``url`` as it is now, read as the login role. Raises :class:`StoreUnavailable`,
    :class:`ConfigurationProblem`."""
    async with login_connection(url, _SETTINGS) as connection:
        try:
            check_log_identity(await read_log_state(connection))
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                yield Snapshot(connection)
        except (asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise translate(error) from None


async def tables_in_order(connection: asyncpg.Connection) -> list[Table]:
    """Every table of the database, parents first."""
    rows = await connection.fetch(named_queries()["backup_tables"])
    needs = await connection.fetch(named_queries()["backup_references"])
    tables = {row["name"]: Table(TableHead(row["name"], tuple(row["columns"])), row["query"]) for row in rows}
    return [tables[name] for name in _parents_first(tables, needs) if name in tables]


async def copy_out(connection: asyncpg.Connection, table: Table, take: Callable[[bytes], Awaitable[None]]) -> int:
    """As :meth:`Snapshot.copy`, on any connection with :data:`COPY_SETTINGS`."""
    status = await connection.copy_from_query(table.query, output=take, timeout=None)
    return int(str(status).rsplit(" ", 1)[-1])


def _parents_first(tables: Mapping[str, Any], needs: Iterable[Mapping[str, Any]]) -> list[str]:
    waiting = {name: {one["parent"] for one in needs if one["child"] == name} for name in sorted(tables)}
    ordered: list[str] = []
    while waiting:
        free = [name for name, parents in waiting.items() if not parents & waiting.keys()]
        if not free:
            raise RuntimeError(f"foreign keys that cannot wait go in a circle: {', '.join(waiting)}")
        ordered += free
        for name in free:
            del waiting[name]
    return ordered
