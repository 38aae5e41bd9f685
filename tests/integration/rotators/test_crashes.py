"""The leader is killed at every point of a rotation, at every real server: one credential works, the next leader ends the run."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable

import pytest

from overseer.wire.rotations import RotationSet
from overseer.wire.secrets import SecretActivate
from tests.integration.rotators.rotating import Rotating
from tests.integration.rotators.sources import Source
from tests.integration.rotators.test_rotators import WAYS, WEB
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

#: Five steps with two points each, and three of them with a call, which has two more.
POINTS = 16
#: Those that leave another state behind than the one before them: at the beginning, after each stored state, after each call.
FATAL = (1, 2, 5, 6, 9, 10, 12, 15, 16)
#: Where a leader dies whose run has just changed the source.
APPLIED = 6
WAY_BACK = ["before the step from reverting", "before revert", "after revert", "after the step from reverting"]
BACK = (2, 3, 4)


class Mortals:
    """Other processes that lead until they are killed."""

    def __init__(self, world: World, process: asyncio.subprocess.Process) -> None:
        self._world, self._process = world, process

    async def killed_at(self, point: int) -> list[str]:
        """Let one lead until it is killed there (0: never); the points that it passed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{self._world.url} {point}\n".encode())
        passed: list[str] = []
        while not passed or not passed[-1].startswith("ended "):
            line = await asyncio.wait_for(self._process.stdout.readline(), 60)
            assert line, "the process that makes the others has ended"
            passed.append(line.decode().strip())
        assert passed.pop() == f"ended {-signal.SIGKILL if point else 0}"
        return passed


@pytest.fixture
async def mortals(world: World) -> AsyncIterator[Mortals]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.integration.rotators.crashing_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "TEST_ROOT_KEY": world.root_key.reveal().hex()},
    )
    yield Mortals(world, process)
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


@pytest.mark.parametrize(("kind", "users"), WAYS)
async def test_killed_at_every_point(
    world: World, source_of: Callable[[str], Source], mortals: Mortals, kind: str, users: tuple[str, ...]
) -> None:
    rotating = Rotating(world, source_of(kind), users)
    await rotating.begin()
    for point in FATAL:
        before = (await rotating.login())[1]
        active = (await world.secrets.get(world.owner, rotating.id)).view.active_version
        await rotating.service.run_rotation(world.owner, rotating.id)
        passed = await mortals.killed_at(point)
        assert len(passed) == point
        run = await rotating.newest()
        works = {version: await rotating.works(version) for version in (active, run.candidate_version) if version}
        assert any(works.values()), (passed[-1], run.state, works)
        # What consumers get now works, but for one user's single password between apply and publish, where the new one does.
        if not await rotating.works():
            assert len(users) == 1
            assert run.state in ("prepared", "applied", "verified")
            assert works[run.candidate_version]
        if run.finished_at is None:
            await world.sql("UPDATE secret_rotation_run SET leased_until = now() WHERE finished_at IS NULL")
            run = await rotating.go_on()
        assert (run.state, run.error) == ("succeeded", ""), passed[-1]
        assert await rotating.works()
        assert not await rotating.works(active), passed[-1]
        assert (await rotating.login())[1] != before


@pytest.mark.parametrize(("kind", "users"), WAYS)
async def test_killed_on_the_way_back(
    world: World, source_of: Callable[[str], Source], mortals: Mortals, kind: str, users: tuple[str, ...]
) -> None:
    """A rollout is withdrawn: killed once that is known, and then around the revert."""
    delivery, rotating = Delivery(world), Rotating(world, source_of(kind), users)
    await rotating.begin()
    agent = await delivery.enrolled("n1")
    await delivery.deploy(WEB)
    await agent.carry_out()
    now = "UPDATE secret_rotation_run SET next_at = now(), leased_until = NULL WHERE finished_at IS NULL"
    for point in BACK:
        run = await rotating.run()
        await agent.carry_out("failed")
        await world.sql(now)
        assert (await mortals.killed_at(2))[-1] == "2 after the step from published"
        await agent.carry_out()
        await world.sql(now)
        passed = await mortals.killed_at(point)
        assert [line.partition(" ")[2] for line in passed] == WAY_BACK[:point]
        assert await rotating.works() or (len(users) == 1 and await rotating.works(run.candidate_version)), passed[-1]
        run = await rotating.newest()
        if run.finished_at is None:
            run = await rotating.go_on()
        assert run.state == "reverted"
        assert (await rotating.works(), await rotating.works(run.candidate_version)) == (True, False), passed[-1]


@pytest.mark.parametrize(("kind", "users"), WAYS)
@pytest.mark.parametrize("state", ["applied", "verified", "reverting"])
async def test_who_makes_the_new_one_the_active_one_by_hand_keeps_it(
    world: World, source_of: Callable[[str], Source], mortals: Mortals, kind: str, users: tuple[str, ...], state: str
) -> None:
    """The source has the new credential and the server is away: its consumers are helped by hand, and stay helped."""
    rotating = Rotating(world, source_of(kind), users)
    await rotating.begin()
    await rotating.service.run_rotation(world.owner, rotating.id)
    await mortals.killed_at(APPLIED)
    await rotating.service.set_rotation(world.owner, rotating.id, RotationSet(paused=True))
    await world.secrets.activate(world.owner, rotating.id, SecretActivate(version=2))
    await world.sql("UPDATE secret_rotation_run SET state = $1", state)
    run = await rotating.go_on()
    if state == "reverting":
        assert (run.state, await rotating.works()) == ("prepared", True)
        run = await rotating.go_on()
    assert (await rotating.works(), await rotating.works(1)) == (True, False)
    assert run.state == "succeeded"


async def test_there_are_no_other_points(
    world: World, source_of: Callable[[str], Source], mortals: Mortals
) -> None:
    rotating = Rotating(world, source_of("redis"), ("app_a",))
    await rotating.begin()
    await rotating.service.run_rotation(world.owner, rotating.id)
    passed = await mortals.killed_at(0)
    assert len(passed) == POINTS
    assert [line.partition(" ")[2] for line in passed[:6]] == [
        "before the step from waiting",
        "after the step from waiting",
        "before the step from prepared",
        "before apply",
        "after apply",
        "after the step from prepared",
    ]


async def test_a_lease_of_the_dead_is_waited_for(
    world: World, source_of: Callable[[str], Source], mortals: Mortals
) -> None:
    """Nobody else touches the run before the lease ends, so the frozen and the dead are not overtaken too early."""
    rotating = Rotating(world, source_of("redis"), ("app_a",))
    await rotating.begin()
    await rotating.service.run_rotation(world.owner, rotating.id)
    await mortals.killed_at(5)
    await rotating.driver.run()
    assert (await rotating.newest()).state == "prepared"
    await world.sql("UPDATE secret_rotation_run SET leased_until = now() WHERE finished_at IS NULL")
    assert (await rotating.go_on()).state == "succeeded"
