"""Migrations: replayed against the schema, refused when changed or newer, safe when many start at once."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import asyncpg
import pytest

from overseer.core.errors import ConfigurationProblem, StoreUnavailable
from overseer.server.storage import migrator
from overseer.server.storage.connection import MIGRATION_SETTINGS
from overseer.server.storage.migrator import Migration, migrate, migrations, pending_migrations
from tests import postgres_server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

CATALOGUE = {
    "columns": """
        SELECT c.relname, c.relkind::text, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attidentity::text, pg_get_expr(d.adbin, d.adrelid), l.collname
        FROM pg_class c
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm', 'S') ORDER BY c.relname, a.attname""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2",
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, tgenabled::text, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal
        ORDER BY 1, 2""",
    "functions": """
        SELECT oid::regprocedure::text, prosecdef, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace ORDER BY 1""",
}


async def _catalogue(url: str) -> dict[str, list[tuple[object, ...]]]:
    connection = await asyncpg.connect(url)
    try:
        return {name: [tuple(row) for row in await connection.fetch(query)] for name, query in CATALOGUE.items()}
    finally:
        await connection.close()


async def _run(url: str, *statements: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


async def _fetch(url: str, query: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _next(known: Sequence[Migration], sql: str) -> list[Migration]:
    number = len(known) + 1
    return [*known, Migration(number, f"step_{number}", sql, hashlib.sha256(sql.encode()).hexdigest())]


async def test_the_migrations_make_what_the_schema_says(database_url: str, postgres_home: Path) -> None:
    done = await migrate(database_url)
    assert done.applied == tuple(migration.name for migration in migrations())
    postgres_server.execute(postgres_home, "CREATE DATABASE schema_as_written TEMPLATE template0")
    try:
        written = postgres_server.url(postgres_home, "schema_as_written")
        await _run(written, (files("overseer.server.storage") / "sql" / "schema.sql").read_text())
        replayed, expected = await _catalogue(database_url), await _catalogue(written)
    finally:
        postgres_server.execute(postgres_home, "DROP DATABASE schema_as_written WITH (FORCE)")
    assert all(expected.values())  # a query that finds nothing compares nothing
    for name in CATALOGUE:
        assert replayed[name] == expected[name]


async def test_a_second_run_does_nothing(database_url: str) -> None:
    assert await pending_migrations(database_url) == tuple(migration.name for migration in migrations())
    await migrate(database_url)
    before = await _catalogue(database_url)
    again = await migrate(database_url)
    assert (again.applied, again.warnings) == ((), ())
    assert await pending_migrations(database_url) == ()
    assert await _catalogue(database_url) == before


async def test_many_replicas_at_once_apply_each_file_once(database_url: str) -> None:
    slow = _next(migrations(), "CREATE TABLE once (id int); SELECT pg_sleep(0.3)")
    done = await asyncio.gather(*(migrate(database_url, known=slow) for _ in range(8)))
    assert sorted(len(run.applied) for run in done) == [0] * 7 + [len(slow)]


async def test_a_failed_migration_leaves_nothing_and_can_be_mended(database_url: str) -> None:
    await migrate(database_url)
    before = await _catalogue(database_url)
    with pytest.raises(asyncpg.PostgresError):
        await migrate(database_url, known=_next(migrations(), "CREATE TABLE half (id int); SELECT 1 / 0"))
    assert await _catalogue(database_url) == before
    mended = await migrate(database_url, known=_next(migrations(), "CREATE TABLE whole (id int)"))
    assert mended.applied == (f"step_{len(migrations()) + 1}",)


async def test_a_changed_file_is_refused(database_url: str) -> None:
    await migrate(database_url)
    known = list(migrations())
    known[0] = replace(known[0], checksum="0" * 64)
    with pytest.raises(ConfigurationProblem, match="0001_initial was applied to this database with another content"):
        await migrate(database_url, known=known)


async def test_a_newer_database_is_refused(database_url: str) -> None:
    newer = _next(migrations(), "SELECT 1")
    await migrate(database_url, known=newer)
    with pytest.raises(ConfigurationProblem, match=f"newer Overseer has migrated this database \\({len(newer):04}_step"):
        await migrate(database_url)
    with pytest.raises(ConfigurationProblem, match="newer"):
        await pending_migrations(database_url)


async def test_a_database_of_something_else_is_refused(database_url: str) -> None:
    await _run(database_url, "CREATE TABLE secret (theirs int)")
    before = await _catalogue(database_url)
    with pytest.raises(ConfigurationProblem, match="database of its own"):
        await migrate(database_url)
    assert await _catalogue(database_url) == before


async def test_a_migration_does_not_queue_behind_a_long_transaction(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    await migrate(database_url)
    monkeypatch.setitem(MIGRATION_SETTINGS, "lock_timeout", "200ms")
    reader = await asyncpg.connect(database_url)
    try:
        async with reader.transaction():
            await reader.execute("LOCK TABLE secret IN ACCESS SHARE MODE")
            with pytest.raises(StoreUnavailable):
                await migrate(database_url, known=_next(migrations(), "ALTER TABLE secret ADD COLUMN more int"))
    finally:
        await reader.close()
    added = await migrate(database_url, known=_next(migrations(), "ALTER TABLE secret ADD COLUMN more int"))
    assert added.applied == (f"step_{len(migrations()) + 1}",)


async def test_another_process_that_never_ends_is_reported(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrator, "LOCK_SECONDS", 0.3)
    holder = await asyncpg.connect(database_url)
    try:
        assert await holder.fetchval(migrator.named_queries()["migration_lock"])
        with pytest.raises(StoreUnavailable, match="has been migrating"):
            await migrate(database_url)
    finally:
        await holder.close()


def test_numbers_without_gaps(tmp_path: Path) -> None:
    (tmp_path / "0001_a.sql").write_text("SELECT 1")
    (tmp_path / "0003_c.sql").write_text("SELECT 1")
    with pytest.raises(ValueError, match="without gaps"):
        migrations(tmp_path)


async def test_a_server_that_may_lose_commits_is_refused(own_cluster: Path) -> None:
    url = postgres_server.url(own_cluster, "postgres")
    for setting in ("fsync", "full_page_writes"):
        await _reload(own_cluster, url, setting, "off")
        with pytest.raises(ConfigurationProblem, match="fsync"):
            await migrate(url)
        await _reload(own_cluster, url, setting, "on")
    assert (await migrate(url)).warnings == ()


async def _reload(cluster: Path, url: str, setting: str, value: str) -> None:
    postgres_server.execute(cluster, f"ALTER SYSTEM SET {setting} = {value}", "SELECT pg_reload_conf()")
    deadline = time.monotonic() + 90
    while await _fetch(url, f"SHOW {setting}") != value:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_another_encoding_is_refused(postgres_home: Path) -> None:
    postgres_server.execute(postgres_home, "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        with pytest.raises(ConfigurationProblem, match="UTF8"):
            await migrate(postgres_server.url(postgres_home, "latin"))
    finally:
        postgres_server.execute(postgres_home, "DROP DATABASE latin WITH (FORCE)")


async def test_backups_from_before_belong_to_the_incarnation_that_made_them(database_url: str) -> None:
    """An instance that was restored by an earlier release: the rows of the original's files are not its own."""
    known = migrations()
    [at] = [number for number, one in enumerate(known) if one.name == "signed_backups"]
    for one in known[:at]:
        await _run(database_url, one.sql)
    began = "INSERT INTO audit_incarnation SELECT n, '1', 1, 1, 1, pg_current_xact_id(), now() + n * interval '2 days' "
    await _run(database_url, f"{began} FROM generate_series(1, 2) n")
    row = "INSERT INTO backup_run (id, target, reason, state, asked_at, finished_at) "
    row += "SELECT gen_random_uuid(), 'n', 'schedule', 'succeeded', now() + d * interval '1 day', now()"
    await _run(database_url, f"{row} FROM unnest(ARRAY[1, 3, 5]) d")
    await _run(database_url, known[at].sql)
    found = "SELECT string_agg(incarnation::text, ' ' ORDER BY asked_at) FROM backup_run"
    assert await _fetch(database_url, found) == "1 1 2"
    assert await _fetch(database_url, "SELECT incarnation FROM backup_resumption") == 2  # its schedules go on
