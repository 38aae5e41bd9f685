"""Deployments on several nodes: who is chosen, how many at a time, and what happens after a failure."""

from __future__ import annotations

from uuid import UUID

import msgspec
import pytest

from overseer.core.errors import Conflict, Denied, InvalidInput, ReferencesRefused, Unavailable
from overseer.server.services import deployment_making
from overseer.server.services.idempotency import Idempotency
from overseer.server.storage.deployment_rows import GROUP_STOPPED
from overseer.server.storage.scope_rows import Part
from overseer.wire.agent import PollRequest
from overseer.wire.deployments import DeploymentCreate, DeploymentGroupView, DeploymentView
from tests.integration.services.delivery import Agent, Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COMPOSE = "services: {web: {image: x, environment: {P: '${SECRET:db-password}'}}}\n"


@pytest.fixture
async def delivery(world: World) -> Delivery:
    await world.add(Part.NODE, "n3", "n4")
    await world.secret("db-password", "cAnArY", app="shop")
    return Delivery(world)


async def ordered(delivery: Delivery, *nodes: str, **fields: object) -> DeploymentView:
    bundle = await delivery.bundle(COMPOSE)
    body = DeploymentCreate(app="shop", environment="prod", bundle=bundle.digest, nodes=list(nodes) or None)
    return await delivery.deployments.create_deployment(delivery.world.owner, msgspec.structs.replace(body, **fields))


async def group(delivery: Delivery, view: DeploymentView) -> DeploymentGroupView:
    return await delivery.deployments.get_group(delivery.world.owner, UUID(view.group or ""))


async def states(delivery: Delivery, view: DeploymentView) -> list[tuple[str, str]]:
    return [(one.node, one.state) for one in (await group(delivery, view)).deployments]


async def has_work(delivery: Delivery, agent: Agent) -> bool:
    open_now = "SELECT count(*) AS n FROM deployment d JOIN node n ON n.id = d.node_id WHERE n.name = $1 AND d.attempts > 0"
    await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))
    [row] = await delivery.world.sql(open_now, agent.node)
    return bool(row["n"])


async def test_one_after_the_other_in_the_order_that_was_asked(delivery: Delivery) -> None:
    agents = {name: await delivery.enrolled(name) for name in ("n1", "n2", "n3")}
    view = await ordered(delivery, "n2", "n1", "n3")
    assert (view.node, view.group is not None) == ("n2", True)
    assert not await has_work(delivery, agents["n1"])
    assert not await has_work(delivery, agents["n3"])
    assert list((await agents["n2"].carry_out()).values()) == [{"db-password": "cAnArY"}]
    assert not await has_work(delivery, agents["n3"])
    await agents["n1"].carry_out()
    assert (await group(delivery, view)).state == "running"
    await agents["n3"].carry_out()
    assert await states(delivery, view) == [("n2", "succeeded"), ("n1", "succeeded"), ("n3", "succeeded")]
    assert (await group(delivery, view)).state == "succeeded"


async def test_as_many_at_a_time_as_were_asked_for(delivery: Delivery) -> None:
    agents = {name: await delivery.enrolled(name) for name in ("n1", "n2", "n3")}
    view = await ordered(delivery, "n1", "n2", "n3", parallel=2)
    assert (await group(delivery, view)).parallel == 2
    await agents["n2"].carry_out()
    assert not await has_work(delivery, agents["n3"])
    await agents["n1"].carry_out()
    assert await has_work(delivery, agents["n3"])


async def test_all_at_once(delivery: Delivery) -> None:
    agents = [await delivery.enrolled(name) for name in ("n1", "n2", "n3")]
    view = await ordered(delivery, "n1", "n2", "n3", parallel=200)
    assert [await has_work(delivery, agent) for agent in agents] == [True, True, True]
    assert (await group(delivery, view)).parallel == 3


async def test_after_a_failure_nobody_begins(delivery: Delivery) -> None:
    agents = {name: await delivery.enrolled(name) for name in ("n1", "n2", "n3", "n4")}
    view = await ordered(delivery, "n1", "n2", "n3", "n4", parallel=2)
    assert await has_work(delivery, agents["n2"])
    await agents["n1"].carry_out("failed")
    assert await states(delivery, view) == [("n1", "failed"), ("n2", "queued"), ("n3", "superseded"), ("n4", "superseded")]
    assert (await group(delivery, view)).deployments[3].error == GROUP_STOPPED
    await agents["n2"].carry_out()
    assert not await has_work(delivery, agents["n3"])
    assert (await states(delivery, view))[1] == ("n2", "succeeded")
    assert (await group(delivery, view)).state == "failed"


async def test_a_silent_agent_stops_the_group_too(delivery: Delivery) -> None:
    agent = await delivery.enrolled("n1")
    view = await ordered(delivery, "n1", "n2")
    assert await has_work(delivery, agent)
    await delivery.world.sql("UPDATE deployment SET state = 'applying', lease_until = now() - interval '1 s' WHERE attempts > 0")
    await delivery.housekeeping.run()
    assert await states(delivery, view) == [("n1", "failed"), ("n2", "superseded")]


async def test_a_revoked_node_stops_the_group_too(delivery: Delivery) -> None:
    await delivery.enrolled("n1")
    agent = await delivery.enrolled("n2")
    view = await ordered(delivery, "n1", "n2", parallel=2)
    await delivery.nodes.revoke_node(delivery.world.owner, "n1")
    assert not await has_work(delivery, agent)
    await delivery.housekeeping.run()
    assert await states(delivery, view) == [("n1", "failed"), ("n2", "superseded")]


async def test_a_later_deployment_takes_the_place_of_a_waiting_one_and_ends_its_group(delivery: Delivery) -> None:
    view = await ordered(delivery, "n1", "n2", "n3")
    await ordered(delivery, node="n2")
    assert await states(delivery, view) == [("n1", "superseded"), ("n2", "superseded"), ("n3", "superseded")]


async def test_nodes_are_chosen_by_their_labels(delivery: Delivery) -> None:
    await delivery.world.sql("""UPDATE node SET labels = '{"zone": "a", "tier": "web"}' WHERE name IN ('n3', 'n1')""")
    await delivery.world.sql("""UPDATE node SET labels = '{"zone": "a"}' WHERE name = 'n2'""")
    await delivery.enrolled("n4")
    await delivery.world.sql("""UPDATE node SET labels = '{"zone": "a", "tier": "web"}', state = 'revoked' WHERE name = 'n4'""")
    view = await ordered(delivery, labels={"zone": "a", "tier": "web"})
    assert [node for node, _ in await states(delivery, view)] == ["n1", "n3"]
    with pytest.raises(InvalidInput, match="no node has all of these labels"):
        await ordered(delivery, labels={"zone": "b"})


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"node": "n1", "nodes": ["n2"]},
        {"nodes": []},
        {"labels": {}},
        {"nodes": ["n1"], "parallel": 0},
        {"nodes": ["n1"], "parallel": 201},
        {"nodes": [f"x{number}" for number in range(201)]},
    ],
)
async def test_a_wrong_selection_is_refused(delivery: Delivery, fields: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        await ordered(delivery, **fields)
    assert await delivery.world.sql("SELECT FROM deployment") == []


async def test_a_list_of_problems_has_an_end_whatever_the_number_of_nodes(
    delivery: Delivery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uses times nodes could be millions, each a problem that is made, compared and sorted."""
    uses = "".join(f"      P{number}: '${{SECRET:absent}}'\n" for number in range(10))
    bundle = await delivery.bundle(f"services:\n  web:\n    image: x\n    environment:\n{uses}")
    body = DeploymentCreate(app="shop", environment="prod", bundle=bundle.digest, nodes=["n1", "n2", "n3", "n4"])
    with pytest.raises(ReferencesRefused, match="on n1, n2, n3, n4; nothing"):
        await delivery.deployments.create_deployment(delivery.world.owner, body)
    monkeypatch.setattr(deployment_making, "MAX_TOLD", 20)
    with pytest.raises(ReferencesRefused, match=r"on n1, n2 \(2 further nodes were not looked at\); nothing") as refused:
        await delivery.deployments.create_deployment(delivery.world.owner, body)
    assert len(refused.value.problems) == 10


async def test_each_node_is_decided_and_one_refusal_stops_all(delivery: Delivery) -> None:
    deployer = await delivery.world.service_account("deployer", app="shop", node="n1")
    await delivery.world.bind(deployer, "viewer", app="shop")
    bundle = await delivery.bundle(COMPOSE)
    body = DeploymentCreate(app="shop", environment="prod", bundle=bundle.digest, nodes=["n1", "n2"])
    with pytest.raises(Denied):
        await delivery.deployments.create_deployment(deployer, body)
    rows = [(r["action"], r["node"], r["outcome"]) for r in await delivery.world.audit(deployer)]
    assert rows == [("deployment:create", "n1", "failed"), ("deployment:create", "n2", "denied")]
    assert await delivery.world.sql("SELECT FROM deployment") == []
    with pytest.raises(Unavailable):
        await delivery.deployments.create_deployment(deployer, msgspec.structs.replace(body, nodes=["n1", "nowhere"]))


async def test_each_node_has_its_row_with_its_own_deployment(delivery: Delivery) -> None:
    owner = delivery.world.caller(delivery.world.owner.token_hash)
    bundle = await delivery.bundle(COMPOSE)
    body = DeploymentCreate(app="shop", environment="prod", bundle=bundle.digest, nodes=["n1", "n2"])
    view = await delivery.deployments.create_deployment(owner, body)
    rows = [r for r in await delivery.world.audit(owner) if r["action"] == "deployment:create"]
    made = {one.node: UUID(one.id) for one in (await group(delivery, view)).deployments}
    assert {r["node"]: r["resource_id"] for r in rows} == made


async def test_a_request_that_is_sent_twice_makes_one_group(delivery: Delivery) -> None:
    bundle = await delivery.bundle(COMPOSE)
    body = DeploymentCreate(app="shop", environment="prod", bundle=bundle.digest, nodes=["n1", "n2"])
    key = Idempotency("k", "POST /api/deployments", b"the body")
    first = await delivery.deployments.create_deployment(delivery.world.owner, body, key)
    again = await delivery.deployments.create_deployment(delivery.world.owner, body, key)
    assert (again.id, again.group) == (first.id, first.group)
    assert len(await delivery.world.sql("SELECT FROM deployment")) == 2


async def test_a_group_is_shown_to_those_alone_who_may_see_all_of_it(delivery: Delivery) -> None:
    view = await ordered(delivery, "n1", "n2")
    partly = await delivery.world.service_account("viewer", app="shop", node="n1")
    with pytest.raises(Unavailable):
        await delivery.deployments.get_group(partly, UUID(view.group or ""))
    with pytest.raises(Unavailable):
        await delivery.deployments.get_group(delivery.world.owner, UUID(int=7))


async def test_a_node_that_was_revoked_cannot_be_chosen(delivery: Delivery) -> None:
    await delivery.world.sql("UPDATE node SET state = 'revoked' WHERE name = 'n2'")
    with pytest.raises(Conflict):
        await ordered(delivery, "n1", "n2")
