"""Labels, drain, new keys of a node, and what it may be given again after a restart of the machine."""

from __future__ import annotations

import base64
import os
from uuid import UUID, uuid4

import pytest

from overseer.core.errors import Conflict, Denied, InvalidInput, Unauthenticated, Unavailable
from overseer.crypto.node_keys import NodeKeys, answer_challenge, prove_rotation
from overseer.wire.agent import ConfirmRequest, KeysRequest, LostRequest, PollRequest, ReleaseRequest
from overseer.wire.scopes import NodeCreate, NodePatch
from tests.integration.services.delivery import Agent, Delivery, b64
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COMPOSE = "services: {web: {image: x, environment: {PW: '${SECRET:pw}'}}}\n"


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def test_labels(delivery: Delivery) -> None:
    owner, nodes = delivery.world.owner, delivery.nodes
    made = await nodes.create_node(owner, NodeCreate(name="edge", labels={"zone": "a"}))
    assert made.labels == {"zone": "a"}
    patch = NodePatch(labels={"zone": "b", "disk": ""})
    view = (await nodes.patch_node(delivery.world.caller(owner.token_hash), "edge", patch)).view
    assert view.labels == {"zone": "b", "disk": ""}
    view = (await nodes.patch_node(owner, "edge", NodePatch(description="at the edge"))).view
    assert (view.description, view.labels, view.drained) == ("at the edge", {"zone": "b", "disk": ""}, False)
    for bad in ({"a b": "x"}, {"a": "x" * 257}):
        with pytest.raises(InvalidInput):
            await nodes.patch_node(owner, "edge", NodePatch(labels=bad))
    with pytest.raises(Unavailable):
        await nodes.patch_node(owner, "nowhere", NodePatch(drained=True))


async def test_a_drained_node_takes_no_new_deployment_but_can_be_emptied(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    await delivery.world.secret("pw", "v")
    await delivery.deploy(COMPOSE)
    await agent.carry_out()
    caller = delivery.world.caller(delivery.world.owner.token_hash)
    view = (await delivery.nodes.patch_node(caller, "n1", NodePatch(drained=True))).view
    assert view.drained
    [row] = await delivery.world.audit(caller)
    assert (row["action"], row["code"]) == ("node:drain", "drained")
    with pytest.raises(Conflict, match="node n1 is drained"):
        await delivery.deploy(COMPOSE)
    await delivery.deploy(COMPOSE, action="undeploy", bundle=None)
    assert len(await agent.carry_out()) == 1
    assert not (await delivery.nodes.patch_node(delivery.world.owner, "n1", NodePatch(drained=False))).view.drained
    await delivery.deploy(COMPOSE)


async def rotation(agent: Agent, new: NodeKeys, *, old: NodeKeys | None = None, nonce: bytes | None = None) -> KeysRequest:
    assert agent.answer is not None
    nonce = nonce or os.urandom(32)
    instance, node = UUID(agent.answer.instance_id), UUID(agent.answer.node_id)
    return KeysRequest(
        encryption_key=b64(new.public.sealing),
        signing_key=b64(new.public.signing),
        nonce=b64(nonce),
        old_proof=b64(prove_rotation((old or agent.keys).signing, new.public, instance, node, nonce)),
        new_proof=b64(prove_rotation(new.signing, new.public, instance, node, nonce)),
    )


async def test_new_keys_are_in_force_once_confirmed_and_the_old_are_dead(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    assert agent.answer is not None
    new, nonce = NodeKeys.generate(), os.urandom(32)
    answer = await delivery.enrolment.rotate_keys(agent.again(), await rotation(agent, new, nonce=nonce))
    again = await delivery.enrolment.rotate_keys(agent.again(), await rotation(agent, new, nonce=nonce))
    assert again.key_id == answer.key_id  # a lost answer
    await agent.authenticate()  # the old ones count until then
    opened = answer_challenge(
        base64.b64decode(again.challenge), new, UUID(agent.answer.instance_id), UUID(agent.answer.node_id), nonce
    )
    confirmation = ConfirmRequest(key_id=again.key_id, response=b64(opened))
    await delivery.enrolment.confirm(delivery.world.caller(None), confirmation)
    with pytest.raises(Unauthenticated):  # a session that the old keys opened
        await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))
    with pytest.raises(Unauthenticated):
        await agent.authenticate()
    agent.keys = new
    await agent.authenticate()
    await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))
    rows = await delivery.world.sql("SELECT retired_at IS NULL AS live FROM node_key WHERE confirmed_at IS NOT NULL")
    assert sorted(row["live"] for row in rows) == [False, True]
    await delivery.world.secret("pw", "v")
    await delivery.deploy(COMPOSE)
    assert [values["pw"] for values in (await agent.carry_out()).values()] == ["v"]  # sealed to the new key


async def test_new_keys_need_both_signatures(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    new, stranger = NodeKeys.generate(), NodeKeys.generate()
    with pytest.raises(Unauthenticated):
        await delivery.enrolment.rotate_keys(agent.again(), await rotation(agent, new, old=stranger))
    right, other = await rotation(agent, new), await rotation(agent, stranger)
    mixed = KeysRequest(
        encryption_key=right.encryption_key,
        signing_key=right.signing_key,
        nonce=right.nonce,
        old_proof=right.old_proof,
        new_proof=other.new_proof,
    )
    with pytest.raises(Unauthenticated):
        await delivery.enrolment.rotate_keys(agent.again(), mixed)
    with pytest.raises(Conflict, match="already"):
        await delivery.enrolment.rotate_keys(agent.again(), await rotation(agent, agent.keys))
    with pytest.raises(Denied):
        await delivery.enrolment.rotate_keys(delivery.world.owner, right)
    assert await delivery.world.sql("SELECT 1 FROM node_key WHERE confirmed_at IS NULL") == []
    codes = await delivery.world.sql("SELECT code FROM audit WHERE action = 'node:rotate_keys' AND outcome = 'denied'")
    assert [row["code"] for row in codes][:2] == ["bad_proof", "bad_proof"]


async def test_what_runs_is_released_again_and_nothing_else(delivery: Delivery) -> None:
    agent, other = await delivery.enrolled(), await delivery.enrolled("n2")
    await delivery.world.secret("pw", "v")
    first = await delivery.deploy(COMPOSE)
    await agent.carry_out()
    second = await delivery.deploy(COMPOSE)
    await agent.carry_out()
    lost = LostRequest(deployments=[first.id, second.id, str(uuid4())])
    assert [one.deployment_id for one in (await delivery.agents.lost(agent.again(), lost)).refill] == [second.id]
    assert (await delivery.agents.lost(other.again(), lost)).refill == []
    nonce = os.urandom(32)
    caller = agent.again()
    answer = await delivery.agents.release(caller, UUID(second.id), ReleaseRequest(nonce=b64(nonce)))
    assert [one.value for one in agent.open(answer, second.id, nonce).values] == [b"v"]
    rows = await delivery.world.audit(caller)
    assert [(row["action"], row["code"], row["resource_name"]) for row in rows] == [
        ("deployment:release", "refill", "shop"), ("deployment:release", "", "pw"),
    ]  # fmt: skip
    with pytest.raises(Conflict, match="has ended"):
        await delivery.agents.release(agent.again(), UUID(first.id), ReleaseRequest(nonce=b64(nonce)))
    with pytest.raises(Unavailable):
        await delivery.agents.release(other.again(), UUID(second.id), ReleaseRequest(nonce=b64(nonce)))
    # Something newer is under way, or nothing runs there any more: no release of what was.
    await delivery.deploy(COMPOSE)
    assert (await delivery.agents.lost(agent.again(), lost)).refill == []
    with pytest.raises(Conflict):
        await delivery.agents.release(agent.again(), UUID(second.id), ReleaseRequest(nonce=b64(nonce)))
    await agent.carry_out("failed")
    assert [one.deployment_id for one in (await delivery.agents.lost(agent.again(), lost)).refill] == [second.id]
    await delivery.deploy(COMPOSE, action="undeploy", bundle=None)
    await agent.carry_out()
    assert (await delivery.agents.lost(agent.again(), lost)).refill == []
