"""A backup into an empty database: all of it inside the caller's one transaction, so that whatever is wrong, nothing stays.

Guarantees: the schema is that of the backup's own migrations, each with the checksum that this release knows; every table is
filled by one COPY and read again, and its rows and bytes are those of the manifest. What it will not do: commit, open a value,
or touch a database that holds anything.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

import asyncpg

from overseer.core.errors import ConfigurationProblem, Conflict, DecryptionFailed
from overseer.server.storage.backup_archive import ArchiveReader, Head, Manifest, TableHead, TableSum
from overseer.server.storage.connection import MIGRATION_SETTINGS
from overseer.server.storage.migrator import Migration, apply_migration, migrations
from overseer.server.storage.queries import named_queries
from overseer.server.storage.snapshot import COPY_SETTINGS, copy_out, tables_in_order

#: The restoring session: as the migrator's, and values are written as a backup writes them.
RESTORE_SETTINGS: Final = {
    **MIGRATION_SETTINGS,
    **COPY_SETTINGS,
    "application_name": "overseer restore",
    "search_path": MIGRATION_SETTINGS["search_path"],
    "idle_in_transaction_session_timeout": "1h",
}


async def load(connection: asyncpg.Connection, archive: ArchiveReader) -> Manifest:
    """Fill the empty database with the archive and bring its schema up to this release; inside the caller's transaction.

    Raises :class:`Conflict` (not empty), :class:`ConfigurationProblem` (made by a newer release), :class:`DecryptionFailed`.
    """
    if not await connection.fetchval(named_queries()["restore_is_empty"]):
        raise Conflict("the database is not empty: restore into a new one. Nothing was changed")
    then, later = split_migrations(archive.head, migrations())
    for migration in then:
        await apply_migration(connection, migration)
    known = {one.head.name: one.head for one in await tables_in_order(connection)}
    if {one.name: frozenset(one.columns) for one in archive.head.tables} != {
        name: frozenset(one.columns) for name, one in known.items()
    }:
        raise DecryptionFailed("the backup's tables are not those of its migrations: it was not made by Overseer like this")
    filled = {one.name: await _fill(connection, one, archive.parts(one.name)) for one in archive.head.tables}
    manifest = archive.manifest()
    _compare(manifest, filled, "does not hold what its manifest says")
    await connection.execute(named_queries()["restore_constraints"])
    _compare(manifest, await _read_again(connection), "was restored to something else than it was")
    await connection.execute(named_queries()["restore_sequences"])
    for migration in later:
        await apply_migration(connection, migration)
    return manifest


def split_migrations(head: Head, known: Sequence[Migration]) -> tuple[Sequence[Migration], Sequence[Migration]]:
    """The backup's own, and those that came since. Raises :class:`ConfigurationProblem`."""
    count = len(head.migrations)
    mine = tuple((one.number, one.name, one.checksum) for one in known[:count])
    if count > len(known) or mine != head.migrations:
        raise ConfigurationProblem(
            f"the backup was made by another release of Overseer ({head.release}), whose migrations this one does not know: "
            "restore it with that release. Nothing was changed"
        )
    return known[:count], known[count:]


async def _fill(connection: asyncpg.Connection, table: TableHead, parts: Iterator[bytes]) -> TableSum:
    found = TableSum()

    async def source() -> AsyncIterator[bytes]:
        for part in parts:
            found.take(part)
            yield part

    try:
        status = await connection.copy_to_table(
            table.name, source=source(), columns=table.columns, schema_name="public", timeout=None
        )
    except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError, asyncpg.BadCopyFileFormatError):
        raise DecryptionFailed(f"the backup's rows of {table.name} cannot be restored") from None
    return found.close(int(str(status).rsplit(" ", 1)[-1]))


async def _read_again(connection: asyncpg.Connection) -> dict[str, TableSum]:
    """What the tables give now."""
    sums = {}
    for table in await tables_in_order(connection):
        found = TableSum()

        async def take(data: bytes, found: TableSum = found) -> None:
            found.take(data)

        sums[table.head.name] = found.close(await copy_out(connection, table, take))
    return sums


def _compare(manifest: Manifest, found: dict[str, TableSum], what: str) -> None:
    if manifest.tables.keys() != found.keys():
        raise DecryptionFailed(f"the backup {what}: tables are missing")
    for name, one in found.items():
        if not one.same(manifest.tables[name]):
            raise DecryptionFailed(f"the backup {what}: {name}")
