"""How an agent becomes a node: one token, one pair of keys, and short tokens for signed assertions."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

import pytest

from overseer.core.errors import InvalidInput, Unauthenticated, Unavailable
from overseer.crypto.node_assertions import make_assertion
from overseer.crypto.node_keys import NodeKeys
from overseer.wire.agent import ConfirmRequest, PollRequest
from tests.integration.services.delivery import Agent, Delivery, b64
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def test_an_agent_enrols_and_polls(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    assert (await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))).work == []
    node = (await delivery.nodes.get_node(delivery.world.owner, "n1")).view
    assert node.state == "active"
    assert node.last_seen_at is not None


async def test_an_empty_poll_leaves_no_row(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    caller = agent.again()
    await delivery.agents.poll(caller, PollRequest(wait_seconds=0))
    assert await delivery.world.audit(caller) == []


async def test_the_same_keys_may_repeat_a_lost_call(delivery: Delivery) -> None:
    agent = Agent(delivery, "n1")
    first = await agent.join()
    second = await agent.join(agent.token)
    assert second.key_id == first.key_id
    await agent.confirm()
    await agent.confirm()
    await agent.authenticate()


async def test_other_keys_with_a_used_token_are_refused_and_stand_in_the_log(delivery: Delivery) -> None:
    honest = Agent(delivery, "n1")
    await honest.join()
    thief = Agent(delivery, "n1", keys=NodeKeys.generate())
    with pytest.raises(Unauthenticated, match="used by another agent"):
        await thief.join(honest.token)
    rows = await delivery.world.sql("SELECT outcome, code, node FROM audit WHERE action = 'node:enrol' ORDER BY xact, id")
    assert [tuple(row) for row in rows] == [("allowed", "", "n1"), ("denied", "token_reused", "n1")]
    await honest.confirm()


async def test_a_proof_by_other_keys_is_refused(delivery: Delivery) -> None:
    """A node that shows another's public keys cannot sign for them."""
    agent = Agent(delivery, "n1")
    agent.shown = NodeKeys.generate()
    with pytest.raises(Unauthenticated, match="proof of possession"):
        await agent.join()
    assert await delivery.world.sql("SELECT 1 FROM node_key") == []


async def test_a_wrong_answer_to_the_challenge_does_not_activate(delivery: Delivery) -> None:
    agent = Agent(delivery, "n1")
    answer = await agent.join()
    wrong = ConfirmRequest(key_id=answer.key_id, response=b64(bytes(32)))
    with pytest.raises(Unauthenticated):
        await delivery.enrolment.confirm(delivery.world.caller(None), wrong)
    assert (await delivery.nodes.get_node(delivery.world.owner, "n1")).view.state == "expected"


async def test_an_assertion_works_once(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    assertion = await agent.assertion()
    await agent.authenticate(assertion)
    with pytest.raises(Unauthenticated, match="used before"):
        await agent.authenticate(assertion)
    [row] = await delivery.world.sql("SELECT code FROM audit WHERE action = 'node:authenticate' AND outcome = 'denied'")
    assert row["code"] == "assertion_replayed"


async def test_a_clock_that_is_an_hour_off_is_named(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    assert agent.answer is not None
    [row] = await delivery.world.sql("SELECT now() AS now")
    late = make_assertion(
        UUID(agent.answer.node_id), UUID(agent.answer.instance_id), agent.keys.signing, row["now"] - timedelta(hours=1)
    )
    with pytest.raises(Unauthenticated, match="seconds apart; set the clocks"):
        await agent.authenticate(late)


async def test_a_revoked_node_is_refused_on_the_next_request(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    await delivery.nodes.revoke_node(delivery.world.owner, "n1")
    with pytest.raises(Unauthenticated):
        await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))
    with pytest.raises(Unauthenticated):
        await agent.authenticate()


async def test_a_revoked_node_may_be_enrolled_again_with_new_keys(delivery: Delivery) -> None:
    old = await delivery.enrolled()
    await delivery.nodes.revoke_node(delivery.world.owner, "n1")
    new = await delivery.enrolled()
    await delivery.agents.poll(new.again(), PollRequest(wait_seconds=0))
    with pytest.raises(Unauthenticated):
        await old.authenticate()


async def test_an_expired_enrolment_token_is_refused(delivery: Delivery) -> None:
    agent = Agent(delivery, "n1")
    await agent.join()
    await delivery.world.sql("UPDATE enrolment_token SET expires_at = now() - interval '1 second'")
    with pytest.raises(Unauthenticated, match="expired"):
        await agent.join(agent.token)


async def test_keys_of_the_wrong_length_are_refused_by_rule(delivery: Delivery) -> None:
    agent = Agent(delivery, "n1")
    answer = await agent.join()
    with pytest.raises(InvalidInput, match="32 bytes"):
        await delivery.enrolment.confirm(delivery.world.caller(None), ConfirmRequest(key_id=answer.key_id, response=b64(b"x")))


async def test_nodes_that_do_not_exist_look_like_hidden_ones(delivery: Delivery) -> None:
    stranger = await delivery.world.service_account()
    for name in ("n1", "no-such-node"):
        with pytest.raises(Unavailable) as caught:
            await delivery.nodes.get_node(stranger, name)
        assert caught.value.message == "node: it does not exist, or you may not know that it does"
