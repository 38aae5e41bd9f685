"""Going back to an earlier deployment, and whether containers hold what a deployment gave them."""

from __future__ import annotations

from uuid import UUID

import pytest

from overseer.core.errors import Conflict, Denied, ReferencesRefused, Unavailable
from overseer.core.permissions import Permission
from overseer.server.services.idempotency import Idempotency
from overseer.wire.deployments import DeploymentRollback, DeploymentView
from overseer.wire.secrets import SecretUpdate
from tests.integration.services.delivery import Agent, Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

OLD = "services: {web: {image: 'x:1', environment: {P: '${SECRET:db-password}', K: '${SECRET:api-key}'}}}\n"
NEW = "services: {web: {image: 'x:2', environment: {P: '${SECRET:db-password}'}}}\n"


@pytest.fixture
async def delivery(world: World) -> Delivery:
    await world.secret("db-password", "old", app="shop")
    await world.secret("api-key", "key", app="shop")
    return Delivery(world)


async def history(delivery: Delivery) -> tuple[Agent, DeploymentView]:
    """Two bundles and two versions one after the other; the first deployment of them."""
    agent = await delivery.enrolled()
    first = await delivery.deploy(OLD)
    await agent.carry_out()
    update = SecretUpdate(value="new", immediate=True)
    await delivery.world.secrets.update(delivery.world.owner, await secret(delivery, "db-password"), update, None)
    await delivery.deploy(NEW)
    await agent.carry_out()
    return agent, first


async def secret(delivery: Delivery, name: str) -> UUID:
    [row] = await delivery.world.sql("SELECT id FROM secret WHERE name = $1", name)
    found: UUID = row["id"]
    return found


async def rolled_back(delivery: Delivery, view: DeploymentView, **more: object) -> DeploymentView:
    caller = more.pop("caller", None) or delivery.world.owner
    return await delivery.deployments.rollback(caller, UUID(view.id), DeploymentRollback(), **more)  # type: ignore[arg-type]


async def test_back_to_the_bundle_and_the_versions_of_then(delivery: Delivery) -> None:
    agent, first = await history(delivery)
    view = await rolled_back(delivery, first)
    assert (view.bundle, view.rollback_of, view.state) == (first.bundle, first.id, "queued")
    assert {(r.reference, r.version) for r in view.references} == {("db-password", 1), ("api-key", 1)}
    assert await agent.carry_out() == {view.id: {"db-password": "old", "api-key": "key"}}
    [row] = await delivery.world.sql("SELECT active_version FROM secret WHERE name = 'db-password'")
    assert row["active_version"] == 2


async def test_what_is_gone_is_refused_with_the_whole_list(delivery: Delivery) -> None:
    _, first = await history(delivery)
    await delivery.world.secrets.delete(delivery.world.owner, await secret(delivery, "api-key"), None)
    await delivery.world.sql("DELETE FROM secret_version WHERE version = 1 AND secret_id IN (SELECT id FROM secret)")
    with pytest.raises(ReferencesRefused) as caught:
        await rolled_back(delivery, first)
    assert [(p.place, p.code) for p in caught.value.problems] == [("api-key", "unavailable"), ("db-password", "no_version")]
    assert len(await delivery.world.sql("SELECT FROM deployment")) == 2


async def test_both_permissions_are_asked_for_now(delivery: Delivery) -> None:
    _, first = await history(delivery)
    viewer = await delivery.world.service_account("viewer", app="shop")
    with pytest.raises(Denied):
        await rolled_back(delivery, first, caller=viewer)
    deploys = await delivery.world.service_account(
        frozenset({Permission.APP_DEPLOY, Permission.SECRET_LIST, Permission.DEPLOYMENT_LIST}), app="shop"
    )
    with pytest.raises(ReferencesRefused) as caught:
        await rolled_back(delivery, first, caller=deploys)
    assert {p.code for p in caught.value.problems} == {"denied"}
    rows = [(r["action"], r["resource_name"], r["outcome"]) for r in await delivery.world.audit(deploys)]
    assert rows == [
        ("deployment:rollback", "shop", "failed"),
        ("secret:use", "api-key", "denied"),
        ("secret:use", "db-password", "denied"),
    ]
    stranger = await delivery.world.service_account("deployer", app="blog")
    with pytest.raises(Unavailable):
        await rolled_back(delivery, first, caller=stranger)
    with pytest.raises(Unavailable):
        await delivery.deployments.rollback(delivery.world.owner, UUID(int=3), DeploymentRollback())


async def test_only_what_succeeded_can_be_gone_back_to(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    failed = await delivery.deploy(OLD)
    with pytest.raises(Conflict):
        await rolled_back(delivery, failed)
    await agent.carry_out("failed")
    with pytest.raises(Conflict):
        await rolled_back(delivery, failed)


async def test_a_rollback_that_is_sent_twice_is_made_once(delivery: Delivery) -> None:
    _, first = await history(delivery)
    key = Idempotency("k", "POST /api/deployments/{deployment_id}/rollback", b"{}")
    assert (await rolled_back(delivery, first, idempotency=key)).id == (await rolled_back(delivery, first, idempotency=key)).id
    assert len(await delivery.world.sql("SELECT FROM deployment")) == 3


async def test_a_node_that_was_drained_or_revoked_is_not_gone_back_on(delivery: Delivery) -> None:
    _, first = await history(delivery)
    await delivery.world.sql("UPDATE node SET drained_at = now() WHERE name = 'n1'")
    with pytest.raises(Conflict, match="is drained"):
        await rolled_back(delivery, first)
    await delivery.nodes.revoke_node(delivery.world.owner, "n1")
    with pytest.raises(Conflict):
        await rolled_back(delivery, first)


# -- verification


async def test_nothing_is_known_before_the_agent_reports(delivery: Delivery) -> None:
    await delivery.enrolled()
    made = await delivery.deploy(OLD)
    seen = await delivery.deployments.verify(delivery.world.owner, UUID(made.id))
    assert (seen.result, seen.current) == ("unknown", False)
    assert {r.result for r in seen.references} == {"unknown"}


async def test_what_containers_hold_matches_or_differs(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    made = await delivery.deploy(OLD)
    await agent.carry_out()
    seen = await delivery.deployments.verify(delivery.world.owner, UUID(made.id))
    assert (seen.result, seen.current, seen.state) == ("matches", True, "succeeded")
    again = await delivery.deploy(OLD)
    await agent.carry_out(holds={"api-key": "something else"})
    seen = await delivery.deployments.verify(delivery.world.owner, UUID(again.id))
    assert seen.result == "differs"
    assert {(r.reference, r.result) for r in seen.references} == {("api-key", "differs"), ("db-password", "matches")}
    assert not (await delivery.deployments.verify(delivery.world.owner, UUID(made.id))).current


async def test_verification_is_for_those_who_may_see_the_deployment(delivery: Delivery) -> None:
    made = await delivery.deploy(OLD)
    viewer = await delivery.world.service_account("viewer", app="shop")
    await delivery.deployments.verify(viewer, UUID(made.id))
    assert [(r["action"], r["outcome"]) for r in await delivery.world.audit(viewer)] == [("deployment:verify", "allowed")]
    stranger = await delivery.world.service_account("viewer", app="blog")
    with pytest.raises(Unavailable):
        await delivery.deployments.verify(stranger, UUID(made.id))
