"""What could have been seen, by whom, and in which order to rotate it."""

from __future__ import annotations

from uuid import UUID

import pytest

from overseer.core.errors import Denied, InvalidInput, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.wire.secrets import ResolveRequest, SecretRotate, SecretUpdate, ValueRequest
from overseer.wire.usage import CompromisedRequest, CompromisedSecret
from tests.integration.services.delivery import Delivery
from tests.integration.services.test_usage import SHOP, stocked
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def plan(delivery: Delivery, caller: Caller | None = None, **fields: object) -> list[CompromisedSecret]:
    return (await delivery.compromise.plan(caller or delivery.world.owner, CompromisedRequest(**fields))).secrets


async def name_of(delivery: Delivery, caller: Caller) -> str:
    [row] = await delivery.world.sql(
        "SELECT p.name FROM principal p JOIN token t ON t.principal_id = p.id WHERE t.hash = $1", caller.token_hash
    )
    return str(row["name"])


def reasons(found: list[CompromisedSecret]) -> dict[str, list[tuple[str, int | None]]]:
    return {one.name: [(reason.kind, reason.version) for reason in one.reasons] for one in found}


async def test_a_node_could_see_what_was_ever_released_to_it(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    agents = {node: await delivery.enrolled(node) for node in ("n1", "n2")}
    await delivery.deploy(SHOP)
    assert await plan(delivery, node="n1") == []
    await agents["n1"].carry_out()
    await delivery.deploy("services: {web: {image: x, environment: {T: '${SECRET:token}'}}}\n", node="n2")
    await agents["n2"].carry_out()
    await delivery.deploy("services: {web: {image: x}}\n")
    await agents["n1"].carry_out()
    found = await plan(delivery, node="n1")
    assert reasons(found) == {"token": [("released", 1)], "key": [("released", 1)]}
    assert [(one.order, one.name, one.elsewhere, one.needed) for one in found] == [(1, "token", 1, True), (2, "key", 0, True)]
    assert [reason.detail for reason in found[0].reasons] == ["shop"]
    assert [consumer.node for consumer in found[0].consumers] == ["n2"]
    assert found[0].last_seen_at is not None
    await delivery.world.secrets.update(delivery.world.owner, ids["token"], SecretUpdate(value="v2", immediate=True))
    found = await plan(delivery, node="n1")
    assert [(one.order, one.name, one.needed) for one in found] == [(1, "key", True), (2, "token", False)]


async def test_a_version_on_its_way_counts_as_in_use(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    agents = {node: await delivery.enrolled(node) for node in ("n1", "n2")}
    for node, agent in agents.items():
        await delivery.deploy(SHOP, node=node)
        await agent.carry_out()
    owner, secrets = delivery.world.owner, delivery.world.secrets
    await secrets.update(owner, ids["token"], SecretUpdate(value="v2", immediate=True))
    await secrets.update(owner, ids["token"], SecretUpdate(value="v3"))
    await agents["n1"].carry_out()
    [token] = [one for one in await plan(delivery, node="n1") if one.name == "token"]
    assert ([reason.version for reason in token.reasons], token.active_version, token.needed) == ([1, 3], 2, True)
    assert token.rollout is not None


async def test_a_principal_could_see_what_it_was_shown_wrote_or_may_see(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    secrets = delivery.world.secrets
    account = await delivery.world.service_account(frozenset({Permission.SECRET_REVEAL, Permission.SECRET_LIST}), name="t*")
    name = await name_of(delivery, account)
    bound = await delivery.world.bind(account, "owner", name="key")
    await secrets.reveal(delivery.world.caller(account.token_hash), ids["key"], ValueRequest())
    await delivery.world.resolver.resolve(delivery.world.caller(account.token_hash), ResolveRequest(names=["token"]))
    await secrets.update(delivery.world.caller(account.token_hash), ids["key"], SecretUpdate(value="v2"))
    await delivery.identity.delete_binding(delivery.world.owner, bound)
    found = await plan(delivery, user=name)
    assert reasons(found) == {
        "key": [("revealed", 1), ("wrote", 2)],
        "token": [("resolved", 1), ("may_reveal", None)],
    }
    await secrets.update(delivery.world.owner, ids["key"], SecretUpdate(value="v3"))
    found = await plan(delivery, user=name)
    assert [(one.name, one.needed) for one in found] == [("token", True), ("key", False)]


async def test_a_refused_reveal_showed_nothing(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    account = await delivery.world.service_account(frozenset({Permission.SECRET_LIST}))
    with pytest.raises(Denied):
        await delivery.world.secrets.reveal(delivery.world.caller(account.token_hash), ids["key"], ValueRequest())
    assert await plan(delivery, user=await name_of(delivery, account)) == []


async def test_who_rotates_without_writing_never_saw_the_value(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    rotator = await delivery.world.service_account(frozenset({Permission.SECRET_ROTATE}))
    await delivery.world.secrets.rotate(rotator, ids["token"], SecretRotate())
    writer = await delivery.world.service_account(frozenset({Permission.SECRET_ROTATE, Permission.SECRET_WRITE}))
    await delivery.world.secrets.rotate(writer, ids["key"], SecretRotate(value="mine"))
    assert await plan(delivery, user=await name_of(delivery, rotator)) == []
    assert reasons(await plan(delivery, user=await name_of(delivery, writer))) == {"key": [("wrote", 2)]}


async def test_using_bundling_and_deploying_together_can_print(delivery: Delivery) -> None:
    await stocked(delivery)
    account = await delivery.world.service_account(frozenset({Permission.SECRET_USE, Permission.APP_DEPLOY}), name="*")
    name = await name_of(delivery, account)
    assert await plan(delivery, user=name) == []
    await delivery.world.bind(account, frozenset({Permission.APP_BUNDLE_WRITE}), app="shop")
    assert set(reasons(await plan(delivery, user=name))) == {"token", "key", "idle"}


async def test_named_secrets_in_order_of_exposure(delivery: Delivery) -> None:
    await stocked(delivery)
    await delivery.world.secret("token", "of-shop", app="shop", environment="staging")
    await delivery.world.secret("made", None, generate="hex:16")
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP)
    await agent.carry_out()
    found = await plan(delivery, secrets=["idle", "made", "token"])
    assert [(one.name, one.scope.app, one.elsewhere, one.automatic) for one in found] == [
        ("token", None, 1, False),
        ("idle", None, 0, False),
        ("made", None, 0, True),
        ("token", "shop", 0, False),
    ]
    [by_id] = await plan(delivery, secrets=[found[1].secret_id])
    assert by_id.name == "idle"
    with pytest.raises(Unavailable) as caught:
        await plan(delivery, secrets=["idle", "nothing", str(UUID(int=5))])
    assert [problem.place for problem in caught.value.problems] == ["body.secrets[1]", "body.secrets[2]"]


async def test_rows_are_shown_by_right(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP)
    await agent.carry_out()
    auditor = await delivery.world.service_account(frozenset({Permission.AUDIT_READ}))
    assert await plan(delivery, auditor, node="n1") == []
    await delivery.world.bind(auditor, frozenset({Permission.SECRET_LIST}), name="key")
    [key] = await plan(delivery, auditor, node="n1")
    assert (key.name, key.consumers, key.elsewhere) == ("key", [], 0)
    viewer = await delivery.world.service_account("viewer")
    with pytest.raises(Denied):
        await plan(delivery, viewer, node="n1")


async def test_bad_requests_are_refused(delivery: Delivery) -> None:
    for wrong in ({}, {"node": "n1", "user": "owner"}, {"secrets": []}, {"secrets": ["x"] * 201}):
        with pytest.raises(InvalidInput):
            await plan(delivery, **wrong)
    for unknown in ({"node": "n9"}, {"user": "nobody"}):
        with pytest.raises(Unavailable):
            await plan(delivery, **unknown)
