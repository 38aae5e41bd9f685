"""Plans for a Swarm: services are updated where their tasks are made of something else, and secrets are made and removed."""

from __future__ import annotations

import pytest

from overseer.core.errors import Conflict, InvalidInput
from overseer.wire.deployments import BundleCreate, BundleFile, DeploymentCreate
from overseer.wire.plans import PlanCreate, PlanView
from overseer.wire.secrets import SecretUpdate
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

STACK = """\
services:
  web:
    image: shop:1
    secrets: [db-password]
    deploy: {replicas: 2}
  worker:
    image: shop:1
    environment: {KEY: "${SECRET:api-key}"}
  idle:
    image: shop:1
secrets:
  db-password: {external: true}
"""


@pytest.fixture
async def delivery(world: World) -> Delivery:
    await world.secret("db-password", "cAnArY-1", app="shop")
    await world.secret("api-key", "cAnArY-2", app="shop")
    return Delivery(world)


async def running(delivery: Delivery, target: str = "swarm") -> None:
    agent = await delivery.enrolled()
    await delivery.deploy(STACK, target=target)
    await agent.carry_out()


def asked(compose: str, target: str | None = None) -> PlanCreate:
    stack = BundleCreate(files=[BundleFile(path="compose.yaml", content=compose)])
    return PlanCreate(app="shop", environment="prod", node="n1", stack=stack, target=target)


async def planned(delivery: Delivery, compose: str = STACK, target: str | None = None) -> PlanView:
    return await delivery.plans.create_plan(delivery.world.owner, asked(compose, target))


def effects(plan: PlanView) -> dict[str, str]:
    return {one.service: one.effect + ("" if one.certain else "?") for one in plan.services}


async def test_secrets_are_made_for_external_references_alone(delivery: Delivery) -> None:
    plan = await planned(delivery, target="swarm")
    assert effects(plan) == {"idle": "create", "web": "create", "worker": "create"}
    assert [(one.secret, one.version, one.change) for one in plan.swarm_secrets] == [("db-password", 1, "create")]
    assert plan.swarm_secrets[0].name.startswith("shop-prod_db-password.v1.")
    assert (await planned(delivery)).swarm_secrets == []


async def test_a_new_version_updates_a_service_in_whatever_form_it_arrives(delivery: Delivery) -> None:
    await running(delivery)
    assert (await planned(delivery)).changes is False
    for row in await delivery.world.sql("SELECT id FROM secret"):
        await delivery.world.secrets.update(delivery.world.owner, row["id"], SecretUpdate(value="cAnArY-3", immediate=True), None)
    plan = await planned(delivery)
    assert effects(plan) == {"idle": "nothing", "web": "update", "worker": "update"}
    assert [one.because for one in plan.services if one.service != "idle"] == [
        ["db-password 1 -> 2: it is another secret", "its tasks are replaced: 1 at a time, each old one stops first"],
        ["api-key 1 -> 2: the text that holds it is another", "its tasks are replaced: 1 at a time, each old one stops first"],
    ]
    assert [(one.version, one.change) for one in plan.swarm_secrets] == [(1, "remove"), (2, "create")]


#: A change of the file, and what becomes of the service.
CHANGES = (
    ("replicas: 2", "replicas: 3", "update"),
    ("replicas: 2", "replicas: 2, labels: {a: b}", "nothing"),
    ("replicas: 2", "replicas: 2, update_config: {parallelism: 0}", "nothing"),
    ("replicas: 2", "replicas: 2, resources: {limits: {memory: 1g}}", "update"),
    ("image: shop:1\n    secrets", "image: shop:2\n    secrets", "update"),
    ("image: shop:1\n    secrets", "image: shop:1\n    restart: always\n    secrets", "nothing"),
    ("image: shop:1\n    secrets", "image: shop:1\n    ports: ['80:80']\n    secrets", "update"),
    ("image: shop:1\n    secrets", "image: shop:1\n    depends_on: [idle]\n    secrets", "nothing"),
)


async def test_tasks_are_replaced_where_they_are_made_of_something_else(delivery: Delivery) -> None:
    await running(delivery)
    for old, new, effect in CHANGES:
        assert old in STACK
        plan = await planned(delivery, STACK.replace(old, new))
        assert effects(plan) == {"idle": "nothing", "web": effect, "worker": "nothing"}, new
        [web] = [one for one in plan.services if one.service == "web"]
        replaced = any("its tasks are replaced" in reason for reason in web.because)
        assert replaced is (effect == "update" and "replicas: 3" not in new), new
        assert plan.changes is ("depends_on" not in new), new


async def test_what_the_node_would_refuse_is_noted_with_its_place(delivery: Delivery) -> None:
    more = "    build: .\n    volumes: ['/etc/secrets/api-key:/run/key:ro', './conf:/conf:ro']\n"
    stack = BundleCreate(
        files=[
            BundleFile(path="compose.yaml", content=STACK.replace("    secrets: [db", f"{more}    secrets: [db")),
            BundleFile(path="conf/a", content="a"),
        ]
    )
    body = PlanCreate(app="shop", environment="prod", node="n1", stack=stack, target="swarm")
    notes = (await delivery.plans.create_plan(delivery.world.owner, body)).notes
    assert [note.split(": ")[0] for note in notes] == [
        "the node would refuse compose.yaml:5:15",
        "the node would refuse services.web.build",
        "the node would refuse services.web",
    ]


async def test_the_target_is_that_of_what_runs_and_no_other(delivery: Delivery) -> None:
    await running(delivery)
    assert (await planned(delivery)).target == "swarm"
    with pytest.raises(Conflict, match="undeploy it before it is deployed with --target compose"):
        await planned(delivery, target="compose")
    with pytest.raises(InvalidInput) as caught:
        await planned(delivery, target="kubernetes")
    assert [(one.place, one.code) for one in caught.value.problems] == [("body.target", "bad_target")]


async def test_a_deployment_keeps_to_a_plan_for_its_target_alone(delivery: Delivery) -> None:
    plan = await planned(delivery, target="swarm")
    bundle = await delivery.bundle(STACK)
    assert bundle.digest == plan.bundle
    body = DeploymentCreate(app="shop", node="n1", environment="prod", bundle=bundle.digest, plan=plan.digest)
    with pytest.raises(Conflict) as caught:
        await delivery.deployments.create_deployment(delivery.world.owner, body)
    assert [one.rule for one in caught.value.problems if one.place == "target"] == ["swarm in the plan, compose now"]
    body = DeploymentCreate(
        app="shop", node="n1", environment="prod", bundle=bundle.digest, plan=plan.digest, target="swarm"
    )
    assert (await delivery.deployments.create_deployment(delivery.world.owner, body)).plan == plan.digest
