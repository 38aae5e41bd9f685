"""One leader among several schedulers over one real PostgreSQL, however the last one went."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from overseer.core.errors import StoreUnavailable
from overseer.server import scheduler as scheduler_module
from overseer.server.scheduler import Job, Scheduler, pause_after
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.service_session import session_setup
from tests.integration.services.world import World, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
ROOT = Path(__file__).parents[3]
LEADERS = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = (8102661214773306991 & 4294967295)::oid"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Schedulers of this process ask more often; those of processes of their own keep the real pauses."""
    monkeypatch.setattr(scheduler_module, "TRY_SECONDS", 0.2)
    monkeypatch.setattr(scheduler_module, "HANDOVER_SECONDS", 0.3)


class Ticks:
    """What the jobs of all replicas did: who runs now, and who ever ran."""

    def __init__(self) -> None:
        self.running: list[str] = []
        self.ran: list[str] = []
        self.together = 0

    def job(self, name: str, *, seconds: float = 0.02) -> Job:
        async def run() -> None:
            self.together = max(self.together, len(self.running) + 1)
            self.running.append(name)
            self.ran.append(name)
            try:
                await asyncio.sleep(seconds)
            finally:
                self.running.remove(name)

        return Job("tick", 0.02, run)


@asynccontextmanager
async def running(url: str, *jobs: Job, **options: object) -> AsyncIterator[Scheduler]:
    database = Database(service_arguments(url), setup=session_setup)
    made = Scheduler(database, jobs, **options)  # type: ignore[arg-type]
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await database.close()


async def asked(world: World) -> None:
    """Until a second session has asked for the lock in vain."""
    idle = "SELECT count(*) >= 2 AS both FROM pg_stat_activity WHERE application_name = 'overseer leader' AND state = 'idle'"
    idle += " AND datname = current_database() AND query ~ '^SELECT (pg_try_advisory_lock|true)'"

    async def both() -> bool:
        return bool((await world.sql(idle))[0]["both"])

    await eventually(both)


async def test_one_of_two_leads_and_the_other_takes_over_when_it_stops(world: World) -> None:
    ticks = Ticks()
    stopping = asyncio.Event()
    async with running(world.url, ticks.job("a"), stopping=stopping) as first:
        await eventually(lambda: first.leading)
        async with running(world.url, ticks.job("b")) as second:
            await asyncio.sleep(0.8)  # in which the second asks several times, and is not let in
            await eventually(lambda: "a" in ticks.ran)
            assert set(ticks.ran) == {"a"}
            assert len(await world.sql(LEADERS)) == 1
            stopping.set()
            await eventually(lambda: second.leading and "b" in ticks.ran)
            assert not first.leading
    assert ticks.together == 1
    await eventually(lambda: _no_leader(world))


async def _no_leader(world: World) -> bool:
    return await world.sql(LEADERS) == []


async def test_a_lost_connection_stops_the_jobs_and_another_replica_leads(world: World) -> None:
    ticks = Ticks()
    async with running(world.url, ticks.job("a", seconds=60)) as first:
        await eventually(lambda: ticks.running == ["a"])
        async with running(world.url, ticks.job("b", seconds=60)) as second:
            await asked(world)
            [leader] = await world.sql(LEADERS)
            await world.sql("SELECT pg_terminate_backend($1)", leader["pid"])
            await eventually(lambda: len(ticks.ran) == 2 and len(ticks.running) == 1)
            assert [first.leading, second.leading].count(True) == 1
            assert len(await world.sql(LEADERS)) == 1
    assert ticks.together == 1


async def test_a_killed_process_is_followed_within_seconds(world: World) -> None:
    async def start(name: str) -> asyncio.subprocess.Process:
        arguments = ("-m", "tests.integration.services.leader_process", world.url, name)
        return await asyncio.create_subprocess_exec(sys.executable, *arguments, stdout=asyncio.subprocess.PIPE, cwd=ROOT)

    async def first_words(process: asyncio.subprocess.Process) -> bytes:
        assert process.stdout is not None
        return await asyncio.wait_for(process.stdout.readline(), 90)

    first = await start("first")
    second = None
    try:
        assert await first_words(first) == b"first\n"
        second = await start("second")
        assert second.stdout is not None
        waiting = asyncio.create_task(second.stdout.readline())
        assert not (await asyncio.wait([waiting], timeout=2.5))[0]
        os.kill(first.pid, signal.SIGKILL)
        assert await asyncio.wait_for(waiting, 90) == b"second\n"
    finally:
        for process in filter(None, (first, second)):
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.communicate()


async def test_a_sealed_process_does_not_lead_and_one_that_is_sealed_gives_it_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler_module, "CHECK_SECONDS", 0.2)
    ticks = Ticks()
    sealed = True
    async with running(world.url, ticks.job("a"), sealed=lambda: sealed) as one:
        await asyncio.sleep(0.8)
        assert ticks.ran == []
        assert await _no_leader(world)
        sealed = False
        await eventually(lambda: "a" in ticks.ran)
        sealed = True
        await eventually(lambda: not one.leading)
        await eventually(lambda: _no_leader(world))


async def test_a_failing_job_is_tried_again_tells_no_text_and_stops_no_other(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    tries = 0

    async def fail() -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise StoreUnavailable("the text of an error")
        if tries == 2:
            raise RuntimeError("cAnArY-value")

    ticks = Ticks()
    with caplog.at_level(logging.WARNING, logger="overseer.server"):
        async with running(world.url, Job("fails", 0.05, fail), ticks.job("a")):
            await eventually(lambda: tries >= 3 and len(ticks.ran) > 3)
    said = [record for record in caplog.records if "job fails failed" in record.getMessage()]
    assert len(said) == 2
    assert not any("cAnArY" in record.getMessage() or "text of" in record.getMessage() for record in said)


async def test_no_job_starts_on_a_lock_that_was_not_confirmed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a SIGSTOP: the loop goes on, the lease is over, and the end of the connection has not been read yet."""
    ticks = Ticks()
    async with running(world.url, ticks.job("a")) as one:
        await eventually(lambda: "a" in ticks.ran)
        monkeypatch.setattr(scheduler_module, "LEASE_SECONDS", -1)
        await eventually(lambda: ticks.running == [])
        count = len(ticks.ran)
        await asyncio.sleep(0.3)
        assert one.leading
        assert len(ticks.ran) == count


async def test_a_silent_leader_loses_the_lock(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overseer.server.storage.leadership._SETTINGS", {"idle_session_timeout": "1500ms"})
    monkeypatch.setattr(scheduler_module, "CHECK_SECONDS", 60.0)
    ticks = Ticks()
    async with running(world.url, ticks.job("a", seconds=60)):
        await eventually(lambda: ticks.running == ["a"])
        await eventually(lambda: ticks.running == [])


async def test_schedulers_wait_for_a_database_that_is_away(tmp_path: Path) -> None:
    ticks = Ticks()
    async with running(f"postgresql://postgres@/none?host={tmp_path}", ticks.job("a")) as one:
        await asyncio.sleep(1.3)
        assert not one.leading
    assert ticks.ran == []


def test_pauses_grow_and_end() -> None:
    assert [pause_after(5, failures) for failures in (0, 1, 2, 3, 20)] == [5, 5, 10, 20, 300]
    assert pause_after(3600, 50) == 3600


def test_two_jobs_of_one_name_are_refused() -> None:
    ticks = Ticks()
    with pytest.raises(ValueError, match="one name"):
        Scheduler(Database({}), [ticks.job("a"), ticks.job("b")])
