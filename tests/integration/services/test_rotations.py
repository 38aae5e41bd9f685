"""Rotations without a rotator: when they come, that missed ones are one, holding, telling, failing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import Conflict, Denied, InvalidInput
from overseer.core.permissions import Permission
from overseer.server.address_rules import AddressRule
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.rotation_credentials import RotationCredentials
from overseer.server.services.rotation_driver import RotationDriver
from overseer.server.services.rotation_service import RotationService
from overseer.server.services.rotation_steps import RotationSteps
from overseer.server.services.value_making import ValueMaking
from overseer.wire.rotations import RotationRunView, RotationSet, RotationView
from overseer.wire.secrets import SecretPatch, SecretView, ValueRequest
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World, text, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WEB = "services: {web: {image: x, environment: {T: '${SECRET:token}'}}}\n"


@dataclass
class Schedules:
    """The service, and drivers as several replicas would have them."""

    world: World
    service: RotationService = field(init=False)

    def __post_init__(self) -> None:
        self.service = RotationService(self.world.gate, AddressRule())

    def driver(self) -> RotationDriver:
        world = self.world
        values, rollouts = ValueMaking(world.gate, world.opener), RolloutDriver(world.gate, world.signal)
        credentials = RotationCredentials(world.gate, world.keys, world.sources)
        return RotationDriver(world.gate, RotationSteps(world.gate, world.keys, values, rollouts, credentials, AddressRule()))

    async def secret(self, name: str = "token", **policy: Any) -> SecretView:
        made = await self.world.secret(name, "v1", rotation=policy or None)
        await self.driver().run()
        return made

    async def view(self, secret: SecretView) -> RotationView:
        return await self.service.get_rotation(self.world.owner, UUID(secret.id))

    async def runs(self, secret: SecretView) -> list[RotationRunView]:
        return (await self.service.list_runs(self.world.owner, UUID(secret.id))).items

    async def past(self, days: int) -> None:
        """So many days go by."""
        await self.world.sql("UPDATE secret_rotation SET due_at = due_at - $1 * interval '1 day'", days)

    async def versions(self, secret: SecretView) -> tuple[int, int]:
        view = (await self.world.secrets.get(self.world.owner, UUID(secret.id))).view
        return view.version, view.active_version


@pytest.fixture
def schedules(world: World) -> Schedules:
    return Schedules(world)


async def test_due_once_and_again_and_missed_ones_are_one(schedules: Schedules) -> None:
    secret = await schedules.secret(interval_days=10, generate="hex:16")
    assert await schedules.versions(secret) == (1, 1)
    await schedules.past(45)
    await schedules.driver().run()
    await schedules.driver().run()
    assert await schedules.versions(secret) == (2, 2)
    [run] = await schedules.runs(secret)
    assert (run.state, run.cause, run.previous_version, run.candidate_version) == ("succeeded", "schedule", 1, 2)
    value = await schedules.world.secrets.reveal(schedules.world.owner, UUID(secret.id), ValueRequest())
    assert len(text(value.value)) == 32
    [row] = await schedules.world.sql("SELECT due_at - now() AS left FROM secret_rotation")
    assert row["left"].days in (9, 10)
    [told] = [row for row in await schedules.world.audit() if row["action"] == "secret:rotate"]
    assert (told["version"], told["code"], told["outcome"], told["actor_id"]) == (2, "schedule", "allowed", None)


async def test_several_leaders_at_once_make_one_version(schedules: Schedules) -> None:
    secrets = [await schedules.secret(f"s{number}", interval_days=1) for number in range(6)]
    await schedules.past(3)
    assert await together(*(schedules.driver().run() for _ in range(4))) == [None] * 4
    await schedules.driver().run()
    assert [await schedules.versions(one) for one in secrets] == [(2, 2)] * 6


async def test_a_changed_policy_counts_anew_however_it_was_changed(schedules: Schedules) -> None:
    world = schedules.world
    secret = await schedules.secret(interval_days=10)
    await world.secrets.patch(world.owner, UUID(secret.id), SecretPatch(rotation={"interval_days": 20}))
    await schedules.driver().run()
    [row] = await world.sql("SELECT due_at - now() AS left FROM secret_rotation")
    assert row["left"].days in (19, 20)
    await world.secrets.patch(world.owner, UUID(secret.id), SecretPatch(rotation=None))
    await schedules.driver().run()
    assert (await schedules.view(secret)).due_at is None


@pytest.mark.parametrize("spoil", ["created_at = '9999-12-31'", "cron"])
async def test_a_schedule_that_cannot_be_counted_stops_no_other(schedules: Schedules, spoil: str) -> None:
    world = schedules.world
    spoilt, sound = [await world.secret(name, "v1") for name in ("spoilt", "sound")]
    if spoil == "cron":  # as no service would have stored it
        await world.sql("UPDATE secret SET rotation = '{\"cron\": \"61 * * * *\"}' WHERE id = $1", UUID(spoilt.id))
    else:
        await world.sql(f"UPDATE secret_version SET {spoil} WHERE secret_id = $1", UUID(spoilt.id))
        await world.sql("UPDATE secret SET rotation = '{\"interval_days\": 10}' WHERE id = $1", UUID(spoilt.id))
    await world.sql("UPDATE secret SET rotation = '{\"interval_days\": 10}' WHERE id = $1", UUID(sound.id))
    for _ in range(2):
        await schedules.driver().run()
    assert (await schedules.view(sound)).due_at is not None
    assert (await schedules.view(spoilt)).due_at is None
    [told] = [row for row in await world.audit() if row["action"] == "alarm:rotation_failed"]
    assert (told["resource_id"], told["code"], told["outcome"]) == (UUID(spoilt.id), "schedule", "failed")


async def test_a_schedule_that_was_set_is_listed_with_its_next_time_at_once(schedules: Schedules) -> None:
    secret = await schedules.world.secret("token", "v1")
    view = await schedules.service.set_rotation(schedules.world.owner, UUID(secret.id), RotationSet(policy={"interval_days": 10}))
    [listed] = (await schedules.service.list_rotations(schedules.world.owner)).items
    assert listed.due_at is not None
    assert listed.due_at == view.due_at == (await schedules.view(secret)).due_at
    await schedules.service.set_rotation(schedules.world.owner, UUID(secret.id), RotationSet(policy=None))
    assert (await schedules.view(secret)).due_at is None


async def test_cron_and_jitter(schedules: Schedules) -> None:
    secret = await schedules.secret(cron="30 3 * * *", jitter_minutes=20)
    due = (await schedules.view(secret)).due_at
    assert due is not None
    minutes = due.hour * 60 + due.minute + due.second / 60
    assert 210 <= minutes <= 230.1


@pytest.mark.parametrize("cron", ["* * * * *", "0 0 30 2 *", "61 * * * *", "0 0 * *", "@daily", "0,2 3 * * *"])
async def test_times_that_never_come_or_too_often_are_refused(schedules: Schedules, cron: str) -> None:
    secret = await schedules.secret()
    with pytest.raises(InvalidInput):
        await schedules.service.set_rotation(schedules.world.owner, UUID(secret.id), RotationSet(policy={"cron": cron}))


async def test_what_is_held_waits_and_a_request_goes_through(schedules: Schedules) -> None:
    owner, secret = schedules.world.owner, await schedules.secret(interval_days=1)
    await schedules.service.set_rotation(owner, UUID(secret.id), RotationSet(paused=True))
    await schedules.past(3)
    await schedules.driver().run()
    assert await schedules.versions(secret) == (1, 1)
    run = await schedules.service.run_rotation(owner, UUID(secret.id))
    assert (run.state, run.cause, run.created_by) == ("waiting", "request", "owner")
    with pytest.raises(Conflict):
        await schedules.service.run_rotation(owner, UUID(secret.id))
    await schedules.driver().run()
    assert await schedules.versions(secret) == (2, 2)
    view = await schedules.service.set_rotation(owner, UUID(secret.id), RotationSet(paused=False))
    assert not view.paused
    await schedules.driver().run()
    assert await schedules.versions(secret) == (3, 3)


async def test_it_is_told_once_that_a_rotation_is_near(schedules: Schedules) -> None:
    secret = await schedules.secret(interval_days=30, notify_days=7)
    await schedules.past(20)
    await schedules.driver().run()
    told = [row for row in await schedules.world.audit() if row["action"] == "rotation:due"]
    assert told == []
    await schedules.past(5)
    await schedules.driver().run()
    await schedules.driver().run()
    told = [row for row in await schedules.world.audit() if row["action"] == "rotation:due"]
    assert [str(row["resource_id"]) for row in told] == [secret.id]


async def test_containers_get_it_by_a_rollout_and_a_withdrawn_one_alarms(schedules: Schedules) -> None:
    delivery = Delivery(schedules.world)
    secret = await schedules.secret(interval_days=1)
    agent = await delivery.enrolled("n1")
    await delivery.deploy(WEB)
    await agent.carry_out()
    await schedules.past(2)
    await schedules.driver().run()
    assert await schedules.versions(secret) == (2, 1)
    assert (await schedules.runs(secret))[0].state == "published"
    await agent.carry_out()
    await schedules.world.sql("UPDATE secret_rotation_run SET next_at = now()")
    await schedules.driver().run()
    assert (await schedules.runs(secret))[0].state == "succeeded"
    assert await schedules.versions(secret) == (2, 2)
    await schedules.past(2)
    await schedules.driver().run()
    await agent.carry_out("failed")
    await schedules.world.sql("UPDATE secret_rotation_run SET next_at = now()")
    await schedules.driver().run()
    assert (await schedules.runs(secret))[0].state == "reverted"
    assert await schedules.versions(secret) == (3, 2)
    assert [row["code"] for row in await schedules.world.audit() if row["action"] == "alarm:rotation_failed"] == ["withdrawn"]


async def test_the_grace_of_the_former_version_is_the_policys(schedules: Schedules) -> None:
    secret = await schedules.secret(interval_days=1, grace_days=3)
    await schedules.past(2)
    await schedules.driver().run()
    [row] = await schedules.world.sql("SELECT readable_until - now() AS left FROM secret_version WHERE version = 1")
    assert row["left"].days in (2, 3)
    assert await schedules.versions(secret) == (2, 2)


async def test_a_run_that_cannot_be_fails_and_alarms(schedules: Schedules) -> None:
    """Made with a CA: nobody is there to decide about it when the schedule comes."""
    world = schedules.world
    secret = await schedules.secret()
    await world.sql("UPDATE secret SET generator = $1", f"x509,cn=a,ca={secret.id}")
    await schedules.service.run_rotation(world.owner, UUID(secret.id))
    await schedules.driver().run()
    [run] = await schedules.runs(secret)
    assert run.state == "failed"
    assert "CA" in run.error
    assert [row["code"] for row in await world.audit() if row["action"] == "alarm:rotation_failed"] == ["waiting"]
    for policy in ({"interval_days": 1, "generate": f"x509,cn=a,ca={secret.id}"}, {"interval_days": 1}):
        with pytest.raises(InvalidInput, match="schedule does not sign"):
            await schedules.service.set_rotation(world.owner, UUID(secret.id), RotationSet(policy=policy))
        with pytest.raises(InvalidInput, match="schedule does not sign"):
            await world.secrets.patch(world.owner, UUID(secret.id), SecretPatch(rotation=policy))
    instead = {"interval_days": 1, "generate": "x509,cn=a"}
    await schedules.service.set_rotation(world.owner, UUID(secret.id), RotationSet(policy=instead))


async def test_a_list_shows_what_one_may_list(schedules: Schedules) -> None:
    world = schedules.world
    seen = await schedules.secret("seen", interval_days=1)
    await schedules.secret("hidden", interval_days=1)
    await schedules.secret("plain")
    reader = await world.service_account(frozenset({Permission.SECRET_LIST}), name="seen")
    assert [one.secret_id for one in (await schedules.service.list_rotations(reader)).items] == [seen.id]
    names = [one.name for one in (await schedules.service.list_rotations(world.owner, limit=1)).items]
    page = await schedules.service.list_rotations(world.owner, limit=1)
    assert page.next_cursor is not None
    rest = await schedules.service.list_rotations(world.owner, cursor=page.next_cursor)
    assert {*names, *(one.name for one in rest.items)} == {"seen", "hidden"}
    with pytest.raises(Denied):
        await schedules.service.run_rotation(world.caller(reader.token_hash), UUID(seen.id))


async def test_rsa_keys_come_by_schedule_too(schedules: Schedules) -> None:
    secret = await schedules.secret(interval_days=1, generate="rsa:2048")
    await schedules.past(2)
    await schedules.driver().run()
    value = await schedules.world.secrets.reveal(schedules.world.owner, UUID(secret.id), ValueRequest())
    assert "BEGIN PRIVATE KEY" in text(value.value)
