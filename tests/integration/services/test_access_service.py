"""Why one may or may not, and who may what: the same as the gate decides, and nothing that the caller may not see."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from overseer.core.access import Allowed, Binding, Resource, decide
from overseer.core.errors import Denied, InvalidInput, OverseerError, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import token_hash
from overseer.server.services.access_service import AccessService
from overseer.server.storage import principal_rows
from overseer.server.storage.secret_rows import secret_by_id
from overseer.wire.access import BindingActivate, BindingCreate, GroupCreate, ServiceAccountCreate, TokenCreate
from overseer.wire.reviews import AccessEntry, AccessExplainRequest, AccessExplanation
from tests.integration.services.delivery import Delivery
from tests.integration.services.test_reveal_batches import random_callers, random_secrets
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def access(world: World) -> AccessService:
    return AccessService(world.gate)


@pytest.fixture
async def delivery(world: World) -> Delivery:
    """An account ``ci`` with a token."""
    made = Delivery(world)
    await made.identity.create_service_account(world.owner, ServiceAccountCreate(name="ci"))
    await made.identity.create_token(world.owner, TokenCreate(principal="ci"))
    return made


async def give(delivery: Delivery, **fields: Any) -> str:
    body = {"principal": "ci", "role": "developer", "app": "*", "environment": "*", "node": "*", "name": "*"} | fields
    if body.get("group"):
        del body["principal"]
    return (await delivery.identity.create_binding(delivery.world.owner, BindingCreate(**body))).id


async def ask(access: AccessService, caller: Caller, **fields: Any) -> AccessExplanation:
    body = {"principal": "ci", "permission": "secret:reveal", "name": "db-main", "app": "shop"} | fields
    return await access.explain(caller, AccessExplainRequest(**body))


async def test_yes_names_the_binding_and_the_group(world: World, access: AccessService, delivery: Delivery) -> None:
    group = await delivery.identity.create_group(world.owner, GroupCreate(name="ops"))
    await delivery.identity.add_member(world.owner, UUID(group.id), "ci")
    binding = await give(delivery, group="ops", app="shop")
    secret = await world.secret("db-main", app="shop")
    found = await ask(access, world.owner)
    assert (found.allowed, found.reasons, found.secret_id) == (True, [], secret.id)
    assert [(one.binding.id, one.group, one.binding.role, one.lacks) for one in found.bindings] == [
        (binding, "ops", "developer", [])
    ]
    by_id = await ask(access, world.owner, secret_id=UUID(secret.id), name=None, app=None)
    assert by_id == found


@pytest.mark.parametrize(
    ("binding", "reason", "lacks"),
    [
        ({"role": "viewer"}, "no_binding", ["permission"]),
        ({"app": "blog"}, "no_binding", ["app"]),
        ({"app": "-"}, "no_binding", ["app"]),
        ({"environment": "prod"}, "no_binding", ["environment"]),
        ({"node": "n1"}, "no_binding", ["node"]),
        ({"name": "api-*"}, "no_binding", ["name"]),
        ({"name": "api-*", "app": "blog", "role": "viewer"}, "no_binding", ["permission", "app", "name"]),
        ({"active_seconds": 600}, "dormant_binding", ["dormant"]),
    ],
)
async def test_no_says_what_is_lacking(
    world: World, access: AccessService, delivery: Delivery, binding: dict[str, Any], reason: str, lacks: list[str]
) -> None:
    await give(delivery, **binding)
    found = await ask(access, world.owner)
    assert not found.allowed
    assert reason in found.reasons
    assert [one.lacks for one in found.bindings] == [lacks]


async def test_expired_disabled_and_without_a_credential(world: World, access: AccessService, delivery: Delivery) -> None:
    assert (await ask(access, world.owner)).reasons == ["no_binding"]
    await give(delivery, expires_at=datetime.now(UTC) + timedelta(hours=1))
    assert (await ask(access, world.owner)).allowed
    await world.sql("UPDATE binding SET expires_at = now() WHERE expires_at IS NOT NULL")
    assert (await ask(access, world.owner)).reasons == ["expired_binding"]
    await give(delivery)
    await world.sql("UPDATE token SET networks = '{10.0.0.0/8}' FROM principal p WHERE p.id = principal_id AND p.name = 'ci'")
    assert (await ask(access, world.owner, peer="10.1.2.3")).allowed
    assert (await ask(access, world.owner, peer="192.0.2.1")).reasons == ["foreign_network"]
    with pytest.raises(InvalidInput, match="address"):
        await ask(access, world.owner, peer="somewhere")
    await world.sql("UPDATE token SET revoked_at = now() FROM principal p WHERE p.id = principal_id AND p.name = 'ci'")
    assert (await ask(access, world.owner)).reasons == ["no_live_token"]
    await world.sql("UPDATE principal SET disabled_at = now() WHERE name = 'ci'")
    assert (await ask(access, world.owner)).reasons == ["principal_disabled", "no_live_token"]


async def test_about_oneself_without_a_right_and_about_others_with_one(
    world: World, access: AccessService, delivery: Delivery
) -> None:
    nobody = await world.service_account()
    await world.secret("db-main", app="shop")
    own = await ask(access, nobody, principal="me")
    assert (own.allowed, own.bindings, own.secret_id) == (False, [], None)
    with pytest.raises(Unavailable):
        await ask(access, nobody)
    lister = await world.service_account(frozenset({Permission.SECRET_LIST}))
    with pytest.raises(Denied):
        await ask(access, lister)
    reviewer = await world.service_account(frozenset({Permission.ACCESS_REVIEW}), app="shop")
    assert not (await ask(access, reviewer)).allowed
    with pytest.raises(Unavailable):
        await ask(access, reviewer, app="blog")


async def test_what_does_not_exist_and_what_is_hidden_answer_alike(
    world: World, access: AccessService, delivery: Delivery
) -> None:
    secret = await world.secret("db-main", app="blog")
    reviewer = await world.service_account(frozenset({Permission.ACCESS_REVIEW, Permission.SECRET_LIST}), app="shop")
    answers = []
    for fields in (
        {"secret_id": UUID(secret.id), "name": None, "app": None},
        {"secret_id": uuid4(), "name": None, "app": None},
        {"app": "blog"},
        {"app": "no-such-app"},
    ):
        with pytest.raises(Unavailable) as caught:
            await ask(access, reviewer, **fields)
        answers.append(str(caught.value))
    assert len(set(answers)) == 1
    mine = await ask(access, world.caller(reviewer.token_hash), principal="me", app="blog")
    assert mine.reasons == (await ask(access, world.caller(reviewer.token_hash), principal="me", app="no-such-app")).reasons


async def test_bindings_elsewhere_are_for_those_who_may_list_bindings(
    world: World, access: AccessService, delivery: Delivery
) -> None:
    await give(delivery, app="blog")
    await give(delivery, role="viewer")
    reviewer = await world.service_account(frozenset({Permission.ACCESS_REVIEW}), app="shop")
    assert [one.lacks for one in (await ask(access, reviewer)).bindings] == [["permission"]]
    assert [one.lacks for one in (await ask(access, world.owner)).bindings] == [["app"], ["permission"]]


async def reviewed(access: AccessService, caller: Caller, world: World, **fields: Any) -> list[AccessEntry]:
    """Every entry, over all pages."""
    found: list[AccessEntry] = []
    cursor = None
    while True:
        page = await access.review(world.caller(caller.token_hash), cursor=cursor, **fields)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found


@pytest.mark.parametrize("seed", range(3))
async def test_a_review_says_of_every_pair_what_the_gate_decides(world: World, access: AccessService, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311  # a repeatable sample
    await random_callers(world, dice)
    await world.bind(await world.service_account("viewer"), "developer", app="shop", emergency="dormant")
    secrets = await random_secrets(world)
    limit = dice.choice([3, 7, 1000])
    listed = {
        (UUID(entry.principal_id), UUID(entry.secret_id)): (set(entry.permissions), set(entry.dormant))
        for entry in await reviewed(access, world.owner, world, limit=limit)
    }
    expected = await decided(world, secrets)
    assert listed == expected
    assert len({frozenset(held) for held, _ in expected.values()}) > 1
    assert any(dormant for _, dormant in expected.values())


async def decided(world: World, secrets: list[UUID]) -> dict[tuple[UUID, UUID], tuple[set[str], set[str]]]:
    """By the decision itself, one pair after the other: what is held, and what activating an emergency would add."""
    found = {}

    def held_by(bindings: list[Binding], resource: Resource, now: datetime) -> set[str]:
        asked = [permission for permission in Permission if permission.startswith("secret:")]
        return {one.value for one in asked if isinstance(decide(bindings, one, resource, now), Allowed)}

    async with world.database.work() as session:
        now = await session.fetchval("database_clock")
        rows = [row for row in [await secret_by_id(session, one) for one in secrets] if row is not None]
        for principal in await principal_rows.all_principals(session, None):
            if principal.disabled_at is not None:
                continue
            subjects = await principal_rows.subjects_of(session, principal.id)
            bindings = await principal_rows.all_bindings(session, subjects)
            for row in rows:
                held = held_by([one.binding for one in bindings], row.resource(), now)
                could = held_by([one.at_most for one in bindings if one.active_seconds], row.resource(), now)
                if held or could:
                    found[principal.id, row.id] = held, could - held
    return found


async def test_a_review_shows_only_what_the_caller_may_review(world: World, access: AccessService, delivery: Delivery) -> None:
    await give(delivery)
    for app in ("shop", "blog"):
        await world.secret("db-main", app=app)
    reviewer = await world.service_account(frozenset({Permission.ACCESS_REVIEW}), app="shop")
    assert {entry.app for entry in await reviewed(access, reviewer, world)} == {"shop"}
    assert {entry.principal for entry in await reviewed(access, reviewer, world, principal="ci")} == {"ci"}
    only = await reviewed(access, world.owner, world, permission="secret:use", app="blog")
    assert {(entry.principal, *entry.permissions) for entry in only} == {("owner", "secret:use")}
    nobody = await world.service_account()
    with pytest.raises(Denied):
        await access.review(nobody)


async def test_an_emergency_is_told_apart(world: World, access: AccessService, delivery: Delivery) -> None:
    secret = await world.secret("db-main", app="shop")
    await give(delivery, role="viewer")
    token = await delivery.identity.create_token(world.owner, TokenCreate(principal="ci"))
    binding = await give(delivery, active_seconds=600)
    [before] = await reviewed(access, world.owner, world, secret=UUID(secret.id), principal="ci")
    assert before.permissions == ["secret:list"]
    assert "secret:reveal" in before.dormant
    assert "secret:list" not in before.dormant
    holder = world.caller(token_hash(SecretValue(token.token)))
    await delivery.identity.activate_binding(holder, UUID(binding), BindingActivate(reason="the shop is down"))
    [after] = await reviewed(access, world.owner, world, secret=UUID(secret.id), principal="ci")
    assert "secret:reveal" in after.permissions
    assert after.dormant == []
    assert {via.role for via in after.via} == {"viewer", "developer"}


@pytest.mark.parametrize("cursor", ["x", "W10=", "WyJhIiwgImIiLCAiYyIsICJkIl0="])
async def test_a_cursor_that_was_not_written_here_is_refused(world: World, access: AccessService, cursor: str) -> None:
    with pytest.raises(OverseerError, match="cursor"):
        await access.review(world.owner, cursor=cursor)
