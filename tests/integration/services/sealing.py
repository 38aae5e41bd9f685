"""What the tests of the sealed log share: a sealer over the world's database, and the tree rebuilt from the rows themselves."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import asyncpg

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.audit_record import COLUMNS, encode
from overseer.crypto.merkle_log import Frontier, leaf_hash
from overseer.server.services.audit_sealer import AuditSealer
from overseer.server.storage.audit_rows import insert_events
from tests.integration.services.world import World


def sealer(world: World, batch: int = 5000) -> AuditSealer:
    return AuditSealer(world.database, world.keys, batch)


async def seal(world: World) -> None:
    """One round of sealing that takes every row: the cluster is shared, and a transaction of another test holds the horizon."""
    behind = "SELECT count(*) AS rows FROM audit WHERE xact >= pg_snapshot_xmin(pg_current_snapshot())"
    for _ in range(1800):
        if not (await world.sql(behind))[0]["rows"]:
            break
        await asyncio.sleep(0.05)
    await sealer(world).run()


async def write_rows(world: World, count: int, *, each: int = 1) -> None:
    """``count`` transactions of ``each`` rows."""
    for _ in range(count):
        async with world.database.work() as session:
            await insert_events(session, [event() for _ in range(each)])


def event() -> AuditEvent:
    return AuditEvent(
        AuditAction.SECRET_REVEAL,
        Outcome.ALLOWED,
        request_id=str(uuid4()),
        actor_id=uuid4(),
        actor_name="alice",
        actor_kind="user",
        resource_kind="secret",
        resource_name="db-password",
        app="shop",
        version=3,
        peer="192.0.2.7",
        client="test",
    )


async def rows_below(world: World, incarnation: int, horizon: str) -> list[asyncpg.Record]:
    """Rows in the order of the log, straight from the table."""
    below = "(incarnation, xact) < ($1, $2::text::xid8)"
    return await world.sql(f"SELECT * FROM audit WHERE {below} ORDER BY incarnation, xact, id", incarnation, horizon)


def as_values(row: asyncpg.Record) -> dict[str, Any]:
    """A row as the independent encoder takes it."""
    return {name: int(row[name]) if name == "xact" else row[name] for name, _ in COLUMNS}


async def rebuilt(world: World) -> tuple[Frontier, asyncpg.Record]:
    """The tree over the rows below the newest checkpoint's horizon, by the independent encoder, and that checkpoint."""
    [last] = await world.sql("SELECT *, horizon::text AS below FROM audit_checkpoint ORDER BY seq DESC LIMIT 1")
    tree = Frontier()
    rows = await rows_below(world, last["incarnation"], last["below"])
    tree.extend([leaf_hash(encode(as_values(row))) for row in rows])
    return tree, last
