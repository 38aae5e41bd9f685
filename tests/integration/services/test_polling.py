"""Waiting for work: one poll a node waits, waiting costs next to nothing, and what ends it is heard within about a second."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import UUID

import pytest

from overseer.core.audit_events import AuditAction
from overseer.core.errors import Denied, NotReady, Unauthenticated, Unavailable
from overseer.core.principals import Caller
from overseer.server.services.agent_service import AgentService
from overseer.server.services.deployment_service import DeploymentService
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.work_signal import WorkSignal
from overseer.wire.agent import PollRequest, ReleaseRequest
from overseer.wire.deployments import DeploymentCreate
from tests.integration.services.delivery import Agent, Delivery, b64
from tests.integration.services.world import World, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

LONG = PollRequest(wait_seconds=60)
PLAIN = "services:\n  web:\n    image: shop:1\n"
SOON = 90.0


class CountingGate(Gate):
    """Counts how often a caller passes."""

    entered = 0

    @asynccontextmanager
    async def enter(self, caller: Caller, action: AuditAction) -> AsyncIterator[Entry]:
        self.entered += 1
        async with super().enter(caller, action) as entry:
            yield entry


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


def waiting(delivery: Delivery, agent: Agent, body: PollRequest = LONG) -> asyncio.Task[list[str]]:
    async def poll() -> list[str]:
        return [work.deployment_id for work in (await delivery.agents.poll(agent.again(), body)).work]

    return asyncio.create_task(poll())


async def begun(delivery: Delivery) -> None:
    """Until a poll has found nothing and waits."""
    await eventually(lambda: delivery.agents._watch._waiting)


async def test_a_newer_poll_of_a_node_ends_the_older_ones(delivery: Delivery) -> None:
    agent, other = await delivery.enrolled(), await delivery.enrolled("n2")
    beside = waiting(delivery, other)
    polls = {waiting(delivery, agent) for _ in range(12)}
    await eventually(lambda: sum(poll.done() for poll in polls) >= 11)
    done, left = await asyncio.wait(polls, timeout=0)
    assert [task.result() for task in done] == [[]] * 11
    made = await delivery.deploy(PLAIN)
    assert await asyncio.wait_for(left.pop(), SOON) == [made.id]
    assert not beside.done()
    beside.cancel()


async def test_a_waiting_poll_passes_the_gate_at_its_begin_and_its_end(delivery: Delivery) -> None:
    world, agent = delivery.world, await delivery.enrolled()
    gate = CountingGate(world.database)
    agents = AgentService(gate, world.keys, world.opener, delivery.bundles, WorkSignal(), delivery.driver)
    assert (await agents.poll(agent.again(), PollRequest(wait_seconds=3))).work == []
    assert gate.entered == 2


async def test_work_made_through_another_process_is_heard_of_within_about_a_second(delivery: Delivery) -> None:
    world, agent = delivery.world, await delivery.enrolled()
    elsewhere = DeploymentService(world.gate, delivery.bundles, world.opener, world.idempotency, WorkSignal(), world.sources)
    bundle = await delivery.bundle(PLAIN)
    poll = waiting(delivery, agent)
    await begun(delivery)
    body = DeploymentCreate(app="shop", node="n1", environment="prod", bundle=bundle.digest)
    made = await elsewhere.create_deployment(world.owner, body)
    assert await asyncio.wait_for(poll, LONG.wait_seconds - 5) == [made.id]  # not by the look at the end of the wait


async def test_what_a_node_says_it_is_busy_with_hides_no_work_of_another(delivery: Delivery) -> None:
    agent, other = await delivery.enrolled(), await delivery.enrolled("n2")
    poll = waiting(delivery, agent)
    await begun(delivery)
    made = await delivery.deploy(PLAIN)
    assert await asyncio.wait_for(poll, SOON) == [made.id]
    liar = waiting(delivery, other, PollRequest(wait_seconds=60, busy=[made.id]))
    assert await asyncio.wait_for(waiting(delivery, agent), SOON) == [made.id]
    again = waiting(delivery, agent, PollRequest(wait_seconds=2, busy=[made.id]))
    assert await asyncio.wait_for(again, SOON) == []
    liar.cancel()


async def test_a_node_that_is_revoked_waits_no_longer(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    poll = waiting(delivery, agent)
    await begun(delivery)
    await delivery.nodes.revoke_node(delivery.world.owner, "n1")
    with pytest.raises(Unauthenticated):
        await asyncio.wait_for(poll, SOON)


async def test_a_wait_that_is_ended_ends_and_a_denial_keeps_its_row(delivery: Delivery) -> None:
    agent, ended = await delivery.enrolled(), asyncio.Event()
    poll = asyncio.create_task(delivery.agents.poll(agent.again(), LONG, ended))
    await begun(delivery)
    assert not poll.done()
    ended.set()
    with pytest.raises(NotReady):
        await asyncio.wait_for(poll, SOON)
    powerless = await delivery.world.service_account()
    with pytest.raises(Denied):
        await delivery.agents.poll(powerless, LONG, ended)
    [row] = await delivery.world.audit(powerless)
    assert (row["action"], row["outcome"]) == ("node:poll", "denied")


async def test_who_may_not_touch_a_deployment_does_not_wait_for_its_lock(delivery: Delivery) -> None:
    await delivery.enrolled()
    other = await delivery.enrolled("n2")
    made = await delivery.deploy(PLAIN)
    async with delivery.world.connection() as connection, connection.transaction():
        await connection.execute("SELECT FROM deployment WHERE id = $1 FOR UPDATE", UUID(made.id))
        release = delivery.agents.release(other.again(), UUID(made.id), ReleaseRequest(nonce=b64(bytes(32))))
        with pytest.raises(Unavailable):
            await asyncio.wait_for(release, SOON)
