"""From a bundle to a release: every reference decided at once, values only for the node, fingerprints compared."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import time
import tracemalloc
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import (
    Conflict,
    DecryptionFailed,
    Denied,
    InvalidInput,
    NodeProblem,
    ReferencesRefused,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from overseer.core.permissions import Permission
from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import fingerprint
from overseer.crypto.keys import HmacKey
from overseer.server.services.housekeeping import SILENT_AGENT
from overseer.server.services.idempotency import Idempotency
from overseer.server.storage import deployment_rows
from overseer.server.storage.database import Session
from overseer.server.storage.scope_rows import Part
from overseer.wire.agent import DeploymentReport, FingerprintReport, PollRequest, ReleaseRequest
from overseer.wire.deployments import BundleCreate, BundleFile, DeploymentCreate
from overseer.wire.secrets import SecretUpdate, ValueRequest
from tests.integration.services.delivery import Agent, Delivery, b64
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

SHOP = """\
services:
  web:
    image: shop:1
    environment:
      - DATABASE_PASSWORD=${SECRET:db-password}
    secrets: [db_password]
  worker:
    image: shop:1
    volumes:
      - /etc/secrets/api-key:/run/secrets/api-key:ro
secrets:
  db_password:
    external: true
    name: db-password
"""


@pytest.fixture
def delivery(world: World) -> Delivery:
    return Delivery(world)


async def stocked(delivery: Delivery) -> Delivery:
    await delivery.world.secret("db-password", "pa$word", app="shop")
    await delivery.world.secret("api-key", "key-1", app="shop")
    return delivery


async def released(delivery: Delivery, agent: Agent, deployment_id: str):  # type: ignore[no-untyped-def]
    nonce = os.urandom(32)
    answer = await delivery.agents.release(agent.again(), UUID(deployment_id), ReleaseRequest(nonce=b64(nonce)))
    return agent.open(answer, deployment_id, nonce)


async def test_a_deployment_pins_versions_and_reaches_its_node_alone(delivery: Delivery) -> None:
    await stocked(delivery)
    agent, other = await delivery.enrolled("n1"), await delivery.enrolled("n2")
    made = await delivery.deploy(SHOP)
    assert made.state == "queued"
    assert [(r.reference, r.version, r.kinds, r.services, r.persists) for r in made.references] == [
        ("api-key", 1, ["file"], ["worker"], False),
        ("db-password", 1, ["external", "inline"], ["web"], True),
    ]
    [work] = (await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))).work
    assert (work.deployment_id, work.action, work.project, work.attempt) == (made.id, "deploy", "shop-prod", 1)
    assert (await delivery.agents.poll(other.again(), PollRequest(wait_seconds=0))).work == []
    with pytest.raises(Unavailable):
        await delivery.agents.release(other.again(), UUID(made.id), ReleaseRequest(nonce=b64(bytes(32))))
    payload = await released(delivery, agent, made.id)
    assert {(v.reference, v.version, v.value) for v in payload.values} == {
        ("db-password", 1, b"pa$word"),
        ("api-key", 1, b"key-1"),
    }
    assert {file.path: file.content.decode() for file in payload.files} == {"compose.yaml": SHOP}


async def test_a_new_version_does_not_change_a_deployment_that_was_made(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    [reference] = [r for r in made.references if r.name == "db-password"]
    await delivery.world.secrets.update(delivery.world.owner, UUID(reference.secret_id), SecretUpdate(value="new"), None)
    payload = await released(delivery, agent, made.id)
    assert {v.value for v in payload.values if v.name == "db-password"} == {b"pa$word"}


async def test_what_was_sealed_for_one_request_opens_for_no_other(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    nonce = os.urandom(32)
    answer = await delivery.agents.release(agent.again(), UUID(made.id), ReleaseRequest(nonce=b64(nonce)))
    with pytest.raises(NodeProblem):
        agent.open(answer, made.id, os.urandom(32))
    with pytest.raises(NodeProblem):
        agent.open(answer, str(UUID(int=5)), nonce)


async def test_each_released_secret_has_its_row_on_behalf_of_the_deployer(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    caller = agent.again()
    await delivery.agents.release(caller, UUID(made.id), ReleaseRequest(nonce=b64(bytes(32))))
    [owner] = await delivery.world.sql("SELECT id FROM principal WHERE name = 'owner'")
    rows = await delivery.world.audit(caller)
    assert [(r["action"], r["outcome"], r["resource_kind"], r["resource_name"], r["version"]) for r in rows] == [
        ("deployment:release", "allowed", "deployment", "shop", None),
        ("deployment:release", "allowed", "secret", "api-key", 1),
        ("deployment:release", "allowed", "secret", "db-password", 1),
    ]
    assert {r["on_behalf_of"] for r in rows} == {owner["id"]}
    assert {r["actor_name"] for r in rows} == {"n1"}


async def test_missing_and_denied_references_are_all_listed_with_their_places(delivery: Delivery) -> None:
    await stocked(delivery)
    await delivery.world.secret("infra-token", "t")
    compose = SHOP + "x-more: ${SECRET:infra-token}\nx-gone: ${SECRET:nothing}\nx-old: ${SECRET:api-key@7}\n"
    deployer = await delivery.world.service_account("deployer", app="shop")
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.deploy(compose, caller=deployer)
    assert [(p.place, p.code) for p in caught.value.problems] == [
        ("compose.yaml:15:9", "unavailable"),
        ("compose.yaml:16:9", "unavailable"),
        ("compose.yaml:17:8", "no_version"),
    ]
    rows = [(r["action"], r["resource_name"], r["outcome"], r["code"]) for r in await delivery.world.audit(deployer)]
    assert rows == [
        ("deployment:create", "shop", "failed", "references_refused"),
        ("secret:use", "db-password", "failed", "references_refused"),
        ("secret:use", "api-key", "failed", "references_refused"),
        ("secret:use", "infra-token", "denied", "no_binding"),
        ("secret:use", "nothing", "failed", "unavailable"),
        ("secret:use", "api-key", "failed", "references_refused"),
    ]
    assert await delivery.world.sql("SELECT 1 FROM deployment") == []


async def test_a_refused_winner_does_not_fall_through_to_a_less_specific_secret(delivery: Delivery) -> None:
    await delivery.world.secret("token", "global")
    await delivery.world.secret("token", "of-prod", app="shop", environment="prod")
    deployer = await delivery.world.service_account(frozenset({Permission.APP_DEPLOY}))
    await delivery.world.bind(deployer, frozenset({Permission.SECRET_USE}), app="unset")
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.deploy("services: {a: {image: x, environment: {T: '${SECRET:token}'}}}\n", caller=deployer)
    assert [p.code for p in caught.value.problems] == ["unavailable"]


async def test_a_default_stands_in_for_a_missing_secret_only(delivery: Delivery) -> None:
    made = await delivery.deploy("services: {a: {image: x, environment: {T: '${SECRET:token:-none}'}}}\n")
    assert made.references == []


async def test_reveal_is_not_needed_to_deploy_and_use_does_not_reveal(delivery: Delivery) -> None:
    await stocked(delivery)
    deployer = await delivery.world.service_account("deployer", app="shop")
    made = await delivery.deploy(SHOP, caller=deployer)
    [reference] = [r for r in made.references if r.name == "api-key"]
    with pytest.raises(Denied):
        await delivery.world.secrets.reveal(
            delivery.world.caller(deployer.token_hash), UUID(reference.secret_id), ValueRequest()
        )


async def test_a_bundle_needs_its_own_permission(delivery: Delivery) -> None:
    deployer = await delivery.world.service_account("deployer", app="shop")
    with pytest.raises(Denied):
        await delivery.bundle(SHOP, caller=deployer)


async def test_equal_bundles_are_stored_once_and_encrypted(delivery: Delivery) -> None:
    first = await delivery.bundle(SHOP, app_env="PASSWORD=plain-text-of-people\n")
    again = await delivery.bundle(SHOP, app_env="PASSWORD=plain-text-of-people\n")
    assert (first.id, first.digest) == (again.id, again.digest)
    other = await delivery.bundle(SHOP, app="blog", app_env="PASSWORD=plain-text-of-people\n")
    assert other.digest != first.digest
    rows = await delivery.world.sql("SELECT * FROM bundle")
    assert len(rows) == 2
    assert b"plain-text-of-people" not in b"".join(row["ciphertext"] for row in rows)


async def test_a_flipped_byte_of_a_bundle_is_found_and_audited(delivery: Delivery) -> None:
    agent = await delivery.enrolled()
    made = await delivery.deploy("services: {a: {image: x}}\n")
    await delivery.world.sql("UPDATE bundle SET ciphertext = set_byte(ciphertext, 20, get_byte(ciphertext, 20) # 1)")
    caller = agent.again()
    with pytest.raises(DecryptionFailed, match="bundle"):
        await delivery.agents.release(caller, UUID(made.id), ReleaseRequest(nonce=b64(bytes(32))))
    assert [(r["outcome"], r["code"]) for r in await delivery.world.audit(caller)] == [
        ("allowed", ""),
        ("failed", "decryption_failed"),
    ]


async def test_fingerprints_tell_whether_containers_hold_what_they_should(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    payload = await released(delivery, agent, made.id)
    key = HmacKey(payload.fingerprint_key)
    held = {"db-password": ("web", "pa$word"), "api-key": ("worker", "old")}
    reports = [
        FingerprintReport(reference=name, service=service, fingerprint=b64(fingerprint(key, name, SecretValue(value))))
        for name, (service, value) in held.items()
    ]
    after = await delivery.agents.report(agent.again(), UUID(made.id), DeploymentReport(state="succeeded", fingerprints=reports))
    assert after.state == "succeeded"
    assert {r.reference: r.matches for r in after.references} == {"db-password": True, "api-key": False}
    with pytest.raises(Conflict, match="ended already"):
        await delivery.agents.report(agent.again(), UUID(made.id), DeploymentReport(state="failed"))


async def test_a_field_is_taken_out_on_the_server(delivery: Delivery) -> None:
    await delivery.world.secret("db", '{"user": "u", "password": "p"}', app="shop")
    agent = await delivery.enrolled()
    made = await delivery.deploy("services: {a: {image: x, environment: {P: '${SECRET:db#password}'}}}\n")
    payload = await released(delivery, agent, made.id)
    assert [(v.reference, v.value) for v in payload.values] == [("db#password", b"p")]
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.deploy("services: {a: {image: x, environment: {P: '${SECRET:db#nope}'}}}\n")
    assert [p.code for p in caught.value.problems] == ["no_field"]
    assert "password" not in str(caught.value.problems[0])


async def test_a_restarted_agent_gets_interrupted_work_again_and_not_for_ever(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    for attempt in (1, 2, 3):
        [work] = (await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))).work
        assert work.attempt == attempt
        busy = PollRequest(wait_seconds=0, busy=[made.id])
        assert (await delivery.agents.poll(agent.again(), busy)).work == []
    assert (await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))).work == []
    after = await delivery.deployments.get_deployment(delivery.world.owner, UUID(made.id))
    assert (after.state, "3 times" in after.error) == ("failed", True)


async def test_a_silent_agent_leaves_a_true_state(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    await delivery.agents.poll(agent.again(), PollRequest(wait_seconds=0))
    await released(delivery, agent, made.id)
    await delivery.world.sql("UPDATE deployment SET lease_until = now() - interval '1 second'")
    async with delivery.world.database.work() as session:
        assert await deployment_rows.expire(session, SILENT_AGENT) == 1
    after = await delivery.deployments.get_deployment(delivery.world.owner, UUID(made.id))
    assert (after.state, after.error) == ("failed", SILENT_AGENT)


async def test_a_node_revoked_during_a_deployment_gets_nothing(delivery: Delivery) -> None:
    await stocked(delivery)
    agent = await delivery.enrolled()
    made = await delivery.deploy(SHOP)
    await delivery.nodes.revoke_node(delivery.world.owner, "n1")
    with pytest.raises(Unauthenticated):
        await delivery.agents.release(agent.again(), UUID(made.id), ReleaseRequest(nonce=b64(bytes(32))))
    after = await delivery.deployments.get_deployment(delivery.world.owner, UUID(made.id))
    assert (after.state, after.error) == ("failed", "the node was revoked")
    with pytest.raises(Conflict, match="revoked"):
        await delivery.deploy(SHOP)


async def test_apps_that_are_named_alike_do_not_take_each_others_place(delivery: Delivery) -> None:
    await delivery.world.add(Part.APP, "shop-prod")
    squatter = await delivery.world.service_account("deployer", app="shop-prod")
    taken = DeploymentCreate(app="shop-prod", node="n1", action="undeploy")
    await delivery.deployments.create_deployment(squatter, taken)
    made = await delivery.deploy("services: {a: {image: x}}\n")
    assert (made.project, made.state) == ("shop-prod", "queued")


async def test_two_apps_cannot_share_a_project_on_a_node(delivery: Delivery) -> None:
    await delivery.deploy("services: {a: {image: x}}\n")
    await delivery.world.sql("UPDATE deployment SET project = 'blog-prod'")
    body = DeploymentCreate(app="blog", node="n1", environment="prod", action="undeploy")
    with pytest.raises(Conflict, match="another app has the Compose project"):
        await delivery.deployments.create_deployment(delivery.world.owner, body)

async def test_a_newer_deployment_supersedes_one_that_nobody_took(delivery: Delivery) -> None:
    first = await delivery.deploy("services: {a: {image: x}}\n")
    await delivery.deploy("services: {a: {image: y}}\n")
    assert (await delivery.deployments.get_deployment(delivery.world.owner, UUID(first.id))).state == "superseded"


async def test_a_repeated_request_makes_one_deployment(delivery: Delivery) -> None:
    bundle = await delivery.bundle("services: {a: {image: x}}\n")
    body = DeploymentCreate(app="shop", node="n1", bundle=bundle.digest)
    key = Idempotency("k", "POST /api/deployments", b"1")
    first = await delivery.deployments.create_deployment(delivery.world.owner, body, key)
    again = await delivery.deployments.create_deployment(delivery.world.owner, body, key)
    assert first.id == again.id
    assert len(await delivery.world.sql("SELECT 1 FROM deployment")) == 1


async def test_undeploy_needs_no_bundle_and_no_secret(delivery: Delivery) -> None:
    body = DeploymentCreate(app="shop", node="n1", environment="prod", action="undeploy")
    made = await delivery.deployments.create_deployment(delivery.world.owner, body)
    assert (made.action, made.bundle, made.references) == ("undeploy", None, [])
    agent = await delivery.enrolled()
    with pytest.raises(Conflict, match="nothing to release"):
        await delivery.agents.release(agent.again(), UUID(made.id), ReleaseRequest(nonce=b64(bytes(32))))


async def test_deployments_of_other_apps_are_hidden(delivery: Delivery) -> None:
    made = await delivery.deploy("services: {a: {image: x}}\n")
    blogger = await delivery.world.service_account("owner", app="blog")
    with pytest.raises(Unavailable):
        await delivery.deployments.get_deployment(blogger, UUID(made.id))
    assert (await delivery.deployments.list_deployments(blogger)).items == []
    body = DeploymentCreate(app="shop", node="n1", action="undeploy")
    with pytest.raises(Unavailable):
        await delivery.deployments.create_deployment(blogger, body)
    with pytest.raises(Unavailable):
        await delivery.bundle("services: {a: {image: x}}\n", caller=blogger)
    assert [d.id for d in (await delivery.deployments.list_deployments(delivery.world.owner)).items] == [made.id]


async def test_pages_of_deployments_are_complete(delivery: Delivery) -> None:
    made = [(await delivery.deploy(f"services: {{a: {{image: x{n}}}}}\n")).id for n in range(5)]
    seen: list[str] = []
    cursor = None
    while True:
        page = await delivery.deployments.list_deployments(delivery.world.owner, cursor=cursor, limit=2)
        seen += [item.id for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == made[::-1]


async def test_bad_requests_are_refused_by_rule(delivery: Delivery) -> None:
    owner = delivery.world.owner
    for body in (
        DeploymentCreate(app="shop", node="n1", action="explode"),
        DeploymentCreate(app="shop", node="n1"),
        DeploymentCreate(app="shop", node="n1", bundle="00"),
        DeploymentCreate(app="shop", node="n1", action="undeploy", wait_timeout=0),
    ):
        with pytest.raises(InvalidInput):
            await delivery.deployments.create_deployment(owner, body)
    with pytest.raises(ReferencesRefused):
        await delivery.bundle("services: {a: {image: x, environment: {T: '${SECRET: bad}'}}}\n")
    with pytest.raises(InvalidInput, match="Compose file"):
        await delivery.bundles.create_bundle(owner, "shop", BundleCreate(files=[BundleFile(path="a.txt", content="")]))


async def test_listing_bundles_reads_none_of_their_content(delivery: Delivery) -> None:
    size = 1024 * 1024
    for _ in range(4):
        await delivery.bundle(SHOP, notes_txt=base64.b64encode(os.urandom(size * 3 // 4)).decode())
    tracemalloc.start()
    try:
        listed = (await delivery.bundles.list_bundles(delivery.world.owner, "shop")).items
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [bundle.size >= size for bundle in listed] == [True] * 4
    assert peak < size


DEFAULTED = "services: {a: {image: x, environment: {T: '${SECRET:NAME:-none}', U: '${SECRET:NAME}'}}}\n"


@pytest.mark.parametrize("own", ["app", "place"])
async def test_what_a_caller_may_not_list_looks_as_if_it_did_not_exist(delivery: Delivery, own: str) -> None:
    """Global secrets and those of other places: their existence is told neither by a code, nor by a rule, nor by a default."""
    await delivery.world.secret("of-all", "s")
    await delivery.world.secret("of-node", "s", node="n1")
    where = {"app": "shop"} if own == "app" else {"app": "shop", "environment": "prod", "node": "n1"}
    deployer = await delivery.world.service_account("deployer", **where)
    for compose in (DEFAULTED, DEFAULTED.split(", U", maxsplit=1)[0] + "}}}\n"):
        answers = []
        for name in ("of-all", "of-node", "no-such"):
            with pytest.raises(ReferencesRefused) as caught:
                await delivery.deploy(compose.replace("NAME", name), caller=deployer)
            answers.append([(p.code, p.rule.replace(name, "NAME")) for p in caught.value.problems])
        assert answers[0] == answers[1] == answers[2]
        assert {code for code, _ in answers[0]} == {"unavailable"}
        assert "cannot be told to you, so its default cannot be used" in answers[0][0][1]


async def test_missing_and_a_default_are_for_those_who_may_list_at_every_covering_scope(delivery: Delivery) -> None:
    deployer = await delivery.world.service_account("deployer", app="shop")
    await delivery.world.bind(deployer, "viewer")
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.deploy(DEFAULTED.replace("NAME", "no-such"), caller=deployer)
    assert [p.code for p in caught.value.problems] == ["missing"]
    made = await delivery.deploy(DEFAULTED.replace("NAME", "no-such").split(", U")[0] + "}}}\n", caller=deployer)
    assert made.references == []


async def test_a_winner_that_may_be_used_is_used_whoever_may_not_know_of_others(delivery: Delivery) -> None:
    await delivery.world.secret("token", "s", app="shop")
    deployer = await delivery.world.service_account("deployer", app="shop")
    made = await delivery.deploy(DEFAULTED.replace("NAME", "token"), caller=deployer)
    assert [one.reference for one in made.references] == ["token"]


async def test_queries_do_not_grow_with_references(delivery: Delivery, monkeypatch: pytest.MonkeyPatch) -> None:
    await delivery.world.secret("token", "s", app="shop")
    lines = "".join(f"      A{number}: ${{SECRET:token@{number}}}\n" for number in range(1, 2001))
    bundle = await delivery.bundle("services:\n  a:\n    image: x\n    environment:\n" + lines)
    body = DeploymentCreate(app="shop", node="n1", environment="prod", bundle=bundle.digest, allow_persisting=True)
    sent = []
    for name in ("fetch", "fetchrow", "fetchval", "execute"):
        whole = getattr(Session, name)

        def counted(*arguments: Any, _whole: Any = whole, **options: Any) -> Any:
            sent.append(arguments[1])
            return _whole(*arguments, **options)

        monkeypatch.setattr(Session, name, counted)
    with pytest.raises(ReferencesRefused) as caught:
        await delivery.deployments.create_deployment(delivery.world.owner, body)
    assert [problem.code for problem in caught.value.problems] == ["no_version"] * 1999
    assert 5 < len(sent) < 60


async def test_many_fields_of_a_large_value_are_read_once(delivery: Delivery) -> None:
    fields = {f"f{number}": "x" * 1000 for number in range(900)}
    await delivery.world.secret("large", json.dumps(fields), app="shop")
    lines = "".join(f"      A{number}: ${{SECRET:large#f{number}}}\n" for number in range(30))
    agent = await delivery.enrolled()
    made = await delivery.deploy("services:\n  a:\n    image: x\n    environment:\n" + lines)
    assert {len(value.value) for value in (await released(delivery, agent, made.id)).values} == {1000}
    lines += "".join(f"      B{number}: ${{SECRET:large#f{number}}}\n" for number in range(30, 60))
    with pytest.raises(TooLarge, match="fields are taken out of at most"):
        await delivery.deploy("services:\n  a:\n    image: x\n    environment:\n" + lines)


async def test_others_are_served_while_a_large_bundle_is_read(delivery: Delivery) -> None:
    large = "services:\n  a:\n    image: x\n    command:\n" + "".join(f"      - a$a{n}\n" for n in range(200_000))
    ticks = [time.process_time()]  # of this process alone: another one's turn is no pause of ours

    async def others() -> None:
        while True:
            await asyncio.sleep(0.001)
            ticks.append(time.process_time())

    served = asyncio.create_task(others())
    bundle = await delivery.bundle(large)
    body = DeploymentCreate(app="shop", node="n1", environment="prod", bundle=bundle.digest)
    await delivery.deployments.create_deployment(delivery.world.owner, body)
    served.cancel()
    longest = max(after - before for before, after in itertools.pairwise(ticks))
    assert longest < (ticks[-1] - ticks[0]) / 4


async def test_a_request_that_is_decided_twice_leaves_its_rows_once(delivery: Delivery) -> None:
    await stocked(delivery)
    caller = delivery.world.caller(delivery.world.owner.token_hash)
    bundle = await delivery.bundle(SHOP, caller=caller)
    assert [row["action"] for row in await delivery.world.audit(caller)] == ["bundle:create"]
    caller = delivery.world.caller(caller.token_hash)
    body = DeploymentCreate(app="shop", node="n1", environment="prod", bundle=bundle.digest, allow_persisting=True)
    await delivery.deployments.create_deployment(caller, body)
    rows = await delivery.world.audit(caller)
    assert [row["action"] for row in rows] == ["deployment:create", "secret:use", "secret:use"]


async def test_nodes_times_references_are_bounded(delivery: Delivery) -> None:
    lines = "".join(f"      A{n}: ${{SECRET:s{n}:-none}}\n" for n in range(2000))
    bundle = await delivery.bundle("services:\n  a:\n    image: x\n    environment:\n" + lines)
    names = [f"m{number}" for number in range(11)]
    await delivery.world.add(Part.NODE, *names)
    body = DeploymentCreate(app="shop", nodes=names, bundle=bundle.digest, allow_persisting=True)
    with pytest.raises(TooLarge, match="fewer nodes"):
        await delivery.deployments.create_deployment(delivery.world.owner, body)


async def test_who_may_know_is_told_which_part_of_the_place_is_wrong(delivery: Delivery) -> None:
    body = DeploymentCreate(app="shop", node="nl", environment="prd", action="undeploy")
    with pytest.raises(Unavailable, match=r"this environment does not exist.*this node does not exist"):
        await delivery.deployments.create_deployment(delivery.world.owner, body)
    blogger = await delivery.world.service_account("owner", app="blog")
    with pytest.raises(Unavailable, match="or you may not know"):
        await delivery.deployments.create_deployment(blogger, body)
