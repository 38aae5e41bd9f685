"""A new version on its way to running containers: canary, the rest, the flip; and every way in which that goes wrong."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from overseer.core.errors import Conflict, Denied, InvalidInput, Unavailable
from overseer.core.permissions import Permission
from overseer.server.services.idempotency import Idempotency
from overseer.server.storage.scope_rows import Part
from overseer.wire.agent import PollRequest, ReleaseRequest
from overseer.wire.deployments import DeploymentCreate
from overseer.wire.rollouts import RolloutView
from overseer.wire.secrets import SecretActivate, SecretRotate, SecretUpdate, SecretView
from tests.integration.services.delivery import Agent, Delivery, b64
from tests.integration.services.world import World, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

WEB = "services: {web: {image: x, environment: {T: '${SECRET:token}'}}}\n"
PINNED = "services: {web: {image: x, environment: {T: '${SECRET:token@1}'}}}\n"
PLAIN = "services: {web: {image: x}}\n"


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


class Fleet:
    """Agents by node, and a secret that they all use in ``shop``/``prod``."""

    def __init__(self, delivery: Delivery, secret: SecretView, agents: dict[str, Agent]) -> None:
        self.delivery, self.secret, self.agents = delivery, secret, agents
        self.id, self.owner = UUID(secret.id), delivery.world.owner

    async def deploy(self, node: str, compose: str = WEB, *, app: str = "shop", environment: str | None = "prod") -> str:
        bundle = await self.delivery.bundle(compose, app=app)
        body = DeploymentCreate(app=app, node=node, environment=environment, bundle=bundle.digest)
        return (await self.delivery.deployments.create_deployment(self.owner, body)).id

    async def update(self, value: str, **fields: object) -> SecretView:
        return (await self.delivery.world.secrets.update(self.owner, self.id, SecretUpdate(value=value, **fields))).view

    async def view(self) -> SecretView:
        return (await self.delivery.world.secrets.get(self.owner, self.id)).view

    async def rollout(self, rollout_id: str | None) -> RolloutView:
        assert rollout_id is not None
        return await self.delivery.rollouts.get_rollout(self.owner, UUID(rollout_id))

    async def states(self, rollout_id: str | None) -> dict[str, str]:
        return {node.node: node.state for node in (await self.rollout(rollout_id)).nodes}

    async def values(self, node: str, state: str = "succeeded") -> list[str]:
        done = await self.agents[node].carry_out(state)
        return [value for values in done.values() for value in values.values()]

    async def running(self) -> dict[str, set[str]]:
        """The value behind the unpinned references of what is current, by node."""
        rows = await self.delivery.world.sql(
            "SELECT n.name, s.version FROM current_deployment c JOIN node n ON n.id = c.node_id"
            " JOIN deployment_secret s ON s.deployment_id = c.id WHERE position('@' IN s.reference) = 0"
        )
        found: dict[str, set[str]] = {}
        for row in rows:
            found.setdefault(row["name"], set()).add(f"v{row['version']}")
        return found

    async def actions(self) -> list[tuple[str, str]]:
        rows = await self.delivery.world.audit()
        told = ("rollout:start", "rollout:succeeded", "rollout:withdrawn")
        return [(row["action"], row["code"]) for row in rows if row["action"] in told]


async def fleet(delivery: Delivery, *nodes: str) -> Fleet:
    secret = await delivery.world.secret("token", "v1")
    made = Fleet(delivery, secret, {node: await delivery.enrolled(node) for node in nodes})
    for node in nodes:
        await made.deploy(node)
        assert await made.values(node) == ["v1"]
    return made


async def test_without_containers_the_active_version_flips_at_once(delivery: Delivery) -> None:
    made = await fleet(delivery)
    after = await made.update("v2")
    assert (after.active_version, after.rollout) == (2, None)
    [first] = [v for v in (await delivery.world.secrets.versions(made.owner, made.id)).items if v.version == 1]
    assert first.readable_until is not None


async def test_the_canary_first_then_the_rest_then_the_flip(delivery: Delivery) -> None:
    await delivery.world.add(Part.NODE, "n3")
    made = await fleet(delivery, "n1", "n2", "n3")
    await made.deploy("n1", app="blog")
    await made.values("n1")
    after = await made.update("v2")
    assert (after.version, after.active_version) == (2, 1)
    assert await made.states(after.rollout) == {"n1": "waiting", "n2": "candidate", "n3": "waiting"}
    assert await made.values("n1") == await made.values("n3") == []
    assert await made.values("n2") == ["v2"]
    assert await made.states(after.rollout) == {"n1": "candidate", "n2": "acknowledged", "n3": "candidate"}
    assert (await made.view()).active_version == 1
    assert await made.values("n3") == ["v2"]
    assert await made.values("n1") == ["v2", "v2"]
    ended = await made.rollout(after.rollout)
    assert (ended.state, ended.error, {node.state for node in ended.nodes}) == ("succeeded", "", {"acknowledged"})
    view = await made.view()
    assert (view.active_version, view.rollout) == (2, None)
    assert await made.running() == {"n1": {"v2"}, "n2": {"v2"}, "n3": {"v2"}}
    assert await made.actions() == [("rollout:start", "nodes:3"), ("rollout:succeeded", "")]
    [versions] = [v for v in (await delivery.world.secrets.versions(made.owner, made.id)).items if v.version == 1]
    assert versions.readable_until is not None


async def test_a_step_is_the_current_deployment_with_one_other_version(delivery: Delivery) -> None:
    made = await fleet(delivery)
    made.agents["n1"] = await delivery.enrolled("n1")
    await delivery.world.secret("other", "o1")
    compose = "services: {web: {image: x, environment: {A: '${SECRET:token}', B: '${SECRET:token@1}', C: '${SECRET:other}'}}}\n"
    first = UUID(await made.deploy("n1", compose))
    await made.agents["n1"].carry_out()
    before = await delivery.deployments.get_deployment(made.owner, first)
    past = '{"plan": "p", "rollback_of": "d", "wait_timeout": 7, "allow_persisting": true}'
    await delivery.world.sql("UPDATE deployment SET options = $1", past)
    after = await made.update("v2")
    [step, *_] = (await delivery.deployments.list_deployments(made.owner)).items
    [row] = await delivery.world.sql("SELECT options FROM deployment WHERE id = $1", UUID(step.id))
    kept = {"wait_timeout": 7, "allow_persisting": True, "rollout": after.rollout, "step": "candidate"}
    assert json.loads(row["options"]) == kept
    assert (step.bundle, step.project, step.app, step.created_by) == (before.bundle, before.project, "shop", "owner")
    assert {r.reference: r.version for r in step.references} == {"token": 2, "token@1": 1, "other": 1}
    [values] = (await made.agents["n1"].carry_out()).values()
    assert values == {"token": "v2", "token@1": "v1", "other": "o1"}


async def test_steps_are_released_on_behalf_of_whoever_activated(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    rotator = await delivery.world.service_account("owner")
    await delivery.world.secrets.rotate(rotator, made.id, SecretRotate())
    await made.values("n1")
    [account] = await delivery.world.sql("SELECT principal_id FROM token WHERE hash = $1", rotator.token_hash)
    rows = await delivery.world.audit()
    released = [r["on_behalf_of"] for r in rows if r["action"] == "deployment:release" and r["version"] == 2]
    ended = [r["on_behalf_of"] for r in rows if r["action"] == "rollout:succeeded"]
    assert released == ended == [account["principal_id"]]


async def test_pinned_references_are_left_alone(delivery: Delivery) -> None:
    made = await fleet(delivery)
    made.agents["n1"] = await delivery.enrolled("n1")
    await made.deploy("n1", PINNED)
    await made.values("n1")
    after = await made.update("v2")
    assert (after.active_version, after.rollout) == (2, None)
    assert await made.values("n1") == []


async def test_immediate_flips_and_touches_no_container(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    after = await made.update("v2", immediate=True)
    assert (after.active_version, after.rollout) == (2, None)
    again = await delivery.world.secrets.activate(made.owner, made.id, SecretActivate(version=1, immediate=True))
    assert again.view.active_version == 1
    assert await made.values("n1") == []


async def test_an_unhealthy_canary_ends_it_and_the_others_never_saw_it(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1", "n2")
    after = await made.update("v2")
    assert await made.values("n1", "failed") == ["v2"]
    ended = await made.rollout(after.rollout)
    assert (ended.state, ended.error) == ("withdrawn", "unhealthy with version 2 on n1")
    assert await made.states(after.rollout) == {"n1": "unhealthy", "n2": "withdrawn"}
    assert await made.values("n1") == ["v1"]
    assert await made.values("n2") == []
    view = await made.view()
    assert (view.version, view.active_version, view.rollout) == (2, 1, None)
    assert await made.actions() == [("rollout:start", "nodes:2"), ("rollout:withdrawn", "unhealthy")]


async def test_unhealthy_after_the_canary_brings_the_old_version_back_everywhere(delivery: Delivery) -> None:
    await delivery.world.add(Part.NODE, "n3", "n4")
    made = await fleet(delivery, "n1", "n2", "n3", "n4")
    after = await made.update("v2")
    assert await made.values("n1") == ["v2"]
    assert await made.values("n2") == ["v2"]
    [work] = (await delivery.agents.poll(made.agents["n4"].again(), PollRequest(wait_seconds=0))).work
    body = ReleaseRequest(nonce=b64(bytes(32)))
    await delivery.agents.release(made.agents["n4"].again(), UUID(work.deployment_id), body)
    assert await made.values("n3", "failed") == ["v2"]
    assert (await made.rollout(after.rollout)).state == "withdrawn"
    assert [await made.values(node) for node in ("n1", "n2", "n3")] == [["v1"]] * 3
    # n4 was given the values before: it ends that, then goes back.
    assert set(await made.agents["n4"].carry_out()) == {work.deployment_id}
    assert await made.values("n4") == ["v1"]
    assert await made.running() == {node: {"v1"} for node in ("n1", "n2", "n3", "n4")}
    assert [await made.values(node) for node in made.agents] == [[]] * 4


async def test_a_step_that_no_agent_has_seen_is_dropped(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    after = await made.update("v2")
    ended = await delivery.rollouts.withdraw_rollout(made.owner, UUID(after.rollout or ""))
    assert (ended.state, ended.error) == ("withdrawn", "withdrawn by owner")
    assert [step.state for node in ended.nodes for step in node.steps] == ["superseded"]
    assert await made.values("n1") == []
    with pytest.raises(Conflict, match="ended already"):
        await delivery.rollouts.withdraw_rollout(made.owner, UUID(after.rollout or ""))


async def test_one_rollout_at_a_time_and_the_refusal_names_it(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    after = await made.update("v2")
    secrets = delivery.world.secrets
    for call in (
        secrets.update(made.owner, made.id, SecretUpdate(value="v3")),
        secrets.update(made.owner, made.id, SecretUpdate(value="v3", immediate=True)),
        secrets.rotate(made.owner, made.id, SecretRotate()),
        secrets.activate(made.owner, made.id, SecretActivate(version=1)),
    ):
        with pytest.raises(Conflict, match=after.rollout):
            await call
    kept = await secrets.update(made.owner, made.id, SecretUpdate(value="v3", activate=False))
    assert (kept.view.version, kept.view.active_version, kept.view.rollout) == (3, 1, after.rollout)


async def test_two_rotations_at_once_start_one_rollout(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    calls = [delivery.world.secrets.rotate(delivery.world.owner, made.id, SecretRotate()) for _ in range(4)]
    answers = await together(*calls)
    assert sorted(type(one).__name__ for one in answers) == ["Conflict"] * 3 + ["Tagged"]
    assert len(await delivery.world.sql("SELECT 1 FROM rollout")) == 1
    assert (await made.view()).version == 2


async def test_a_repeated_request_starts_one_rollout(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    key = Idempotency("k", "POST /api/secrets/{secret_id}/rotate", b"{}")
    first = await delivery.world.secrets.rotate(made.owner, made.id, SecretRotate(), None, key)
    again = await delivery.world.secrets.rotate(made.owner, made.id, SecretRotate(), None, key)
    assert first.view == again.view
    assert first.view.rollout is not None
    assert len(await delivery.world.sql("SELECT 1 FROM deployment")) == 2


async def test_the_entity_tag_changes_with_the_rollout(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    secrets = delivery.world.secrets
    await secrets.update(made.owner, made.id, SecretUpdate(value="v2", activate=False))
    tags = [(await secrets.get(made.owner, made.id)).etag]
    started = await secrets.activate(made.owner, made.id, SecretActivate(version=2))
    tags.append(started.etag)
    await delivery.rollouts.withdraw_rollout(made.owner, UUID(started.view.rollout or ""))
    tags.append((await secrets.get(made.owner, made.id)).etag)
    assert len(set(tags)) == 3


async def test_a_new_deployment_gets_the_candidate_where_the_node_has_it(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1", "n2")
    await made.update("v2")
    await made.deploy("n1", app="blog")
    await made.deploy("n2", app="blog")
    assert sorted(await made.values("n2")) == ["v1"]
    assert sorted(await made.values("n1")) == ["v2", "v2"]
    # n2's new deployment is followed too, before the flip.
    assert (await made.view()).active_version == 1
    assert await made.values("n2") == ["v2", "v2"]
    assert (await made.view()).active_version == 2


async def test_a_node_that_gets_its_first_deployment_meanwhile_is_reached_too(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    made.agents["n2"] = await delivery.enrolled("n2")
    after = await made.update("v2")
    await made.deploy("n2")
    assert await made.values("n2") == ["v1"]
    assert await made.values("n1") == ["v2"]
    assert await made.states(after.rollout) == {"n1": "acknowledged", "n2": "candidate"}
    assert await made.values("n2") == ["v2"]
    assert (await made.rollout(after.rollout)).state == "succeeded"


async def test_a_new_deployment_with_the_candidate_goes_back_too(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1", "n2")
    after = await made.update("v2")
    assert await made.values("n1") == ["v2"]
    await made.deploy("n1", app="blog")
    assert await made.values("n2", "failed") == ["v2"]
    assert (await made.rollout(after.rollout)).state == "withdrawn"
    assert await made.values("n1") == ["v1", "v1"]
    assert await made.running() == {"n1": {"v1"}, "n2": {"v1"}}


async def test_a_deployment_of_somebody_is_never_undone_by_a_step(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    newer = WEB.replace("image: x", "image: y")
    theirs = await made.deploy("n1", newer)
    await made.update("v2")
    queued = (await delivery.deployments.list_deployments(made.owner, state="queued")).items
    assert [one.id for one in queued] == [theirs]
    assert await made.values("n1") == ["v1"]
    assert await made.values("n1") == ["v2"]
    newest = (await delivery.deployments.list_deployments(made.owner)).items
    assert newest[0].bundle == newest[1].bundle
    assert (await made.view()).active_version == 2


async def test_an_undeployed_node_leaves_the_rollout(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1", "n2")
    after = await made.update("v2")
    body = DeploymentCreate(app="shop", node="n1", environment="prod", action="undeploy")
    await delivery.deployments.create_deployment(made.owner, body)
    await made.values("n1")
    assert await made.states(after.rollout) == {"n1": "withdrawn", "n2": "candidate"}
    assert await made.values("n2") == ["v2"]
    assert (await made.rollout(after.rollout)).state == "succeeded"


async def test_a_node_that_left_and_came_back_is_reached(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1", "n2")
    after = await made.update("v2")
    body = DeploymentCreate(app="shop", node="n1", environment="prod", action="undeploy")
    await delivery.deployments.create_deployment(made.owner, body)
    await made.values("n1")
    await made.deploy("n1")
    assert await made.values("n1") == ["v1"]
    assert await made.states(after.rollout) == {"n1": "waiting", "n2": "candidate"}
    assert await made.values("n2") == ["v2"]
    assert (await made.view()).active_version == 1
    assert await made.values("n1") == ["v2"]
    assert (await made.rollout(after.rollout)).state == "succeeded"


async def test_a_revoked_node_leaves_the_rollout(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1", "n2")
    after = await made.update("v2")
    await delivery.nodes.revoke_node(made.owner, "n1")
    await delivery.housekeeping.run()
    assert await made.states(after.rollout) == {"n1": "withdrawn", "n2": "candidate"}
    assert await made.values("n2") == ["v2"]
    assert ((await made.rollout(after.rollout)).state, (await made.view()).active_version) == ("succeeded", 2)


async def test_only_revoked_nodes_hold_nothing_up(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    await delivery.nodes.revoke_node(made.owner, "n1")
    assert (await made.update("v2")).active_version == 2


async def test_an_agent_that_goes_silent_is_unhealthy(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    after = await made.update("v2")
    await delivery.agents.poll(made.agents["n1"].again(), PollRequest(wait_seconds=0))
    await delivery.world.sql(
        "UPDATE deployment SET state = 'applying', lease_until = now() - interval '1 s' WHERE state = 'queued'"
    )
    await delivery.housekeeping.run()
    ended = await made.rollout(after.rollout)
    assert (ended.state, ended.nodes[0].state) == ("withdrawn", "unhealthy")
    assert [(step.step, step.state) for step in ended.nodes[0].steps] == [("candidate", "failed"), ("back", "queued")]
    assert await made.values("n1") == ["v1"]


async def test_a_step_that_nobody_takes_is_not_waited_for_for_ever(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    after = await made.update("v2")
    await delivery.world.sql("UPDATE rollout_node SET started_at = now() - interval '9 minutes'")
    await delivery.housekeeping.run()
    assert (await made.rollout(after.rollout)).state == "running"
    await delivery.world.sql("UPDATE rollout_node SET started_at = now() - interval '11 minutes'")
    await delivery.housekeeping.run()
    ended = await made.rollout(after.rollout)
    assert (ended.state, ended.error) == ("withdrawn", "unhealthy with version 2 on n1")
    assert ended.nodes[0].steps[0].state == "failed"
    assert "did not take" in ended.nodes[0].steps[0].error


async def test_a_deleted_secret_takes_its_rollout_with_it(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    after = await made.update("v2")
    await delivery.world.secrets.delete(made.owner, made.id, force=True)
    assert (await delivery.agents.poll(made.agents["n1"].again(), PollRequest(wait_seconds=0))).work == []
    with pytest.raises(Unavailable):
        await made.rollout(after.rollout)
    await delivery.housekeeping.run()
    assert (await made.actions())[-1] == ("rollout:withdrawn", "secret_deleted")


async def test_advancing_twice_or_at_once_changes_nothing(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1", "n2")
    await made.update("v2")
    for _ in range(2):
        await together(*[delivery.housekeeping.run() for _ in range(4)])
    assert len(await delivery.world.sql("SELECT 1 FROM deployment WHERE options ? 'rollout'")) == 1
    assert await made.values("n1") == ["v2"]
    await together(*[delivery.housekeeping.run() for _ in range(4)])
    assert len(await delivery.world.sql("SELECT 1 FROM deployment WHERE options ? 'rollout'")) == 2
    assert await made.values("n2") == ["v2"]
    assert [action for action, _ in await made.actions()].count("rollout:succeeded") == 1


async def test_reports_at_once_and_deployments_meanwhile_come_to_an_end(delivery: Delivery) -> None:
    nodes = [f"m{number}" for number in range(6)]
    await delivery.world.add(Part.NODE, *nodes)
    made = await fleet(delivery, *nodes)
    after = await made.update("v2")
    await made.values("m0")
    others = [made.deploy(node, app="blog") for node in nodes]
    answers = await together(*[made.values(node) for node in nodes], *others, delivery.housekeeping.run())
    assert [one for one in answers if isinstance(one, BaseException)] == []
    for _ in range(3):
        for node in nodes:
            await made.values(node)
    assert (await made.rollout(after.rollout)).state == "succeeded"
    assert await made.running() == {node: {"v2"} for node in nodes}


async def test_two_secrets_of_one_place_take_turns(delivery: Delivery) -> None:
    made = await fleet(delivery)
    made.agents["n1"] = await delivery.enrolled("n1")
    other = await delivery.world.secret("other", "o1")
    await made.deploy("n1", "services: {web: {image: x, environment: {A: '${SECRET:token}', C: '${SECRET:other}'}}}\n")
    await made.values("n1")
    await made.update("v2")
    await delivery.world.secrets.update(made.owner, UUID(other.id), SecretUpdate(value="o2"))
    assert sorted(await made.values("n1")) == ["o1", "v2"]
    assert sorted(await made.values("n1", "failed")) == ["o2", "v2"]
    assert sorted(await made.values("n1")) == ["o1", "v2"]
    assert (await made.view()).active_version == 2
    assert (await delivery.world.secrets.get(made.owner, UUID(other.id))).view.active_version == 1


async def test_who_may_see_and_withdraw(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1", "n2")
    after = await made.update("v2")
    rollout_id = UUID(after.rollout or "")
    stranger = await delivery.world.service_account("owner", app="blog")
    assert (await delivery.rollouts.list_rollouts(stranger)).items == []
    with pytest.raises(Unavailable):
        await delivery.rollouts.get_rollout(delivery.world.caller(stranger.token_hash), rollout_id)
    viewer = await delivery.world.service_account(frozenset({Permission.SECRET_LIST}))
    await delivery.world.bind(viewer, frozenset({Permission.DEPLOYMENT_LIST}), node="n2")
    [seen] = (await delivery.rollouts.list_rollouts(viewer)).items
    assert ([node.node for node in seen.nodes], seen.node_count) == (["n2"], 2)
    with pytest.raises(Denied):
        await delivery.rollouts.withdraw_rollout(delivery.world.caller(viewer.token_hash), rollout_id)
    assert (await made.rollout(after.rollout)).state == "running"


async def test_pages_of_rollouts_are_complete(delivery: Delivery) -> None:
    made = await fleet(delivery, "n1")
    for number in range(5):
        after = await made.update(f"x{number}")
        await delivery.rollouts.withdraw_rollout(made.owner, UUID(after.rollout or ""))
    seen: list[str] = []
    cursor = None
    while True:
        page = await delivery.rollouts.list_rollouts(made.owner, state="withdrawn", secret=made.id, cursor=cursor, limit=2)
        seen += [one.id for one in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 5
    for wrong in ({"state": "x"}, {"cursor": "x"}, {"limit": 0}):
        with pytest.raises(InvalidInput):
            await delivery.rollouts.list_rollouts(delivery.world.owner, **wrong)
