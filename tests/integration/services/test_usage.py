"""Where secrets are used, from what was deployed and what agents saw; what nothing uses, and what runs with another version."""

from __future__ import annotations

from uuid import UUID

import pytest

from overseer.core.errors import InvalidInput, Unavailable
from overseer.core.permissions import Permission
from overseer.wire.agent import DeploymentHolding, HoldingsReport
from overseer.wire.deployments import DeploymentCreate, ServiceState
from overseer.wire.secrets import SecretUpdate
from overseer.wire.usage import UsageView
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SHOP = """\
services:
  web: {image: x, environment: {T: '${SECRET:token}'}}
  worker: {image: x, volumes: ['/etc/secrets/key:/run/secrets/key:ro']}
"""


def running(service: str, container: str = "c1", state: str = "running", exit_code: int | None = None) -> ServiceState:
    return ServiceState(service=service, container_id=container, state=state, health="", exit_code=exit_code)


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def stocked(delivery: Delivery) -> dict[str, UUID]:
    return {name: UUID((await delivery.world.secret(name, "v1")).id) for name in ("token", "key", "idle")}


async def names(delivery: Delivery, report: str, caller: object = None) -> list[str]:
    page = await delivery.usage.report(caller or delivery.world.owner, report)
    return [one.name for one in page.items]


async def test_consumers_are_what_runs_with_the_containers_that_were_seen(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP)
    before = await delivery.usage.usage(delivery.world.owner, ids["token"])
    assert (before.consumers, before.last_released_at) == ([], None)
    await agent.carry_out(services=[running("web"), running("worker", "c2")], holds={"key": "other"})
    usage = await delivery.usage.usage(delivery.world.owner, ids["token"])
    [consumer] = usage.consumers
    assert (consumer.app, consumer.environment, consumer.node, consumer.project) == ("shop", "prod", "n1", "shop-prod")
    assert (consumer.reference, consumer.version, consumer.pinned, consumer.persists) == ("token", 1, False, True)
    assert (consumer.services, [c.container_id for c in consumer.containers]) == (["web"], ["c1"])
    assert consumer.matches is True
    assert consumer.checked_at is not None
    assert usage.last_released_at is not None
    [file] = (await delivery.usage.usage(delivery.world.owner, ids["key"])).consumers
    assert (file.services, file.persists, file.matches) == (["worker"], False, False)


async def test_containers_are_those_of_the_last_check(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    await agent.carry_out(services=[running("web")])
    holding = DeploymentHolding(deployment_id=made.id, services=[running("web", "c9")])
    await delivery.drift.holdings(agent.again(), HoldingsReport(holdings=[holding]))
    [consumer] = (await delivery.usage.usage(delivery.world.owner, ids["token"])).consumers
    assert [c.container_id for c in consumer.containers] == ["c9"]


async def test_what_was_undeployed_or_replaced_uses_nothing(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP)
    await agent.carry_out()
    await delivery.deploy("services: {web: {image: x, environment: {T: '${SECRET:idle}'}}}\n")
    await agent.carry_out()
    assert (await delivery.usage.usage(delivery.world.owner, ids["token"])).consumers == []
    assert len((await delivery.usage.usage(delivery.world.owner, ids["idle"])).consumers) == 1
    body = DeploymentCreate(app="shop", node="n1", environment="prod", action="undeploy")
    await delivery.deployments.create_deployment(delivery.world.owner, body)
    await agent.carry_out()
    assert (await delivery.usage.usage(delivery.world.owner, ids["idle"])).consumers == []


async def test_a_failed_deployment_changes_nothing_of_what_runs(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    agent = await delivery.enrolled()
    first = await delivery.deploy(SHOP)
    await agent.carry_out()
    await delivery.deploy(SHOP.replace("image: x", "image: broken"))
    await agent.carry_out("failed")
    [consumer] = (await delivery.usage.usage(delivery.world.owner, ids["token"])).consumers
    assert consumer.deployment_id == first.id


async def test_unused_are_those_that_nothing_refers_to_or_is_about_to(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    assert await names(delivery, "unused") == ["idle", "key", "token"]
    await delivery.deploy(SHOP)
    assert await names(delivery, "unused") == ["idle"]
    await agent.carry_out("failed")
    assert await names(delivery, "unused") == ["idle", "key", "token"]
    await delivery.deploy(SHOP)
    await agent.carry_out()
    assert await names(delivery, "unused") == ["idle"]


async def test_unused_counts_deployments_that_the_caller_does_not_see(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP)
    await agent.carry_out()
    viewer = await delivery.world.service_account(frozenset({Permission.SECRET_LIST}), name="t*")
    assert await names(delivery, "unused", viewer) == []
    assert await names(delivery, "stale", viewer) == []


async def test_stale_is_another_version_than_the_active_one(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    agent = await delivery.enrolled()
    await delivery.deploy(SHOP.replace("SECRET:token", "SECRET:token@1"))
    await agent.carry_out()
    assert await names(delivery, "stale") == []
    body = SecretUpdate(value="v2", immediate=True)
    for name in ("token", "key"):
        await delivery.world.secrets.update(delivery.world.owner, ids[name], body)
    found: list[UsageView] = (await delivery.usage.report(delivery.world.owner, "stale")).items
    assert [(one.name, one.active_version, [c.version for c in one.consumers]) for one in found] == [
        ("key", 2, [1]),
        ("token", 2, [1]),
    ]
    assert [[c.pinned for c in one.consumers] for one in found] == [[False], [True]]


async def test_what_a_rollout_has_brought_ahead_is_not_stale(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    agents = [await delivery.enrolled(node) for node in ("n1", "n2")]
    for node in ("n1", "n2"):
        await delivery.deploy(SHOP, node=node)
    for agent in agents:
        await agent.carry_out()
    changed = await delivery.world.secrets.update(delivery.world.owner, ids["token"], SecretUpdate(value="v2"))
    await agents[0].carry_out()
    assert await names(delivery, "stale") == []
    usage = await delivery.usage.usage(delivery.world.owner, ids["token"])
    assert {(c.node, c.version) for c in usage.consumers} == {("n1", 2), ("n2", 1)}
    assert usage.rollout == changed.view.rollout is not None


async def test_rows_are_shown_by_right(delivery: Delivery) -> None:
    ids = await stocked(delivery)
    for node in ("n1", "n2"):
        agent = await delivery.enrolled(node)
        await delivery.deploy(SHOP, node=node)
        await agent.carry_out()
    viewer = await delivery.world.service_account(frozenset({Permission.SECRET_LIST}), name="token")
    await delivery.world.bind(viewer, frozenset({Permission.DEPLOYMENT_LIST}), node="n2")
    usage = await delivery.usage.usage(viewer, ids["token"])
    assert [consumer.node for consumer in usage.consumers] == ["n2"]
    with pytest.raises(Unavailable):
        await delivery.usage.usage(delivery.world.caller(viewer.token_hash), ids["key"])


async def test_pages_are_complete_and_bad_queries_refused(delivery: Delivery) -> None:
    await stocked(delivery)
    seen: list[str] = []
    cursor = None
    while True:
        page = await delivery.usage.report(delivery.world.owner, "unused", cursor, 2)
        seen += [one.name for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == ["idle", "key", "token"]
    for filter_, wrong, limit in (("all", None, 10), ("stale", "x", 10), ("stale", None, 0)):
        with pytest.raises(InvalidInput):
            await delivery.usage.report(delivery.world.owner, filter_, wrong, limit)
