"""Idempotency keys over HTTP: what makes something makes it once, what only reads ignores the key, no token is shown twice."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from overseer.server.api.catalogue import ROUTES
from tests.integration.api.people import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
COMPOSE = "services: {a: {image: x}}\n"


def fresh() -> str:
    return f"i{uuid.uuid4().hex[:10]}"


#: Bodies by operation id; NEW stands for a name that nothing has.
BODIES: dict[str, dict[str, Any]] = {
    "create_app": {"name": "NEW"},
    "create_binding": {"principal": "ACCOUNT", "role": "viewer", "app": "*", "environment": "*", "node": "*", "name": "NEW"},
    "create_bundle": {"files": [{"path": "compose.yaml", "content": COMPOSE}]},
    "create_environment": {"name": "NEW"},
    "create_group": {"name": "NEW"},
    "create_node": {"name": "NEW"},
    "create_role": {"name": "NEW", "permissions": ["secret:list"]},
    "create_secret": {"name": "NEW", "value": "v"},
    "create_service_account": {"name": "NEW"},
    "create_user": {"name": "NEW"},
}
#: Makers that are not in the list, and where their keys are tested.
ELSEWHERE = {
    "create_deployment": "tests/integration/services/test_deployments.py",
    "create_enrolment_token": "shown once; a lost one is made again, and the old one ends by itself",
    "create_token": "below",
    "create_approval": "the same question that waits is found again",
    "create_approval_policy": "its id is new each time; two alike ask for the same",
    "create_backend": "its name is taken the second time",
    "create_sourced_secret": "its name is taken the second time",
    "exchange_token": "its credential is used once: tests/integration/people",
    "finish_oidc": "as above",
    "reset_user": "shown once; a lost one is made again and ends the first",
    "rollback_deployment": "tests/integration/services/test_deployment_history.py",
    "rotate_log_key": "a second rotation is one more key and harms nothing",
    "rotate_token": "below",
    "sign_in": "as exchange_token",
}
MAKERS = [route for route in ROUTES if route.status == 201]


async def account(server: Server) -> str:
    name = fresh()
    await server.made("/api/service-accounts", name=name)
    return name


def test_every_maker_is_tested_or_has_a_reason() -> None:
    assert {route.name for route in MAKERS} == BODIES.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("name", BODIES)
async def test_the_same_request_twice_makes_one_thing(server: Server, name: str) -> None:
    [route] = [route for route in MAKERS if route.name == name]
    app = fresh()
    await server.made("/api/apps", name=app)
    words = {"NEW": fresh(), "ACCOUNT": await account(server)}
    body = {key: words.get(value, value) if isinstance(value, str) else value for key, value in BODIES[name].items()}
    path, key = route.path.format(name=app), {"idempotency-key": fresh()}
    first, again = [await server.ask("POST", path, json=body, headers=key) for _ in range(2)]
    assert (first.status_code, again.status_code) == (201, 201), again.text
    known = "id" if "id" in first.json() else "digest"
    assert first.json()[known] == again.json()[known]
    if name != "create_bundle":
        other = await server.ask("POST", path, json={**body, "name": fresh()}, headers=key)
        assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")
    [replayed] = await server.audit(again.headers["x-request-id"])
    assert replayed["code"] == "replayed"


async def test_a_token_is_shown_once_and_its_repetition_names_it(server: Server) -> None:
    body, key = {"principal": await account(server)}, {"idempotency-key": fresh()}
    first = await server.ask("POST", "/api/tokens", json=body, headers=key)
    again = await server.ask("POST", "/api/tokens", json=body, headers=key)
    assert (again.status_code, again.json()["code"]) == (409, "already_done")
    assert first.json()["id"] in again.text
    assert first.json()["token"] not in again.text
    path = f"/api/tokens/{first.json()['id']}/rotate"
    rotated, repeated = [await server.ask("POST", path, json={"overlap": 60}, headers=key) for _ in range(2)]
    assert (rotated.status_code, repeated.status_code, repeated.json()["code"]) == (201, 409, "already_done")
    assert rotated.json()["id"] in repeated.text


async def test_what_only_reads_ignores_the_key(server: Server) -> None:
    secret = await server.made("/api/secrets", name=fresh(), value="one")
    key = {"idempotency-key": fresh()}
    path = f"/api/secrets/{secret['id']}"
    assert (await server.ask("POST", f"{path}/value", json={}, headers=key)).json()["value"] == "one"
    await server.ask("PUT", path, json={"value": "two"})
    assert (await server.ask("POST", f"{path}/value", json={}, headers=key)).json()["value"] == "two"
    for version, plain in ((1, "one"), (2, "two")):
        shown = await server.ask("POST", f"{path}/value", json={"version": version}, headers=key)
        assert shown.json()["value"] == plain
    for _ in range(2):
        resolved = await server.ask("POST", "/api/resolve", json={"names": [secret["name"]]}, headers=key)
        assert resolved.json()["values"][0]["value"] == "two"


async def test_a_key_that_is_none_is_refused_before_anything_happens(server: Server) -> None:
    for key in ("", "x" * 129, "a b"):
        answer = await server.ask("POST", "/api/apps", json={"name": fresh()}, headers={"idempotency-key": key})
        assert (answer.status_code, answer.json()["problems"][0]["code"]) == (422, "bad_idempotency_key")


async def test_batches_over_http(server: Server) -> None:
    name = fresh()
    made = {"operation": "create", "name": f"{name}-2", "generate": "uuid"}
    operations = [{"operation": "set", "name": name, "value": "v"}, made]
    key = {"idempotency-key": fresh()}
    first, again = [
        await server.ask("POST", "/api/secrets/batch", json={"operations": operations}, headers=key) for _ in range(2)
    ]
    assert (first.status_code, again.json()) == (200, first.json())
    refused = await server.ask("POST", "/api/secrets/batch", json={"operations": operations})
    assert (refused.status_code, refused.json()["code"]) == (409, "batch_refused")
    assert [problem["place"] for problem in refused.json()["problems"]] == ["body.operations[1]"]
    unknown = await server.ask("POST", "/api/secrets/batch", json={"operations": [{"operation": "cAnArY", "id": name}]})
    assert unknown.status_code == 422
    assert "cAnArY" not in unknown.text
