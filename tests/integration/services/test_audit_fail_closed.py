"""Cannot audit, cannot serve: the disk of the audit log is full, its table is locked, its INSERT is revoked."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from overseer.core.errors import NotReady
from overseer.core.secret_value import SecretValue
from overseer.server.storage.migrator import migrate
from overseer.wire.secrets import SecretUpdate, ValueRequest
from tests import postgres_server
from tests.integration.services.world import World, made_world

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

Fault = AbstractAsyncContextManager[None]
FILL = """
INSERT INTO audit (request_id, action, outcome, client) SELECT repeat('x', 160), 'secret:reveal', 'allowed', repeat('y', 160)
FROM generate_series(1, 500)
"""


@pytest.fixture
def small_disk() -> Iterator[str]:
    """The URL of a database on a server whose files cannot grow beyond 18 MiB. Segments of the write-ahead log, which have
    16 MiB, stay below it, as they do on a disk of their own."""
    home = Path(tempfile.mkdtemp(prefix="ovs-full-"))
    home.chmod(0o711)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (18 << 20, before[1]))  # the server inherits it
    try:
        postgres_server.start(home / "pg")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    postgres_server.execute(home / "pg", "CREATE DATABASE small TEMPLATE template0")
    yield postgres_server.url(home / "pg", "small")
    postgres_server.stop(home / "pg")
    home.rmdir()


async def _fill(world: World) -> None:
    for _ in range(400):
        await world.sql(FILL)


@asynccontextmanager
async def full_disk(world: World) -> AsyncIterator[None]:
    """The audit table fills what there is."""
    with pytest.raises(asyncpg.PostgresError, match="could not extend file"):
        await _fill(world)
    yield
    async with world.connection() as connection:
        await connection.execute("SET session_replication_role = replica; TRUNCATE audit")


@asynccontextmanager
async def locked(world: World) -> AsyncIterator[None]:
    async with world.connection() as other:
        await other.execute("BEGIN; LOCK TABLE audit IN EXCLUSIVE MODE")
        yield
        await other.execute("ROLLBACK")


@asynccontextmanager
async def revoked(world: World) -> AsyncIterator[None]:
    columns = "SELECT string_agg(column_name, ', ') AS names FROM information_schema.column_privileges"
    [row] = await world.sql(
        f"{columns} WHERE grantee = 'overseer_service' AND table_name = 'audit' AND privilege_type = 'INSERT'"
    )
    await world.sql("REVOKE INSERT ON audit FROM overseer_service")
    try:
        yield
    finally:
        await world.sql(f"GRANT INSERT ({row['names']}) ON audit TO overseer_service")


async def _reveals(world: World, secret_id: UUID) -> int:
    """How many reveals succeed before one is refused with 503; the last page of a full table has room for a few rows."""
    for number in range(60):
        try:
            await world.secrets.reveal(world.owner, secret_id, ValueRequest())
        except NotReady:
            return number
    raise AssertionError("nothing is refused")


@pytest.mark.parametrize("fault", [locked, revoked])
async def test_what_cannot_be_audited_does_not_happen(world: World, fault: Callable[[World], Fault]) -> None:
    await _nothing_happens(world, fault)


async def test_a_full_disk_stops_what_cannot_be_audited(small_disk: str) -> None:
    await migrate(small_disk)
    async with made_world(small_disk) as world:
        await _nothing_happens(world, full_disk)


async def _nothing_happens(world: World, fault: Callable[[World], Fault]) -> None:
    secret_id = UUID((await world.secret("db-password", "v1")).id)
    async with fault(world):
        revealed = await _reveals(world, secret_id)
        for call in (
            world.secrets.update(world.owner, secret_id, SecretUpdate(value="v2")),
            world.secrets.get(world.caller(bytes(32)), secret_id),
        ):
            with pytest.raises(NotReady):
                await call
        found = "SELECT count(*) AS n FROM audit WHERE action = 'secret:reveal' AND outcome = 'allowed' AND resource_id = $1"
        assert (await world.sql(found, secret_id))[0]["n"] == revealed  # each value that left has its row
    [row] = await world.sql("SELECT count(*) AS n FROM secret_version WHERE secret_id = $1", secret_id)
    assert row["n"] == 1
    again = await world.secrets.reveal(world.owner, secret_id, ValueRequest())
    assert again.value == SecretValue("v1")
