"""Migrations: numbered files, applied in order, each in a transaction of its own together with its row in ``schema_migration``.

Guarantees: a file that was applied is never applied again, and one that changed since is refused (SHA-256); a database that a
newer Overseer has migrated is refused; several replicas that start at once wait for one of them (an advisory lock of this
database), so each file runs once. After the files come the role of the service and its grants, and the first incarnation of
the audit log.

What it will not do: go back, or wait behind a long transaction (``lock_timeout``): it then fails, changes nothing and can be
tried again.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

import asyncpg

from overseer.core.errors import ConfigurationProblem, OverseerError, StoreUnavailable
from overseer.server.storage.connection import login_connection
from overseer.server.storage.database import translate
from overseer.server.storage.log_identity import begin_incarnation, check_log_identity, read_log_state
from overseer.server.storage.queries import named_queries
from overseer.server.storage.service_session import ROLE_REFUSED, SERVICE_ROLE, check_server

LOCK_SECONDS: Final = 120.0
_FILE: Final = re.compile(r"(\d{4})_([a-z][a-z0-9_]*)\.sql")

_UNRESTRICTED: Final = (
    f"the database login may neither create nor take the role {SERVICE_ROLE}: the server works as the owner of the tables, "
    f"and only triggers protect the audit log. As an administrator: CREATE ROLE {SERVICE_ROLE} NOLOGIN; "
    f"GRANT {SERVICE_ROLE} TO that login"
)
_SHARED: Final = (
    f"{{strangers}} other database logins may take the role {SERVICE_ROLE}: "
    "where they may connect to this database, they can read it"
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of ``sql/migrations/``: ``0001_initial.sql``. ``checksum`` is SHA-256 of the file in hexadecimal."""

    number: int
    name: str
    sql: str
    checksum: str


@dataclass(frozen=True, slots=True)
class Migrated:
    """What a run did: the names of files applied now, whether the service runs under its own role, and warnings for people."""

    applied: tuple[str, ...]
    restricted: bool
    warnings: tuple[str, ...]


def migrations(folder: Traversable | None = None) -> tuple[Migration, ...]:
    """All files in order. Raises ValueError where the numbers are not 1, 2, 3, …"""
    folder = folder or files("overseer.server.storage") / "sql" / "migrations"
    found = []
    for entry in sorted(folder.iterdir(), key=lambda item: item.name):
        match = _FILE.fullmatch(entry.name)
        if match:
            text = entry.read_bytes()
            found.append(Migration(int(match[1]), match[2], text.decode("utf-8"), hashlib.sha256(text).hexdigest()))
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise ValueError("migrations are numbered 0001, 0002, … without gaps")
    return tuple(found)


async def migrate(url: str, *, known: Sequence[Migration] | None = None, adopt_log: bool = False) -> Migrated:
    """Bring the database of ``url`` up to date; a second run changes nothing. ``adopt_log`` begins a new incarnation on a copy.

    Raises :class:`ConfigurationProblem` (a changed file, a newer database, another log, an unfit server) and
    :class:`StoreUnavailable`.
    """
    known = migrations() if known is None else known
    async with login_connection(url) as connection:
        try:
            return await _migrate(connection, known, adopt_log)
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise _explained(error) from None


async def pending_migrations(url: str) -> tuple[str, ...]:
    """The names of files not applied yet; changes nothing, and checks the server as well. Raises as :func:`migrate` does."""
    async with login_connection(url) as connection:
        try:
            await check_server(connection)
            return tuple(migration.name for migration in await _pending(connection, migrations()))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise _explained(error) from None


async def _migrate(connection: asyncpg.Connection, known: Sequence[Migration], adopt_log: bool) -> Migrated:
    warnings = await check_server(connection)
    await _lock(connection)  # held until the connection closes
    pending = await _pending(connection, known)
    for migration in pending:
        await apply_migration(connection, migration)
    restricted, role_warnings = await _prepare_role(connection)
    await _settle_log(connection, adopt_log)
    return Migrated(tuple(m.name for m in pending), restricted, (*warnings, *role_warnings))


async def _lock(connection: asyncpg.Connection) -> None:
    deadline = asyncio.get_running_loop().time() + LOCK_SECONDS
    while not await connection.fetchval(named_queries()["migration_lock"]):
        if asyncio.get_running_loop().time() > deadline:
            raise StoreUnavailable("another process has been migrating this database for two minutes; try again when it is done")
        await asyncio.sleep(0.1)


async def _pending(connection: asyncpg.Connection, known: Sequence[Migration]) -> Sequence[Migration]:
    if not await connection.fetchval(named_queries()["migration_table_exists"]):
        return known
    applied = await connection.fetch(named_queries()["migrations_applied"])
    for position, row in enumerate(applied):
        label = f"{row['number']:04}_{row['name']}"
        if position >= len(known):
            raise ConfigurationProblem(
                f"a newer Overseer has migrated this database ({label}): run that version, or restore a backup "
                f"taken before the upgrade"
            )
        expected = known[position]
        if (row["number"], row["name"], row["checksum"]) != (expected.number, expected.name, expected.checksum):
            raise ConfigurationProblem(
                f"migration {label} was applied to this database with another content than this Overseer has: "
                "install the release that made the database; a file that was released never changes"
            )
    return known[len(applied) :]


async def apply_migration(connection: asyncpg.Connection, migration: Migration) -> None:
    """One file and its row. Raises :class:`ConfigurationProblem` where its tables are there already."""
    try:
        async with connection.transaction():
            await connection.execute(migration.sql)
            await connection.execute(named_queries()["migration_record"], migration.number, migration.name, migration.checksum)
    except (asyncpg.DuplicateTableError, asyncpg.DuplicateFunctionError, asyncpg.DuplicateObjectError):
        raise ConfigurationProblem(
            "the database holds tables of something else: give Overseer a database of its own (CREATE DATABASE overseer)"
        ) from None


async def _prepare_role(connection: asyncpg.Connection) -> tuple[bool, tuple[str, ...]]:
    """Make the role where it may be made, grant it, and find out whether this login may take it."""
    queries = named_queries()
    for statement in ("service_role_create", "service_role_join"):
        if statement == "service_role_join" and await _may_enter(connection):
            break  # a superuser, or granted before
        with suppress(*ROLE_REFUSED):  # what counts is whether the role can be taken, which is asked below
            await _in_cluster(connection, queries[statement])
    if not await _may_enter(connection):
        return False, (_UNRESTRICTED,)
    async with connection.transaction():
        await connection.execute(queries["service_role_grants"])
    excess = await connection.fetchval(queries["service_role_excess"])
    if excess:
        raise ConfigurationProblem(
            f"the role {SERVICE_ROLE} can do more to the audit log than append ({excess}): take that from it"
        )
    strangers = await connection.fetchval(queries["service_role_strangers"])
    if strangers:
        return True, (_SHARED.format(strangers=strangers),)
    return True, ()


async def _may_enter(connection: asyncpg.Connection) -> bool:
    try:
        async with connection.transaction():
            await connection.execute(named_queries()["service_role_enter_locally"])
    except ROLE_REFUSED:
        return False
    return True


async def _in_cluster(connection: asyncpg.Connection, statement: str) -> None:
    """A statement on the cluster's own catalogue, which another database may touch at the same moment."""
    for attempt in range(10):
        try:
            await connection.execute(statement)
        except (asyncpg.UniqueViolationError, asyncpg.DuplicateObjectError, asyncpg.InternalServerError):
            # The last is "tuple concurrently updated".
            await asyncio.sleep(0.05 * (attempt + 1))
        else:
            return
    raise StoreUnavailable(f"the role {SERVICE_ROLE} is being changed by others all the time; try again")


async def _settle_log(connection: asyncpg.Connection, adopt_log: bool) -> None:
    state = await read_log_state(connection)
    if state.recorded is None:
        if not await connection.fetchval(named_queries()["log_is_empty"]):
            raise ConfigurationProblem("the audit log has rows but no incarnation: it was tampered with; restore a backup")
        await begin_incarnation(connection)
        return
    if adopt_log and state.recorded != state.seen:
        await begin_incarnation(connection)
        return
    check_log_identity(state)


def _explained(error: Exception) -> BaseException:
    if isinstance(error, asyncpg.InsufficientPrivilegeError):
        return ConfigurationProblem("the database login may not create tables: make it the owner of its database")
    translated = translate(error)
    return translated if isinstance(translated, OverseerError) else error
