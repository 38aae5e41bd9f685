"""Plans, groups and events over the API, as a client without a library sees them."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.integration.api.people import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
COMPOSE = "services: {web: {image: x, environment: {P: '${SECRET:over-http}'}}}\n"


@pytest.fixture
async def app(server: Server) -> str:
    """A new app with a secret, and nodes ``{app}-1`` and ``{app}-2``."""
    name = f"a{uuid.uuid4().hex[:8]}"
    await server.made("/api/apps", name=name)
    for number in (1, 2):
        await server.made("/api/nodes", name=f"{name}-{number}")
    await server.made("/api/secrets", name="over-http", value="cAnArY", app=name)
    return name


async def bundle(server: Server, app: str) -> str:
    files = [{"path": "compose.yaml", "content": COMPOSE}]
    digest: str = (await server.made(f"/api/apps/{app}/bundles", files=files))["digest"]
    return digest


def events(text: str) -> list[tuple[str, str, dict[str, Any]]]:
    found = []
    for block in text.split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.splitlines())
        found.append((fields["id"], fields["event"], json.loads(fields["data"])))
    return found


async def test_a_plan_is_an_answer_and_no_resource(server: Server, app: str) -> None:
    stack = {"files": [{"path": "compose.yaml", "content": COMPOSE}]}
    answer = await server.ask("POST", "/api/plans", json={"app": app, "node": f"{app}-1", "stack": stack})
    assert answer.status_code == 200
    plan = answer.json()
    assert (plan["format"], plan["services"][0]["effect"], len(plan["digest"])) == (1, "create", 64)
    assert "cAnArY" not in answer.text
    refused = await server.ask(
        "POST",
        "/api/deployments",
        json={"app": app, "node": f"{app}-1", "bundle": await bundle(server, app), "plan": "0" * 64},
    )
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


async def test_a_group_and_its_events(server: Server, app: str) -> None:
    digest = await bundle(server, app)
    nodes = [f"{app}-2", f"{app}-1"]
    first = await server.made("/api/deployments", app=app, nodes=nodes, bundle=digest)
    await server.made("/api/deployments", app=app, nodes=nodes, bundle=digest)
    group = (await server.ask("GET", f"/api/deployment-groups/{first['group']}")).json()
    assert [(one["node"], one["state"]) for one in group["deployments"]] == [(node, "superseded") for node in nodes]
    answer = await server.ask("GET", f"/api/deployment-groups/{first['group']}/events")
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-store"
    assert [(name, event, data["node"]) for name, event, data in events(answer.text)] == [
        ("4.0,0.0", "state", nodes[0]),
        ("4.0,4.0", "state", nodes[1]),
    ]
    again = await server.ask("GET", f"/api/deployment-groups/{first['group']}/events", headers={"last-event-id": "4.0,0.0"})
    assert [name for name, _, _ in events(again.text)] == ["4.0,4.0"]
    wrong = await server.ask("GET", f"/api/deployments/{first['id']}/events", headers={"last-event-id": "x"})
    assert (wrong.status_code, wrong.json()["code"]) == (422, "invalid_input")


async def test_verification_and_rollback_answer(server: Server, app: str) -> None:
    made = await server.made("/api/deployments", app=app, node=f"{app}-1", bundle=await bundle(server, app))
    seen = (await server.ask("GET", f"/api/deployments/{made['id']}/verification")).json()
    assert (seen["result"], seen["current"]) == ("unknown", False)
    refused = await server.ask("POST", f"/api/deployments/{made['id']}/rollback", json={})
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
