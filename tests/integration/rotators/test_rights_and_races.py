"""What people do in the middle of a run: they make a version the active one by hand, or lose the right that the run stands on.

The source is a real PostgreSQL, with calls that the test holds or fails; whatever happens, the active version's login works.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from overseer.core.errors import BatchRefused, CredentialChanging, InvalidInput, NotReady
from overseer.core.permissions import Permission
from overseer.server.address_rules import AddressRule
from overseer.server.rotators.contract import Change
from overseer.server.rotators.selection import make_rotator
from overseer.server.services.rotation_admission import BACK_BY_HAND, MEANWHILE, NOT_RETIRED
from overseer.server.services.rotation_rights import STOPPED
from overseer.wire.rotations import RotationSet
from overseer.wire.secret_batches import BatchActivate, SecretBatch
from overseer.wire.secrets import SecretActivate, SecretUpdate
from tests.integration.rotators.rotating import Rotating, make_driver
from tests.integration.rotators.sources import Source
from tests.integration.services.test_standing_rights import WRITES, Person
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

ONE, TWO = ("app_a",), ("app_a", "app_b")
NEEDED = WRITES | {Permission.ROTATOR_WRITE, Permission.SECRET_REVEAL, Permission.SECRET_USE}
Hook = Callable[[], Awaitable[None]]


class Meddled:
    """The real rotator; ``before`` a call of that name something happens. ``calls``: those that reached the source."""

    def __init__(self) -> None:
        self.before: dict[str, Hook] = {}
        self.calls: list[str] = []

    def make(self, fields: dict[str, Any], rule: AddressRule) -> Any:
        meddled, inner = self, make_rotator(fields, rule)

        class Between:
            both_work, compose = inner.both_work, staticmethod(inner.compose)

            def __getattr__(self, name: str) -> Any:
                async def call(change: Change) -> None:
                    if name in meddled.before:
                        await meddled.before[name]()
                    meddled.calls.append(name)
                    await getattr(inner, name)(change)

                return call

        return Between()

    def fails(self, name: str, error: Exception) -> None:
        async def hook() -> None:
            raise error

        self.before[name] = hook


async def begun(
    world: World, source_of: Callable[[str], Source], users: tuple[str, ...], **policy: Any
) -> tuple[Rotating, Meddled]:
    rotating, meddled = Rotating(world, source_of("postgresql"), users), Meddled()
    rotating.driver = make_driver(world, meddled.make)
    await rotating.begin(**policy)
    return rotating, meddled


async def person_behind(rotating: Rotating) -> Person:
    """Somebody who stands for the rotator instead of the owner."""
    person = await Person.with_(rotating.world, NEEDED)
    await rotating.world.sql("UPDATE secret_rotation SET set_by = $1", await person.id())
    return person


async def by_hand(rotating: Rotating, version: int) -> None:
    await rotating.service.set_rotation(rotating.world.owner, rotating.id, RotationSet(paused=True))
    await rotating.world.secrets.activate(rotating.world.owner, rotating.id, SecretActivate(version=version))


async def alarms(world: World) -> list[tuple[str, str]]:
    return [(row["action"], row["code"]) for row in await world.audit() if row["action"].startswith("alarm:")]


@pytest.mark.parametrize(("call", "users"), [("revert", ONE), ("retire", TWO)])
async def test_nothing_becomes_active_while_the_source_is_called(
    world: World, source_of: Callable[[str], Source], users: tuple[str, ...], call: str
) -> None:
    """The leader is in the middle of the call that cannot be undone; people come by every way there is."""
    rotating, meddled = await begun(world, source_of, users)
    await rotating.service.set_rotation(world.owner, rotating.id, RotationSet(paused=True))
    entered, go = asyncio.Event(), asyncio.Event()

    async def held() -> None:
        entered.set()
        await go.wait()

    meddled.before[call] = held
    if call == "revert":
        meddled.fails("verify", InvalidInput("never"))
        assert (await rotating.run()).state == "reverting"
        leader = asyncio.create_task(rotating.go_on())
    else:
        leader = asyncio.create_task(rotating.run())
    inside = asyncio.create_task(entered.wait())
    await asyncio.wait({leader, inside}, return_when=asyncio.FIRST_COMPLETED)
    try:
        assert inside.done(), "the leader ended without the call"
        other = 2 if call == "revert" else 1
        ways: list[Callable[[], Awaitable[Any]]] = [
            lambda: world.secrets.activate(world.owner, rotating.id, SecretActivate(version=other)),
            lambda: world.secrets.activate(world.owner, rotating.id, SecretActivate(version=other, immediate=True)),
            lambda: world.secrets.update(world.owner, rotating.id, SecretUpdate(value="by hand")),
        ]
        for way in ways:
            with pytest.raises(CredentialChanging, match="moment"):
                await asyncio.wait_for(way(), 60)
        batch = SecretBatch([BatchActivate(id=rotating.id, version=other)])
        with pytest.raises(BatchRefused) as refused:
            await asyncio.wait_for(world.secrets.batch(world.owner, batch), 60)
        assert [one.code for one in refused.value.problems] == ["credential_changing"]
        stored = await world.secrets.update(world.owner, rotating.id, SecretUpdate(value="for later", activate=False))
        assert stored.view.active_version == (1 if call == "revert" else 2)
    finally:
        inside.cancel()
        go.set()
        run = await asyncio.wait_for(leader, 60)
    assert run.state == ("reverted" if call == "revert" else "succeeded")
    assert await rotating.works()
    await world.secrets.activate(world.owner, rotating.id, SecretActivate(version=3))


async def test_who_came_before_the_revert_is_waited_for(world: World, source_of: Callable[[str], Source]) -> None:
    """The run has to go back; somebody's transaction that makes its version the active one is not committed yet."""
    rotating, meddled = await begun(world, source_of, ONE)
    meddled.fails("verify", InvalidInput("never"))
    meddled.fails("revert", InvalidInput("not yet"))  # the same round may come to it
    assert (await rotating.run()).state == "reverting"
    del meddled.before["revert"]
    person = await asyncpg.connect(world.url)
    try:
        await person.execute("BEGIN; UPDATE secret SET active_version = 2 WHERE name = 'db-login'")
        leader = asyncio.create_task(rotating.go_on())
        waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        while not leader.done() and not (await world.sql(waits))[0][0]:  # noqa: ASYNC110  # a state of the database
            await asyncio.sleep(0.01)
        await person.execute("COMMIT")
        assert (await leader).state == "prepared"
    finally:
        await person.close()
    assert "revert" not in meddled.calls
    assert await rotating.works()
    del meddled.before["verify"]
    assert (await rotating.go_on()).state == "succeeded"
    assert (await rotating.works(), (await world.secrets.get(world.owner, rotating.id)).view.active_version) == (True, 2)


@pytest.mark.parametrize("users", [ONE, TWO])
async def test_the_old_one_is_not_ended_where_it_is_in_force_again(
    world: World, source_of: Callable[[str], Source], users: tuple[str, ...]
) -> None:
    rotating, meddled = await begun(world, source_of, users, grace_days=2)
    assert (await rotating.run()).state == "acknowledged"
    await by_hand(rotating, 1)
    run = await rotating.go_on()
    assert (run.state, run.error, meddled.calls[-1]) == ("reverted", BACK_BY_HAND, "revert")
    assert (await rotating.works(), await rotating.works(2)) == (True, False)


async def test_a_third_version_is_not_ended_with_the_old_one(world: World, source_of: Callable[[str], Source]) -> None:
    """Nobody knows which login it is, so neither is touched; the alarm says that the old one is still there."""
    rotating, meddled = await begun(world, source_of, TWO, grace_days=2)
    assert (await rotating.run()).state == "acknowledged"
    await world.secrets.update(world.owner, rotating.id, SecretUpdate(value="of a person"))
    run = await rotating.go_on()
    assert (run.state, run.error) == ("failed", f"{NOT_RETIRED}: {MEANWHILE}")
    assert meddled.calls == ["apply", "verify"]
    assert await alarms(world) == [("alarm:rotation_failed", "not_retired")]


@pytest.mark.parametrize(("failing", "users"), [("apply", TWO), ("verify", ONE)])
async def test_a_right_that_ends_before_anybody_has_the_new_one(
    world: World, source_of: Callable[[str], Source], users: tuple[str, ...], failing: str
) -> None:
    """It is taken back, and goes no further however long it is tried."""
    rotating, meddled = await begun(world, source_of, users)
    person = await person_behind(rotating)
    meddled.fails(failing, NotReady("not now"))
    assert (await rotating.run()).state == {"apply": "prepared", "verify": "applied"}[failing]
    del meddled.before[failing]
    await person.ends("no_binding")
    run = await rotating.go_on()
    assert (run.state, run.error) == ("reverted", f"{STOPPED} (no_binding)")
    assert meddled.calls == {"apply": ["revert"], "verify": ["apply", "revert"]}[failing]
    assert (await rotating.works(1), await rotating.works(), await rotating.works(2)) == (True, True, False)
    assert await alarms(world) == [("alarm:job_stopped", "no_binding"), ("alarm:rotation_failed", "reverted")]
    view = await rotating.service.get_rotation(world.owner, rotating.id)
    assert (view.stopped, view.newest_run and view.newest_run.finished_at is None) == ("no_binding", False)


async def test_a_source_that_knows_nothing_is_not_asked(world: World, source_of: Callable[[str], Source]) -> None:
    """The credential of the administrator is not used once more for somebody who may not use it."""
    rotating, meddled = await begun(world, source_of, ONE)
    person = await person_behind(rotating)
    meddled.fails("apply", NotReady("not now"))
    await rotating.run()
    await world.sql("UPDATE secret_rotation_run SET touched = false, attempts = 0")  # the leader ended before its first call
    await person.ends("principal_disabled")
    used = [row for row in await world.audit() if row["action"] == "secret:use"]
    run = await rotating.go_on()
    assert (run.state, run.error, meddled.calls) == ("reverted", f"{STOPPED} (principal_disabled)", [])
    assert [row for row in await world.audit() if row["action"] == "secret:use"] == used
    assert await rotating.works()


async def test_a_right_that_ends_before_the_new_one_is_given_out(world: World, source_of: Callable[[str], Source]) -> None:
    rotating, meddled = await begun(world, source_of, TWO)
    person = await person_behind(rotating)

    async def ends() -> None:
        await person.ends("no_setter")

    meddled.before["verify"] = ends  # nothing but the publishing is left
    run = await rotating.run()
    assert (run.state, meddled.calls) == ("reverted", ["apply", "verify", "revert"])
    assert (await rotating.works(), (await rotating.login())[0], await rotating.works(2)) == (True, "app_a", False)


@pytest.mark.parametrize("by", ["run", "hand"])
async def test_a_right_that_ends_when_the_new_one_is_in_force(world: World, source_of: Callable[[str], Source], by: str) -> None:
    """It works, and stays; the old one is not ended any more."""
    rotating, meddled = await begun(world, source_of, TWO, grace_days=2)
    person = await person_behind(rotating)
    if by == "hand":
        meddled.fails("apply", NotReady("not now"))
        assert (await rotating.run()).state == "prepared"
        await by_hand(rotating, 2)
        del meddled.before["apply"]
        await person.ends("no_binding")
        assert not await rotating.works()
        assert (await rotating.go_on()).state == "acknowledged"
    else:
        assert (await rotating.run()).state == "acknowledged"
        await person.ends("no_binding")
    run = await rotating.go_on()
    assert (run.state, run.error) == ("failed", f"{NOT_RETIRED}: {STOPPED} (no_binding)")
    assert meddled.calls == ["apply", "verify"]
    assert (await rotating.works(), await rotating.works(1)) == (True, True)
    assert await alarms(world) == [("alarm:job_stopped", "no_binding"), ("alarm:rotation_failed", "not_retired")]


async def test_a_right_that_ends_while_the_value_is_made(world: World, source_of: Callable[[str], Source]) -> None:
    """Between the look at the beginning and the transaction that stores a version; nothing is stored."""
    rotating, meddled = await begun(world, source_of, ONE)
    person = await person_behind(rotating)
    keys = rotating.driver._steps._keys  # the step's own, to come in between
    prepare = keys.prepare_to_encrypt

    async def late() -> None:
        await person.ends("no_binding")
        await prepare()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "prepare_to_encrypt", late)
        run = await rotating.run()
    assert (run.state, run.error, meddled.calls) == ("failed", f"{STOPPED} (no_binding)", [])
    assert [row[0] for row in await world.sql("SELECT version FROM secret_version WHERE secret_id = $1", rotating.id)] == [1]


async def test_a_leader_that_died_in_the_call_is_waited_for(world: World, source_of: Callable[[str], Source]) -> None:
    """Its call may be on its way still: nobody comes in between until the next leader has ended it."""
    rotating, meddled = await begun(world, source_of, ONE)
    await rotating.service.set_rotation(world.owner, rotating.id, RotationSet(paused=True))
    meddled.fails("verify", InvalidInput("never"))
    assert (await rotating.run()).state == "reverting"

    async def dies() -> None:
        raise asyncio.CancelledError

    meddled.before["revert"] = dies
    with pytest.raises(asyncio.CancelledError):
        await rotating.go_on()
    with pytest.raises(CredentialChanging):
        await world.secrets.activate(world.owner, rotating.id, SecretActivate(version=2))
    del meddled.before["revert"]
    assert (await rotating.go_on()).state == "reverted"
    await world.secrets.activate(world.owner, rotating.id, SecretActivate(version=2))
