"""What a watcher is told: every state, the output as it grows, once each, and nothing that it has no right to."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from overseer.core.errors import InvalidInput, RateLimited, Unavailable
from overseer.server.services import deployment_watch
from overseer.server.services.deployment_watch import DeploymentWatch, Update, Watchers
from overseer.wire.agent import DeploymentReport, PollRequest
from overseer.wire.deployments import DeploymentCreate
from tests.integration.services.delivery import Agent, Delivery
from tests.integration.services.world import World, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COMPOSE = "services: {web: {image: x}}\n"


@pytest.fixture
def delivery(world: World, monkeypatch: pytest.MonkeyPatch) -> Delivery:
    monkeypatch.setattr(deployment_watch, "LOOK_EVERY_SECONDS", 0.01)
    return Delivery(world)


async def reported(delivery: Delivery, agent: Agent, deployment_id: str, state: str, output: str) -> None:
    report = DeploymentReport(state=state, output=output)
    await delivery.agents.report(agent.again(), UUID(deployment_id), report)


async def seen(watch: DeploymentWatch, *, most: int = 100, into: list[Update] | None = None) -> list[Update]:
    """The updates until the watch ends; ``into`` has those that have come so far."""
    found = [] if into is None else into
    updates = watch.updates()
    async for update in updates:
        if update is not None:
            found.append(update)
        if len(found) == most:
            break
    await updates.aclose()
    return found


def told(updates: list[Update]) -> list[tuple[str, str, str, int]]:
    return [(one.kind, one.event.state, one.event.output, one.event.offset) for one in updates]


async def test_every_state_and_the_growing_output(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    made = await delivery.deploy(COMPOSE)
    found: list[Update] = []
    watch = await delivery.deployments.watch(delivery.world.owner, UUID(made.id))
    watching = asyncio.create_task(seen(watch, into=found))
    await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))
    for count, state, output in ((1, "applying", "one"), (3, "applying", "one two"), (4, "succeeded", "one two three")):
        await eventually(lambda count=count: len(found) == count)
        await reported(delivery, agent, made.id, state, output)
    assert told(await asyncio.wait_for(watching, 90)) == [
        ("state", "queued", "", 0),
        ("state", "applying", "", 0),
        ("output", "applying", "one", 0),
        ("output", "applying", " two", 3),
        ("output", "succeeded", " three", 7),
        ("state", "succeeded", "", 0),
    ]


async def test_a_watcher_goes_on_where_it_was(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    made = await delivery.deploy(COMPOSE)
    await reported(delivery, agent, made.id, "applying", "one")
    first = await seen(await delivery.deployments.watch(delivery.world.owner, UUID(made.id)), most=2)
    await reported(delivery, agent, made.id, "failed", "one two")
    rest = await seen(await delivery.deployments.watch(delivery.world.owner, UUID(made.id), first[-1].position))
    assert told(rest) == [("output", "failed", " two", 3), ("state", "failed", "", 0)]
    assert await seen(await delivery.deployments.watch(delivery.world.owner, UUID(made.id), rest[-1].position)) == []


async def test_output_that_begins_anew_is_told_from_its_beginning(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    made = await delivery.deploy(COMPOSE)
    await reported(delivery, agent, made.id, "applying", "a long text")
    first = await seen(await delivery.deployments.watch(delivery.world.owner, UUID(made.id)), most=2)
    await reported(delivery, agent, made.id, "succeeded", "short")
    rest = await seen(await delivery.deployments.watch(delivery.world.owner, UUID(made.id), first[-1].position))
    assert told(rest)[0] == ("output", "succeeded", "short", 0)


async def test_a_group_is_watched_as_one(delivery: Delivery) -> None:
    one, two = await delivery.enrolled("n1"), await delivery.enrolled("n2")
    bundle = await delivery.bundle(COMPOSE)
    body = DeploymentCreate(app="shop", environment="prod", bundle=bundle.digest, nodes=["n1", "n2"])
    made = await delivery.deployments.create_deployment(delivery.world.owner, body)
    watch = await delivery.deployments.watch_group(delivery.world.owner, UUID(made.group or ""))
    found: list[Update] = []
    watching = asyncio.create_task(seen(watch, into=found))
    await eventually(lambda: len(found) == 2)
    await one.carry_out()
    await eventually(lambda: [u.event.state for u in found].count("succeeded") == 1)
    await two.carry_out()
    await asyncio.wait_for(watching, 90)
    assert [(u.event.node, u.event.state) for u in found if u.event.state != "released"] == [
        ("n1", "queued"),
        ("n2", "queued"),
        ("n1", "succeeded"),
        ("n2", "succeeded"),
    ]
    assert found[-1].position == "4.0,4.0"


async def test_waiting_holds_no_connection_and_beats(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment_watch, "HEARTBEAT_SECONDS", 0.05)
    made = await delivery.deploy(COMPOSE)
    watches = [(await delivery.deployments.watch(delivery.world.owner, UUID(made.id))).updates() for _ in range(30)]
    for updates in watches:  # more than the pool has connections
        assert await anext(updates) is not None
    assert await asyncio.wait_for(asyncio.gather(*(anext(updates) for updates in watches)), 90) == [None] * 30
    for updates in watches:
        await updates.aclose()


async def test_there_is_an_end_to_watching(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deployment_watch, "LONGEST_SECONDS", 0.1)
    made = await delivery.deploy(COMPOSE)
    watch = await delivery.deployments.watch(delivery.world.owner, UUID(made.id))
    assert told(await asyncio.wait_for(seen(watch), 90)) == [("state", "queued", "", 0)]


async def test_too_many_watchers_are_refused_until_one_leaves() -> None:
    watchers = Watchers(1)
    with watchers.one(), pytest.raises(RateLimited), watchers.one():
        pass
    with watchers.one():
        pass


async def test_watching_is_decided_and_audited_once(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    made = await delivery.deploy(COMPOSE)
    await agent.carry_out()
    viewer = await delivery.world.service_account("viewer", app="shop")
    await seen(await delivery.deployments.watch(viewer, UUID(made.id)))
    assert [(r["action"], r["outcome"]) for r in await delivery.world.audit(viewer)] == [("deployment:watch", "allowed")]
    stranger = await delivery.world.service_account("viewer", app="blog")
    with pytest.raises(Unavailable):
        await delivery.deployments.watch(stranger, UUID(made.id))


@pytest.mark.parametrize("text", ["", "x", "1", "5.0", "1.-1", "1.0,1.0", "1.9999999999"])
async def test_an_id_of_no_event_is_refused(delivery: Delivery, text: str) -> None:
    made = await delivery.deploy(COMPOSE)
    with pytest.raises(InvalidInput):
        await delivery.deployments.watch(delivery.world.owner, UUID(made.id), text)
