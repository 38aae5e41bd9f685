"""Nobody leads, or a stranger holds the leader's lock: those who do not lead say so, once an hour, and doctor says it at once."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from overseer.core.findings import Level
from overseer.server import measures
from overseer.server.services.leader_watch import (
    ALARM_PAUSE,
    MISSING_SECONDS,
    OURS,
    LeaderWatch,
    leader_finding,
    lock_holder,
)
from overseer.server.storage.leadership import leader_session
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
LOCK = 8102661214773306991


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def alarms(world: World) -> list[str]:
    return [row["code"] for row in await world.sql("SELECT code FROM audit WHERE action = 'alarm:no_leader' ORDER BY id")]


async def holder_of(world: World) -> str:
    async with world.database.session() as session:
        return await lock_holder(session)


async def test_nobody_leads_for_a_minute(world: World) -> None:
    clock = Clock()
    watch = LeaderWatch(world.database, world.gate, clock)
    clock.now += MISSING_SECONDS - 1
    await watch.look()
    assert await alarms(world) == []
    clock.now += 2
    await watch.look()
    await watch.look()
    assert await alarms(world) == ["nobody"]
    assert measures.LEADER_MISSING._value.get() == MISSING_SECONDS + 1  # type: ignore[attr-defined]
    clock.now += ALARM_PAUSE
    await watch.look()
    assert await alarms(world) == ["nobody"] * 2


async def test_a_leader_is_no_alarm_and_ends_one(world: World) -> None:
    clock = Clock()
    watch = LeaderWatch(world.database, world.gate, clock)
    async with leader_session(world.database) as lock:
        assert await lock.try_to_lead()
        clock.now += 10 * MISSING_SECONDS
        await watch.look()
        assert await alarms(world) == []
        assert await holder_of(world) == OURS
    clock.now += MISSING_SECONDS + 1
    await watch.look()
    assert await alarms(world) == ["nobody"]


async def test_a_stranger_who_holds_the_lock_is_named(world: World) -> None:
    clock = Clock()
    watch, role = LeaderWatch(world.database, world.gate, clock), f"lurker_{world.instance_id.hex[:12]}"
    [name] = await world.sql("SELECT current_database()")
    await world.sql(f"CREATE ROLE {role} LOGIN")
    await world.sql(f"GRANT CONNECT ON DATABASE {name[0]} TO {role}")
    other = await asyncpg.connect(world.url, user=role)
    try:
        pid = await other.fetchval("SELECT pg_backend_pid()")
        await other.execute(f"SELECT pg_advisory_lock({LOCK})")
        found: Any = await holder_of(world)
        clock.now += MISSING_SECONDS
        await watch.look()
        await other.execute("SELECT pg_advisory_unlock_all()")
    finally:
        await other.close()
        await world.sql(f"DROP OWNED BY {role}")
        await world.sql(f"DROP ROLE {role}")
    assert found == f"pid {pid}"
    assert await alarms(world) == [f"pid {pid}"]
    assert await holder_of(world) == ""


def test_what_doctor_says() -> None:
    said = [leader_finding(holder) for holder in (OURS, "", "pid 4711")]
    assert [one.level for one in said] == [Level.OK, Level.WARNING, Level.PROBLEM]
    assert "4711" in said[2].text
