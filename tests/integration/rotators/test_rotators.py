"""Credentials that are changed at real servers: what works when, by rollouts, by graces, and when it goes wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from uuid import UUID

import pytest

from overseer.core.errors import ApprovalRequired, Conflict, Denied, InvalidInput, Unavailable
from overseer.core.permissions import Permission
from overseer.wire.rotations import RotationSet
from overseer.wire.secrets import SecretActivate, SecretRotate, SecretUpdate
from tests.integration.rotators.rotating import OLD, Rotating
from tests.integration.rotators.sources import Redis, Source
from tests.integration.services.approving import Office
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SourceOf = Callable[[str], Source]
WEB = "services: {web: {image: x, environment: {T: '${SECRET:db-login}'}}}\n"
#: Kind and users: one, or two that take turns.
WAYS = [
    ("postgresql", ("app_a",)),
    ("postgresql", ("app_a", "app_b")),
    ("mysql", ("app_a",)),
    ("mysql", ("app_a", "app_b")),
    ("redis", ("app_a",)),
    ("rabbitmq", ("app_a",)),
    ("rabbitmq", ("app_a", "app_b")),
]
#: Where old and new work at the same time.
DOUBLE = [way for way in WAYS if len(way[1]) == 2 or way[0] == "redis"]


@pytest.mark.parametrize(("kind", "users"), WAYS)
async def test_the_new_credential_works_and_the_old_one_does_not(
    world: World, source_of: SourceOf, kind: str, users: tuple[str, ...]
) -> None:
    rotating = Rotating(world, source_of(kind), users)
    await rotating.begin()
    assert await rotating.works(1)
    for version in (2, 3):  # the second time two users have changed their turn
        run = await rotating.run()
        assert (run.state, run.error, run.candidate_version) == ("succeeded", "", version)
        assert await rotating.works()
        assert await rotating.works(version)
        assert not await rotating.works(version - 1)
    if len(users) == 2:
        assert [(await rotating.login(version))[0] for version in (1, 2, 3)] == ["app_a", "app_b", "app_a"]


@pytest.mark.parametrize(("kind", "users"), DOUBLE)
async def test_both_work_until_every_consumer_has_the_new_one(
    world: World, source_of: SourceOf, kind: str, users: tuple[str, ...]
) -> None:
    delivery = Delivery(world)
    rotating = Rotating(world, source_of(kind), users)
    await rotating.begin()
    agent = await delivery.enrolled("n1")
    await delivery.deploy(WEB)
    await agent.carry_out()
    run = await rotating.run()
    assert (run.state, run.candidate_version) == ("published", 2)
    assert await rotating.works(1)
    assert await rotating.works(2)
    run = await rotating.go_on()
    assert (run.state, await rotating.works(1)) == ("published", True)  # nobody acknowledged yet
    [values] = (await agent.carry_out()).values()
    assert values["db-login"].find((await rotating.login(2))[1]) >= 0
    run = await rotating.go_on()
    assert (run.state, run.error) == ("succeeded", "")
    assert (await rotating.works(1), await rotating.works(2)) == (False, True)


@pytest.mark.parametrize(("kind", "users"), WAYS)
async def test_a_withdrawn_rollout_brings_the_old_credential_back(
    world: World, source_of: SourceOf, kind: str, users: tuple[str, ...]
) -> None:
    delivery = Delivery(world)
    rotating = Rotating(world, source_of(kind), users)
    await rotating.begin()
    agent = await delivery.enrolled("n1")
    await delivery.deploy(WEB)
    await agent.carry_out()
    run = await rotating.run()
    assert await rotating.works(2)
    await agent.carry_out("failed")  # unhealthy with the new one: the rollout is withdrawn
    run = await rotating.go_on()
    if (kind, users) in DOUBLE:
        # The consumer is on its way back: until it is there, what it holds still works.
        assert (run.state, await rotating.works(1), await rotating.works(2)) == ("reverting", True, True)
        await agent.carry_out()
        run = await rotating.go_on()
    assert run.state == "reverted"
    assert "withdrawn" in run.error
    assert (await rotating.works(1), await rotating.works(2)) == (True, False)
    assert await rotating.works()  # the active version is the one that works
    alarms = [row for row in await world.audit() if row["action"] == "alarm:rotation_failed"]
    assert [(row["code"], row["outcome"]) for row in alarms] == [("reverted", "failed")]


async def test_the_old_one_is_kept_for_its_grace(world: World, source_of: SourceOf) -> None:
    rotating = Rotating(world, source_of("redis"), ("app_a",))
    await rotating.begin(grace_days=2)
    run = await rotating.run()
    assert run.state == "acknowledged"
    [row] = await world.sql("SELECT next_at - now() > interval '47 hours' AS later FROM secret_rotation_run")
    assert row["later"]
    await rotating.driver.run()
    assert (await rotating.newest()).state == "acknowledged"
    assert (await rotating.works(1), await rotating.works(2)) == (True, True)
    assert (await rotating.go_on()).state == "succeeded"  # the time is over
    assert not await rotating.works(1)


async def test_redis_would_know_after_a_restart(world: World, source_of: SourceOf) -> None:
    source = source_of("redis")
    assert isinstance(source, Redis)
    rotating = Rotating(world, source, ("app_a",))
    await rotating.begin()
    await rotating.run()
    import hashlib

    saved = next(line for line in source.saved().splitlines() if line.startswith("user app_a "))
    assert hashlib.sha256((await rotating.login(2))[1].encode()).hexdigest() in saved
    assert hashlib.sha256(OLD.encode()).hexdigest() not in saved


async def test_what_fails_for_good_goes_back_and_alarms(world: World, source_of: SourceOf) -> None:
    rotating = Rotating(world, source_of("postgresql"), ("app_a", "app_b"))
    await rotating.begin()
    await world.sql("UPDATE secret_rotation SET rotator = jsonb_set(rotator, '{users}', '[\"app_a\", \"no_such_role\"]')")
    run = await rotating.run()
    assert (run.state, run.attempts) == ("prepared", 1)
    assert run.error == "PostgreSQL, apply: it does not answer as it should"
    for _ in range(4):
        run = await rotating.go_on()
    assert (run.state, run.attempts) == ("prepared", 5)
    run = await rotating.go_on()
    assert run.state == "reverting"  # and nothing to take back is no error for a role that is there
    assert (await rotating.works(1), (await rotating.login())[0]) == (True, "app_a")


async def test_every_use_of_the_administrator_is_in_the_log(world: World, source_of: SourceOf) -> None:
    rotating = Rotating(world, source_of("redis"), ("app_a",))
    await rotating.begin()
    await rotating.run()
    rows = [row for row in await world.audit() if row["resource_name"] == "source-admin" and row["action"] == "secret:use"]
    assert [row["code"] for row in rows] == ["rotator", "rotation:apply", "rotation:verify", "rotation:retire"]
    [owner] = await world.sql("SELECT id FROM principal WHERE name = 'owner'")
    assert {row["on_behalf_of"] for row in rows[1:]} == {owner["id"]}
    steps = [row["code"] for row in await world.audit() if row["action"] == "rotation:step"]
    assert steps == ["apply", "verify", "retire"]


async def test_who_sets_a_rotator_up_needs_the_right_and_the_credential(world: World) -> None:
    admin = await world.secret("source-admin", "x")
    secret = await world.secret("db-login", OLD)
    service = Rotating(world, None, ()).service
    fields = {"kind": "redis", "url": "redis://127.0.0.1", "users": ["app"], "admin": admin.id}
    writer = await world.service_account(frozenset({Permission.SECRET_LIST, Permission.SECRET_WRITE}))

    async def attempt() -> None:
        await service.set_rotation(world.caller(writer.token_hash), UUID(secret.id), RotationSet(rotator=fields))

    with pytest.raises(Denied, match="rotator:write"):
        await attempt()
    await world.bind(writer, frozenset({Permission.ROTATOR_WRITE}))
    with pytest.raises(Denied, match=r"db-login .* secret:reveal"):  # it would be shown to a source of the writer's own
        await attempt()
    await world.bind(writer, frozenset({Permission.SECRET_REVEAL}), name="db-login")
    with pytest.raises(Denied, match="secret:use"):
        await attempt()
    await world.bind(writer, frozenset({Permission.SECRET_USE}), name="source-admin")
    with pytest.raises(Denied, match=r"source-admin .* secret:reveal"):
        await attempt()
    await world.bind(writer, frozenset({Permission.SECRET_REVEAL}), name="source-admin")
    await attempt()
    view = await service.get_rotation(world.owner, UUID(secret.id))
    assert view.rotator == fields
    with pytest.raises(Unavailable):
        await service.get_rotation(await world.service_account(), UUID(secret.id))


async def test_a_guarded_credential_is_lent_to_a_rotator_by_two_people(world: World) -> None:
    admin = await world.secret("source-admin", "x")
    secret = await world.secret("db-login", OLD)
    service = Rotating(world, None, ()).service
    body = RotationSet(rotator={"kind": "webhook", "url": "https://source.example/", "admin": admin.id})
    office = await Office.open(world)
    await office.policy("reveal", name="source-admin")
    with pytest.raises(ApprovalRequired):
        await service.set_rotation(world.owner, UUID(secret.id), body)
    assert (await service.get_rotation(world.owner, UUID(secret.id))).rotator is None
    approved = await office.approved(world.owner, "reveal", secret_id=UUID(admin.id))
    await service.set_rotation(world.owner, UUID(secret.id), body)
    assert await office.state(approved) == "used"
    with pytest.raises(ApprovalRequired):  # another address is another time
        await service.set_rotation(world.owner, UUID(secret.id), body)


async def test_no_version_comes_without_the_rotator(world: World) -> None:
    admin = await world.secret("source-admin", "x")
    secret = await world.secret("db-login", OLD)
    await world.secrets.update(world.owner, UUID(secret.id), SecretUpdate(value="v2"))
    service = Rotating(world, None, ()).service
    fields = {"kind": "redis", "url": "redis://127.0.0.1", "users": ["app"], "admin": admin.id}
    await service.set_rotation(world.owner, UUID(secret.id), RotationSet(rotator=fields))
    with pytest.raises(Conflict, match="rotation run"):
        await world.secrets.rotate(world.owner, UUID(secret.id), SecretRotate())
    with pytest.raises(Conflict, match="pause"):
        await world.secrets.activate(world.owner, UUID(secret.id), SecretActivate(version=1))
    await service.set_rotation(world.owner, UUID(secret.id), RotationSet(paused=True))
    await world.secrets.activate(world.owner, UUID(secret.id), SecretActivate(version=1))
    await service.run_rotation(world.owner, UUID(secret.id))
    with pytest.raises(Conflict, match="on its way"):
        await service.set_rotation(world.owner, UUID(secret.id), RotationSet(rotator=None))
    with pytest.raises(Conflict):
        await service.run_rotation(world.owner, UUID(secret.id))


GOOD = {"kind": "postgresql", "url": "postgresql://db.internal/app", "users": ["a", "b"], "admin": str(UUID(int=9))}


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "oracle"},
        {"kind": 5},
        {"url": "http://db.internal"},
        {"url": "postgresql://user:word@db.internal"},
        {"url": "postgresql://:5432"},
        {"url": "postgresql://db.internal:99999"},
        {"url": None},
        {"users": []},
        {"users": ["a", "a"]},
        {"users": ["a", "b", "c"]},
        {"users": "a"},
        {"users": ["a\n"]},
        {"ca": "no certificate"},
        {"colour": "red"},
        {"persist": "yes"},
        {"admin": "me"},
        {"admin": None},
        {"admin_user": 5},
        {"kind": "redis", "url": "redis://h"},
        {"kind": "webhook", "url": "https://h"},
    ],
)
async def test_a_rotator_that_cannot_be_is_refused(world: World, change: dict[str, object]) -> None:
    secret = await world.secret("db-login", OLD)
    service = Rotating(world, None, ()).service
    with pytest.raises(InvalidInput) as refused:
        await service.set_rotation(world.owner, UUID(secret.id), RotationSet(rotator=GOOD | change))
    assert refused.value.problems[0].code == "bad_rotator"
    assert "word" not in json.dumps([str(one) for one in refused.value.problems]).replace("password", "")
