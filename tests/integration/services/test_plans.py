"""Plans over a real database: versions, effects, what may be seen, and deployments that are pinned to one."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from overseer.compose.bundle import Bundle
from overseer.compose.references import BundleScan, find_references
from overseer.core.errors import Conflict, Denied, InvalidInput, ReferencesRefused, TooLarge, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services import deployment_making, plan_service
from overseer.wire.deployments import BundleCreate, BundleFile, DeploymentCreate
from overseer.wire.plans import PlanCreate, PlanView
from overseer.wire.secrets import SecretUpdate
from tests.integration.services.delivery import Agent, Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SHOP = """\
services:
  web:
    image: shop:1
    environment:
      DATABASE_PASSWORD: ${SECRET:db-password}
  reader:
    image: shop:1
    secrets: [db_password]
  told:
    image: shop:1
    labels: {overseer.reload: "signal:SIGHUP"}
    secrets: [db_password]
  single:
    image: shop:1
    volumes: ["/etc/secrets/api-key:/etc/app/key:ro"]
  idle:
    image: shop:1
secrets:
  db_password: {external: true, name: db-password}
"""


@pytest.fixture
async def delivery(world: World) -> Delivery:
    await world.secret("db-password", "cAnArY-1", app="shop")
    await world.secret("api-key", "cAnArY-2", app="shop")
    return Delivery(world)


async def running(delivery: Delivery, compose: str = SHOP, **files: str) -> Agent:
    """What the files say runs on ``n1``."""
    agent = await delivery.enrolled()
    bundle = await delivery.bundle(compose, **files)
    body = DeploymentCreate(app="shop", node="n1", environment="prod", bundle=bundle.digest)
    await delivery.deployments.create_deployment(delivery.world.owner, body)
    await agent.carry_out()
    return agent


async def planned(delivery: Delivery, compose: str | None = SHOP, *, caller: Caller | None = None, **files: str) -> PlanView:
    stack = None
    if compose is not None:
        sent = [BundleFile(path="compose.yaml", content=compose)]
        sent += [BundleFile(path=name.replace("_", "."), content=content) for name, content in files.items()]
        stack = BundleCreate(files=sent)
    body = PlanCreate(app="shop", environment="prod", node="n1", stack=stack)
    return await delivery.plans.create_plan(caller or delivery.world.owner, body)


async def new_version(delivery: Delivery, name: str) -> None:
    [row] = await delivery.world.sql("SELECT id FROM secret WHERE name = $1", name)
    await delivery.world.secrets.update(delivery.world.owner, row["id"], SecretUpdate(value="cAnArY-3", immediate=True), None)


def effects(plan: PlanView) -> dict[str, str]:
    return {one.service: one.effect + ("" if one.certain else "?") for one in plan.services}


async def test_where_nothing_runs_everything_is_created(delivery: Delivery) -> None:
    plan = await planned(delivery)
    assert set(effects(plan).values()) == {"create"}
    assert [(r.reference, r.change, r.before, r.after) for r in plan.references] == [
        ("api-key", "added", None, 1),
        ("db-password", "added", None, 1),
    ]
    assert (plan.running, plan.changes, plan.project, plan.format) == (None, True, "shop-prod", 1)
    with pytest.raises(Conflict):
        await planned(delivery, None)


async def test_what_runs_already_changes_nothing(delivery: Delivery) -> None:
    await running(delivery)
    plan = await planned(delivery, None)
    assert set(effects(plan).values()) == {"nothing"}
    assert {r.change for r in plan.references} == {"same"}
    assert (plan.changes, plan.notes) == (False, [])
    assert plan.digest == (await planned(delivery)).digest
    assert not (await planned(delivery, SHOP + "# a remark\n")).changes


async def test_a_new_version_does_to_each_service_what_its_form_asks_for(delivery: Delivery) -> None:
    await running(delivery)
    await new_version(delivery, "db-password")
    await new_version(delivery, "api-key")
    plan = await planned(delivery, None)
    assert effects(plan) == {
        "web": "recreate",
        "reader": "nothing",
        "told": "reload",
        "single": "restart",
        "idle": "nothing",
    }
    assert plan.changes
    assert [(r.reference, r.change, r.before, r.after, r.persists) for r in plan.references] == [
        ("api-key", "changed", 1, 2, False),
        ("db-password", "changed", 1, 2, True),
    ]


async def test_a_file_that_changes_in_place_is_a_change(delivery: Delivery) -> None:
    compose = "services: {reader: {image: x, secrets: [p]}}\nsecrets: {p: {external: true, name: db-password}}\n"
    await running(delivery, compose)
    await new_version(delivery, "db-password")
    plan = await planned(delivery, None)
    assert (effects(plan), plan.changes) == ({"reader": "nothing"}, True)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("{a: {image: x}}", "{a: {image: y}}", {"a": "recreate"}),
        ("{a: {image: x}, b: {image: x}}", "{a: {image: x}}", {"a": "nothing", "b": "remove"}),
        ("{a: {image: x}}", "{a: {image: x}, b: {image: x}}", {"a": "nothing", "b": "create"}),
        ("{a: {image: x, environment: [K=v]}}", "{a: {image: x, environment: {K: v}}}", {"a": "nothing"}),
        ("{a: {image: x, depends_on: [b]}, b: {image: x}}", "{a: {image: x}, b: {image: x}}", {"a": "nothing", "b": "nothing"}),
        ("{a: {image: x}}", "{a: {image: x, scale: 2}}", {"a": "recreate?"}),
        ("{a: {image: x, build: .}}", "{a: {image: x, build: ./b}}", {"a": "recreate?"}),
        ("{a: {image: 'x:${TAG}'}}", "{a: {image: 'x:${TAG:-1}'}}", {"a": "recreate?"}),
        (
            "{a: {image: x, extends: b}, b: {image: x}}",
            "{a: {image: x, extends: b}, b: {image: y}}",
            {"a": "recreate?", "b": "recreate"},
        ),
        (
            "{a: {image: x}, b: {image: x, network_mode: 'service:a'}, c: {image: x, depends_on: {a: {restart: true}}}}",
            "{a: {image: y}, b: {image: x, network_mode: 'service:a'}, c: {image: x, depends_on: {a: {restart: true}}}}",
            {"a": "recreate", "b": "recreate?", "c": "restart?"},
        ),
        ("{a: {image: x, profiles: [p]}, b: {image: x}}", "{a: {image: y, profiles: [p]}, b: {image: x}}", {"b": "nothing"}),
        ("{a: {image: x, x-note: 1}}", "{a: {image: x, x-note: 2}}", {"a": "nothing"}),
    ],
)
async def test_definitions_are_compared_as_compose_does(
    delivery: Delivery, before: str, after: str, expected: dict[str, str]
) -> None:
    await running(delivery, f"services: {before}\n")
    assert effects(await planned(delivery, f"services: {after}\n")) == expected


async def test_env_files_variables_and_mounted_files_count(delivery: Delivery) -> None:
    compose = """\
services:
  reads: {image: x, env_file: app.env}
  varies: {image: "x:${TAG}"}
  mounts: {image: x, volumes: ["./site.conf:/etc/site.conf:ro"]}
  other: {image: x}
"""
    await running(delivery, compose, app_env="A=1\n", _env="TAG=1\n", site_conf="one\n")
    assert not (await planned(delivery, compose, app_env="# said\nA=1\n", _env="TAG=1\n", site_conf="one\n")).changes
    plan = await planned(delivery, compose, app_env="A=2\n", _env="TAG=2\n", site_conf="two\n")
    assert effects(plan) == {"reads": "recreate", "varies": "recreate?", "mounts": "nothing?", "other": "nothing"}
    assert plan.changes


async def test_overrides_and_includes_are_followed(delivery: Delivery) -> None:
    main = "include: [more.yaml]\nservices: {a: {image: x}}\n"
    names = {"compose_override_yaml": "services: {a: {labels: {k: v}}}\n", "more_yaml": "services: {b: {image: x}}\n"}
    await running(delivery, main, **names)
    assert not (await planned(delivery, main, **names)).changes
    changed = {"compose_override_yaml": "services: {a: {labels: {k: w}}}\n", "more_yaml": "services: {b: {image: y}}\n"}
    assert effects(await planned(delivery, main, **changed)) == {"a": "recreate?", "b": "recreate?"}


async def test_another_secret_of_that_name_counts_even_with_the_same_version(delivery: Delivery) -> None:
    await running(delivery)
    await delivery.world.secret("db-password", "cAnArY-4", app="shop", environment="prod")
    plan = await planned(delivery, None)
    [reference] = [r for r in plan.references if r.name == "db-password"]
    assert (reference.change, reference.before, reference.after, reference.replaced) == ("changed", 1, 1, True)
    assert reference.scope is not None
    assert (reference.scope.app, reference.scope.environment) == ("shop", "prod")
    assert [(s.scope.app, s.scope.environment) for s in reference.shadows] == [("shop", None)]
    assert effects(plan)["web"] == "recreate"


async def test_the_digest_is_that_of_the_documented_content_and_no_value_is_told(delivery: Delivery) -> None:
    plan = await planned(delivery)
    content = {
        "format": 1,
        "app": "shop",
        "environment": "prod",
        "node": "n1",
        "project": "shop-prod",
        "bundle": plan.bundle,
        "references": {r.reference: {"secret": r.secret_id, "version": r.after} for r in plan.references},
        "effects": {s.service: {"effect": s.effect, "certain": s.certain} for s in plan.services},
    }
    said = json.dumps(content, sort_keys=True, separators=(",", ":")).encode("ascii")
    assert plan.digest == hashlib.sha256(said).hexdigest()
    assert b"cAnArY" not in msgspec.json.encode(plan)
    assert plan.bundle == (await delivery.bundle(SHOP)).digest


async def test_findings_of_lint_are_told(delivery: Delivery) -> None:
    plan = await planned(delivery)
    assert {("OVS010", "note", "web"), ("OVS006", "note", "")} <= {(f.rule, f.severity, f.service) for f in plan.findings} | {
        (f.rule, f.severity, "") for f in plan.findings
    }


async def test_a_failed_deployment_and_an_open_one_are_noted(delivery: Delivery) -> None:
    agent = await running(delivery)
    await delivery.deploy(SHOP)
    await agent.carry_out("failed")
    assert len((await planned(delivery, None)).notes) == 1
    await delivery.deploy(SHOP)
    assert len((await planned(delivery, None)).notes) == 2


async def test_an_undeployment_leaves_nothing_running(delivery: Delivery) -> None:
    agent = await running(delivery)
    body = DeploymentCreate(app="shop", node="n1", environment="prod", action="undeploy")
    await delivery.deployments.create_deployment(delivery.world.owner, body)
    await agent.carry_out()
    assert (await planned(delivery)).running is None


# -- who may see what


async def test_a_viewer_plans_what_is_stored_and_leaves_one_row(delivery: Delivery) -> None:
    await running(delivery)
    viewer = await delivery.world.service_account("viewer", app="shop")
    await planned(delivery, None, caller=viewer)
    rows = await delivery.world.audit(viewer)
    assert [(r["action"], r["outcome"], r["resource_name"]) for r in rows] == [("plan:create", "allowed", "shop")]


async def test_files_of_ones_own_need_the_permission_to_write_bundles(delivery: Delivery) -> None:
    viewer = await delivery.world.service_account("viewer", app="shop")
    with pytest.raises(Denied):
        await planned(delivery, caller=viewer)
    assert [r["outcome"] for r in await delivery.world.audit(viewer)] == ["denied"]
    developer = await delivery.world.service_account("developer", app="shop")
    assert (await planned(delivery, caller=developer)).changes
    assert await delivery.world.sql("SELECT FROM bundle") == []


async def test_hidden_secrets_are_refused_like_missing_ones_with_their_places(delivery: Delivery) -> None:
    await delivery.world.secret("infra-token", "cAnArY")
    compose = "services: {a: {image: x, environment: {A: '${SECRET:infra-token}', B: '${SECRET:nothing}'}}}\n"
    bundle = await delivery.bundle(compose)
    caller = await delivery.world.service_account(frozenset({Permission.DEPLOYMENT_LIST}), app="shop")
    await delivery.world.bind(caller, frozenset({Permission.SECRET_LIST}), app="blog")
    body = PlanCreate(app="shop", environment="prod", node="n1", bundle=bundle.digest)
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.plans.create_plan(caller, body)
    hidden, missing = caught.value.problems
    assert (hidden.place, missing.place) == ("compose.yaml:1:44", "compose.yaml:1:72")
    assert hidden.rule.replace("infra-token", "nothing") == missing.rule
    assert {hidden.code, missing.code} == {"unavailable"}
    rows = [(r["action"], r["resource_name"], r["outcome"]) for r in await delivery.world.audit(caller)]
    assert rows == [
        ("plan:create", "shop", "failed"),
        ("plan:create", "infra-token", "denied"),
        ("plan:create", "nothing", "failed"),
    ]


async def test_a_shadowed_secret_is_told_to_those_alone_who_may_list_it(delivery: Delivery) -> None:
    await delivery.world.secret("db-password", "cAnArY", environment="prod")
    await running(delivery)
    viewer = await delivery.world.service_account("viewer", app="shop")
    plan = await planned(delivery, None, caller=viewer)
    assert [r.shadows for r in plan.references] == [[], []]
    plan = await planned(delivery, None)
    assert [len(r.shadows) for r in plan.references] == [0, 1]


async def test_a_stranger_learns_nothing(delivery: Delivery) -> None:
    stranger = await delivery.world.service_account("viewer", app="blog")
    with pytest.raises(Unavailable):
        await planned(delivery, caller=stranger)


async def test_a_stack_and_a_bundle_together_are_refused(delivery: Delivery) -> None:
    body = PlanCreate(app="shop", node="n1", bundle="0" * 64, stack=BundleCreate(files=[]))
    with pytest.raises(InvalidInput):
        await delivery.plans.create_plan(delivery.world.owner, body)
    with pytest.raises(InvalidInput):
        await delivery.plans.create_plan(delivery.world.owner, PlanCreate(app="shop", node="n1", bundle="0" * 64))


async def test_aliases_that_expand_to_too_much_are_refused(delivery: Delivery) -> None:
    names = ", ".join(f"K{number}: *a" for number in range(400))
    compose = f"x-a: &a {'x' * 100_000}\nservices: {{a: {{image: x, environment: {{{names}}}}}}}\n"
    caller = delivery.world.caller(delivery.world.owner.token_hash)
    with pytest.raises(TooLarge, match="too much text"):
        await planned(delivery, compose, caller=caller)
    assert [(r["action"], r["outcome"]) for r in await delivery.world.audit(caller)] == [("plan:create", "failed")]
    services = ", ".join(f"s{number}: {{image: x, env_file: app.env}}" for number in range(400))
    with pytest.raises(TooLarge, match="too much text"):
        await planned(delivery, f"services: {{{services}}}\n", app_env=f"A={'x' * 100_000}\n")


async def test_what_runs_may_change_while_a_plan_is_made(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = await running(delivery)

    async def slowly(content: Bundle, *, allow_persisting: bool) -> BundleScan:
        monkeypatch.undo()
        await delivery.deploy(SHOP)
        await agent.carry_out()
        return find_references(content, allow_persisting=allow_persisting)

    monkeypatch.setattr(plan_service, "scan_bundle", slowly)
    with pytest.raises(Conflict, match="plan again"):
        await planned(delivery, None)
    plan = await planned(delivery, None)
    monkeypatch.setattr(deployment_making, "scan_bundle", slowly)
    with pytest.raises(Conflict, match="plan again"):
        await pinned(delivery, plan)


# -- deployments that are pinned


async def pinned(delivery: Delivery, made: PlanView, **fields: object) -> object:
    await delivery.bundle(SHOP)
    body = DeploymentCreate(app="shop", node="n1", environment="prod", bundle=made.bundle, plan=made.digest)
    return await delivery.deployments.create_deployment(delivery.world.owner, msgspec.structs.replace(body, **fields))


async def test_a_deployment_keeps_to_its_plan(delivery: Delivery) -> None:
    plan = await planned(delivery)
    view = await pinned(delivery, plan)
    assert view.plan == plan.digest  # type: ignore[attr-defined]


async def test_a_plan_that_does_not_hold_any_more_is_refused_with_what_changed(delivery: Delivery) -> None:
    await running(delivery)
    plan = await planned(delivery, None)
    await new_version(delivery, "db-password")
    with pytest.raises(Conflict) as caught:
        await pinned(delivery, plan)
    assert [(p.place, p.rule) for p in caught.value.problems] == [
        ("references.db-password", "version 1 in the plan, version 2 now"),
        ("effects.told", "nothing in the plan, reload now"),
        ("effects.web", "nothing in the plan, recreate now"),
    ]
    assert len(await delivery.world.sql("SELECT FROM deployment")) == 1
    other = await delivery.bundle("services: {a: {image: x}}\n")
    with pytest.raises(Conflict) as caught:
        await pinned(delivery, plan, bundle=other.digest)
    assert caught.value.problems[0].place == "bundle"


async def test_a_plan_is_not_kept_while_another_deployment_is_open(delivery: Delivery) -> None:
    await running(delivery)
    plan = await planned(delivery, None)
    await delivery.deploy(SHOP)
    with pytest.raises(Conflict) as caught:
        await pinned(delivery, plan)
    assert [p.code for p in caught.value.problems] == ["open_deployment"]


async def test_an_unknown_plan_and_one_for_several_nodes_are_refused(delivery: Delivery) -> None:
    plan = await planned(delivery)
    with pytest.raises(Conflict) as caught:
        await pinned(delivery, plan, plan="0" * 64)
    assert [p.code for p in caught.value.problems] == ["unknown_plan"]
    with pytest.raises(InvalidInput):
        await pinned(delivery, plan, node=None, nodes=["n1"])
    assert await delivery.world.sql("SELECT FROM deployment") == []


async def test_old_plans_are_forgotten(delivery: Delivery) -> None:
    plan = await planned(delivery)
    await delivery.world.sql("UPDATE plan SET created_at = now() - interval '31 days'")
    await planned(delivery, "services: {a: {image: x}}\n")
    left = {row["digest"] for row in await delivery.world.sql("SELECT digest FROM plan")}
    assert len(left) == 1
    assert plan.digest not in left


async def test_asked_as_for_a_deployment_it_refuses_what_the_deployment_would_and_uses_nothing(delivery: Delivery) -> None:
    await delivery.world.secret("fields", '{"there": "cAnArY"}', app="shop")
    compose = (
        "services:\n  a:\n    image: x\n    labels: {L: '${SECRET:api-key}'}\n"
        "    environment: ['F=${SECRET:fields#gone}', 'M=${SECRET:nothing}']\n"
    )
    stack = BundleCreate(files=[BundleFile(path="compose.yaml", content=compose)])
    asked = PlanCreate(app="shop", environment="prod", node="n1", stack=stack, deploying=True)
    caller = await delivery.world.service_account(
        frozenset({Permission.DEPLOYMENT_LIST, Permission.SECRET_LIST, Permission.APP_BUNDLE_WRITE}), app="shop"
    )
    with pytest.raises(Denied):
        await delivery.plans.create_plan(caller, asked)
    await delivery.world.bind(caller, frozenset({Permission.APP_DEPLOY}), app="shop")
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.plans.create_plan(caller, asked)
    codes = [one.code for one in caught.value.problems]
    assert codes == ["reference_persists", "denied", "denied", "unavailable"]
    await delivery.world.bind(caller, frozenset({Permission.SECRET_USE}), app="shop")
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.plans.create_plan(caller, asked)
    assert [one.code for one in caught.value.problems] == ["reference_persists", "no_field", "unavailable"]
    body = PlanCreate(app="shop", environment="prod", node="n1", deploying=True,
                      stack=BundleCreate(files=[BundleFile(path="compose.yaml", content=SHOP)]))  # fmt: skip
    before = len(await delivery.world.audit(caller))
    assert (await delivery.plans.create_plan(caller, body)).changes
    assert [r["action"] for r in (await delivery.world.audit(caller))[before:]] == ["plan:create"]
