"""Old rows leave the log on purpose: with a statement, only the oldest, and no other way."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from overseer.core.errors import InvalidInput, KeyProblem, StoreUnavailable
from overseer.crypto.log_report import Trust
from overseer.server.services.audit_log_service import AuditLogService
from overseer.server.services.audit_retention import AuditRetention
from overseer.server.services.audit_self_check import AuditSelfCheck
from overseer.server.storage.log_reading import verify_database
from tests.integration.services.sealing import sealer, write_rows
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

LATER = timedelta(days=40)


@pytest.fixture
async def old(world: World) -> datetime:
    """Two sealings of rows that say they are 50 days old, one of young ones; the moment at which the old ones are due."""
    for age in (50, 50, 0):
        await write_rows(world, 1, each=300)
        async with world.connection() as connection:
            await connection.execute("SET session_replication_role = replica")
            await connection.execute(
                "UPDATE audit SET at = at - make_interval(days => $1) WHERE at > now() - interval '1 day'", age
            )
        await sealer(world).run()
    return datetime.now(UTC) + LATER


async def size_of(world: World, which: str) -> int:
    [row] = await world.sql(f"SELECT {which}(size) AS size FROM audit_checkpoint")
    return int(row["size"])


def retention(world: World, days: int = 31, part: int = 100) -> AuditRetention:
    return AuditRetention(world.gate, world.keys, days, part)


async def remove_old(world: World, now: datetime) -> None:
    """The young rows are due by the clock that is given, but the database keeps them by its own."""
    await retention(world).fold()
    with pytest.raises(StoreUnavailable):
        await retention(world).run(now)


async def test_the_rest_verifies_and_what_was_removed_is_told(world: World, old: datetime) -> None:
    [second] = await world.sql("SELECT size FROM audit_checkpoint ORDER BY seq OFFSET 1 LIMIT 1")
    await remove_old(world, old)
    await write_rows(world, 3)
    await sealer(world).run()
    report = await verify_database(world.url, Trust())
    assert (report.verified, report.first) == (True, second["size"])
    removed = await world.sql("SELECT code, outcome FROM audit WHERE action = 'audit:remove'")
    assert sum(int(row["code"]) for row in removed) == second["size"]
    for _ in range(4):
        await AuditSelfCheck(world.database, world.keys).run()
    [check] = await world.sql("SELECT problems, found, finished_at FROM audit_self_check")
    assert (check["problems"], check["found"]) == ([], [])
    assert check["finished_at"] is not None


async def test_an_export_begins_behind_what_was_removed(world: World, old: datetime) -> None:
    await remove_old(world, old)
    service = AuditLogService(world.gate, world.keys, world.idempotency)
    keys = await service.log_keys(world.owner)
    with pytest.raises(InvalidInput, match="removed on purpose"):
        await service.records(world.owner, keys.first - 1)
    part = await service.records(world.owner, keys.first)
    assert part.first == keys.first
    assert len(part.records) == part.size - keys.first


async def test_nothing_goes_before_it_is_due_or_without_a_setting(world: World, old: datetime) -> None:
    [before] = await world.sql("SELECT count(*) FROM audit")
    await retention(world).fold()
    await retention(world, days=0).run(old)
    await retention(world).run()
    [after] = await world.sql("SELECT count(*) FROM audit")
    assert after["count"] >= before["count"]


async def test_nothing_goes_before_the_summary_has_it(world: World, old: datetime) -> None:
    await retention(world).run(old)
    assert await world.sql("SELECT FROM audit_retention") == []


async def test_a_changed_checkpoint_is_not_used(world: World, old: datetime) -> None:
    await retention(world).fold()
    await world.sql("UPDATE audit_checkpoint SET root = sha256('x') WHERE seq < 3")
    with pytest.raises(KeyProblem):
        await retention(world).run(old)
    assert await world.sql("SELECT FROM audit_retention") == []


async def test_a_row_that_is_missing_stops_it(world: World, old: datetime) -> None:
    """Retention must not cover up a removal."""
    await retention(world).fold()
    async with world.connection() as connection:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(
            "DELETE FROM audit WHERE (xact, id) = (SELECT xact, id FROM audit ORDER BY xact, id OFFSET 20 LIMIT 1)"
        )
    with pytest.raises(KeyProblem):
        await retention(world).run(old)
    assert await world.sql("SELECT FROM audit_retention") == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM audit",
        "UPDATE audit SET actor_name = 'x'",
        "TRUNCATE audit",
        "SELECT audit_forget(1)",
        "SELECT audit_forget((SELECT max(size) FROM audit_checkpoint))",
    ],
)
async def test_the_service_role_cannot_remove_a_row(world: World, old: datetime, statement: str) -> None:
    del old
    async with world.connection() as connection:
        await connection.execute("SET ROLE overseer_service")
        await connection.execute("SET overseer.audit_forget = 'on'")
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute(statement)


async def test_the_service_role_cannot_remove_young_rows_with_a_statement_of_its_own_either(world: World, old: datetime) -> None:
    del old
    newest = await size_of(world, "max")
    async with world.connection() as connection:
        await connection.execute("SET ROLE overseer_service")
        await connection.execute("INSERT INTO audit_retention (size, statement) VALUES ($1, 'forged')", newest)
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="30 days"):
            await connection.execute("SELECT audit_forget($1)", newest)


async def test_old_rows_that_went_with_a_forged_statement_are_found(world: World, old: datetime) -> None:
    del old
    oldest = await size_of(world, "min")
    async with world.connection() as connection:
        await connection.execute("SET ROLE overseer_service")
        await connection.execute("INSERT INTO audit_retention (size, statement) VALUES ($1, 'forged')", oldest)
        await connection.execute("SELECT audit_forget($1)", oldest)
    with pytest.raises(InvalidInput):
        await verify_database(world.url, Trust())


async def test_the_owner_of_the_table_is_stopped_from_a_slip(world: World) -> None:
    await write_rows(world, 1)
    async with world.connection() as connection:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await connection.execute("DELETE FROM audit")
