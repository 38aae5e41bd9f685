"""A deployment's target: kept through everything that repeats it, told to the agent, and one of two."""

from __future__ import annotations

from uuid import UUID

import pytest

from overseer.core.errors import InvalidInput
from overseer.wire.agent import PollRequest
from overseer.wire.deployments import DeploymentRollback
from overseer.wire.secrets import SecretUpdate
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

STACK = "services: {web: {image: 'x:1', secrets: [db-password]}}\nsecrets: {db-password: {external: true}}\n"


@pytest.fixture
async def delivery(world: World) -> Delivery:
    await world.secret("db-password", "old", app="shop")
    return Delivery(world)


async def test_the_agent_is_told_and_a_rollback_and_a_rollout_keep_it(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    assert (await delivery.deploy(STACK)).target == "compose"
    await agent.carry_out()
    first = await delivery.deploy(STACK, target="swarm")
    assert first.target == "swarm"
    assert agent.caller is not None
    [work] = (await delivery.agents.poll(agent.caller, PollRequest(wait_seconds=0))).work
    assert work.target == "swarm"
    await agent.carry_out()
    again = await delivery.deployments.rollback(delivery.world.owner, UUID(first.id), DeploymentRollback())
    assert again.target == "swarm"
    await agent.carry_out()
    [row] = await delivery.world.sql("SELECT id FROM secret")
    await delivery.world.secrets.update(delivery.world.owner, row["id"], SecretUpdate(value="new"), None)
    query = "SELECT options ->> 'target' AS target FROM deployment WHERE options ->> 'rollout' IS NOT NULL"
    [step] = await delivery.world.sql(query)
    assert step["target"] == "swarm"


async def test_another_target_is_refused(delivery: Delivery) -> None:
    await delivery.enrolled()
    with pytest.raises(InvalidInput) as caught:
        await delivery.deploy(STACK, target="kubernetes")
    assert [(one.place, one.code) for one in caught.value.problems] == [("body.target", "bad_target")]
