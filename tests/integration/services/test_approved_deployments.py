"""Deployments behind a policy: a plan is approved, and exactly that plan is carried out, once."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID

import pytest

from overseer.core.approvals import Asked, Operation
from overseer.core.errors import ApprovalRequired, Conflict, InvalidInput
from overseer.core.scopes import Scope
from overseer.wire.deployments import DeploymentCreate, DeploymentRollback, DeploymentView
from overseer.wire.secret_batches import ScopeTarget, SecretMove
from overseer.wire.secrets import SecretActivate, SecretRotate, SecretUpdate
from tests.integration.services.approving import Office
from tests.integration.services.delivery import Agent, Delivery
from tests.integration.services.test_plans import SHOP, planned, running
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PLACE = {"app": "shop", "environment": "prod", "node": "n1"}


@pytest.fixture
async def delivery(world: World) -> Delivery:
    await world.secret("db-password", "one", app="shop")
    await world.secret("api-key", "two", app="shop")
    return Delivery(world)


@pytest.fixture
async def office(world: World) -> Office:
    return await Office.open(world)


@pytest.fixture
async def agent(delivery: Delivery, office: Office) -> Agent:
    """SHOP runs, and from here on deployments of shop in prod wait for an approval."""
    found = await running(delivery)
    await office.policy("deploy", app="shop", environment="prod", name="shop")
    return found


async def deploy(delivery: Delivery, office: Office, caller: Any, **fields: Any) -> DeploymentView:
    return await delivery.deployments.create_deployment(office.again(caller), DeploymentCreate(**{**PLACE, **fields}))


async def test_an_approved_plan_is_carried_out_once_by_whoever_asked(
    delivery: Delivery, office: Office, agent: Agent
) -> None:
    bundle = (await delivery.bundle(SHOP.replace("shop:1", "shop:2"))).digest
    plan = (await planned(delivery, SHOP.replace("shop:1", "shop:2"))).digest
    ops, other = await office.person("owner"), await office.person("owner")
    for fields in ({"bundle": bundle}, {"bundle": bundle, "plan": plan}):
        with pytest.raises(ApprovalRequired) as error:
            await deploy(delivery, office, ops, **fields)
        assert ("body.plan" in {one.place for one in error.value.problems}) is ("plan" not in fields)
    asked = await office.approved(ops, "deploy", plan=plan, **PLACE)
    assert f"bundle {bundle}" in asked.details
    assert any(line.startswith("service web: ") for line in asked.details)
    for who, fields in (
        (other, {"plan": plan}), (ops, {}), (ops, {"plan": plan, "target": "swarm"}),
    ):  # fmt: skip
        with pytest.raises(ApprovalRequired):
            await deploy(delivery, office, who, bundle=bundle, **fields)
    assert (await deploy(delivery, office, ops, bundle=bundle, plan=plan)).state == "queued"
    assert await office.state(asked) == "used"
    await agent.carry_out()
    again = (await planned(delivery, SHOP.replace("shop:1", "shop:2"))).digest
    with pytest.raises(ApprovalRequired):
        await deploy(delivery, office, ops, bundle=bundle, plan=again)


async def test_a_plan_that_does_not_hold_any_more_uses_nothing_up(
    world: World, delivery: Delivery, office: Office, agent: Agent
) -> None:
    assert agent.caller is not None
    bundle, plan = (await delivery.bundle(SHOP)).digest, (await planned(delivery)).digest
    ops = await office.person("owner")
    asked = await office.approved(ops, "deploy", plan=plan, **PLACE)
    [row] = await world.sql("SELECT id FROM secret WHERE name = 'db-password'")
    await world.secrets.update(world.owner, row["id"], SecretUpdate(value="three", immediate=True))
    with pytest.raises(Conflict):
        await deploy(delivery, office, ops, bundle=bundle, plan=plan)
    assert await office.state(asked) == "approved"


async def test_taking_down_and_going_back_wait_as_well(delivery: Delivery, office: Office, agent: Agent) -> None:
    ops = await office.person("owner")
    [done] = await delivery.world.sql("SELECT id FROM deployment WHERE state = 'succeeded'")
    for call in (
        deploy(delivery, office, ops, action="undeploy"),
        delivery.deployments.rollback(office.again(ops), done["id"], DeploymentRollback()),
    ):
        with pytest.raises(ApprovalRequired):
            await call
    await office.approved(ops, "rollback", deployment_id=done["id"])
    back = await delivery.deployments.rollback(office.again(ops), done["id"], DeploymentRollback())
    assert back.state == "queued"
    await agent.carry_out()
    await office.approved(ops, "undeploy", **PLACE)
    assert (await deploy(delivery, office, ops, action="undeploy")).action == "undeploy"
    with pytest.raises(ApprovalRequired):
        await deploy(delivery, office, ops, action="undeploy")


async def test_what_can_be_asked_of_deployments(delivery: Delivery, office: Office, agent: Agent) -> None:
    assert agent.caller is not None
    ops = await office.person("owner")
    plan = (await planned(delivery)).digest
    with pytest.raises(InvalidInput, match="no plan"):
        await office.ask(ops, "deploy", plan="0" * 64, **PLACE)
    with pytest.raises(InvalidInput, match="no plan"):
        await office.ask(ops, "deploy", plan=plan, **{**PLACE, "node": "n2"})
    with pytest.raises(Conflict, match="nothing of this app"):
        await office.ask(ops, "undeploy", **{**PLACE, "node": "n2"})


async def test_a_policy_of_another_place_guards_nothing_here(delivery: Delivery, office: Office) -> None:
    await office.policy("deploy", app="shop", environment="staging")
    await office.policy("deploy", name="blog")
    bundle = (await delivery.bundle(SHOP)).digest
    assert (await deploy(delivery, office, delivery.world.owner, bundle=bundle)).state == "queued"


async def test_an_activation_by_rollout_uses_its_approval_when_it_begins(
    world: World, delivery: Delivery, office: Office
) -> None:
    await running(delivery)
    await office.policy("activate")
    ops = await office.person("owner")
    [row] = await world.sql("SELECT id FROM secret WHERE name = 'db-password'")
    await world.secrets.update(office.again(ops), row["id"], SecretUpdate(value="three", activate=False))
    asked = await office.approved(ops, "activate", secret_id=row["id"], version=2)
    changed = await world.secrets.activate(office.again(ops), row["id"], SecretActivate(version=2))
    assert changed.view.rollout is not None
    assert await office.state(asked) == "used"


async def test_a_rotation_and_a_move_are_approved_for_exactly_the_next_version_and_place(
    world: World, office: Office
) -> None:

    secret = UUID((await world.secret("moved", app="shop")).id)
    await office.policy("activate", "delete", "reveal")
    ops = await office.person("owner")
    early = await office.approved(ops, "activate", secret_id=secret)
    assert early.version == 2
    # Somebody else stores version 2 first: what was approved is not that.
    await world.secrets.update(office.again(world.owner), secret, SecretUpdate(value="x", activate=False))
    for call in (
        world.secrets.rotate(office.again(ops), secret, SecretRotate()),
        world.secrets.activate(office.again(ops), secret, SecretActivate(version=2)),
    ):
        with pytest.raises(ApprovalRequired):
            await call
    await office.approved(ops, "activate", secret_id=secret)
    assert (await world.secrets.rotate(office.again(ops), secret, SecretRotate())).view.active_version == 3
    await office.approved(ops, "move", secret_id=secret, app="blog")
    blog, nowhere = ScopeTarget(app="blog", environment=None, node=None), ScopeTarget(app=None, environment=None, node=None)
    for elsewhere in (SecretMove(scope=nowhere), SecretMove(scope=blog, name="y")):
        with pytest.raises(ApprovalRequired):
            await world.secrets.move(office.again(ops), secret, elsewhere)
    there = SecretMove(scope=blog)
    assert (await world.secrets.move(office.again(ops), secret, there)).view.secret.scope.app == "blog"


def test_every_part_of_what_is_asked_changes_the_digest() -> None:
    one = UUID(int=1)
    base = Asked(one, Operation.MOVE, "db", Scope(one), one, 1, 1, 1, Scope(one), "x", "p", one, "compose")
    assert Asked.read(base.content) == base
    other = UUID(int=2)
    changed = {
        "principal": other, "operation": Operation.REVEAL, "name": "d", "scope": Scope(None, one), "secret": other, "version": 2,
        "active_version": 2, "latest_version": None, "target": Scope(None, None, one), "target_name": None, "plan": "q",
        "deployment": None, "runtime": "swarm",
    }  # fmt: skip
    assert set(changed) == set(base.content) - {"format"}

    digests = {dataclasses.replace(base, **{field: value}).digest for field, value in changed.items()} | {base.digest}
    assert len(digests) == len(changed) + 1
