"""Whoever may do everything in one app reaches nothing of another one by its id, and does not learn that it is there.

Asked of every route that takes an id or a name, in its path, its query or its body: found in the route table, so that a new one
is asked like the others. The answer for what exists elsewhere is the answer for what does not exist, byte for byte but for the
request's own id.
"""

from __future__ import annotations

import uuid
from typing import Any
from uuid import UUID

import asyncpg
import msgspec
import pytest

from overseer.server.api.catalogue import ROUTES
from overseer.server.api.route import Open, Route
from tests.integration.api.messages import least_body
from tests.integration.api.people import Server
from tests.integration.server_process.installation import Installation

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COMPOSE = {"path": "compose.yaml", "content": "services: {a: {image: x, environment: {T: '${SECRET:db}'}}}\n"}
BACKUP_ID = UUID(int=80)
NAMES = {"apps": "shop", "environments": "prod", "nodes": "n1", "keys": "1"}
#: Things that have ids and belong to nobody's app: told apart by the beginning of the path.
GROUPS = {"/api/deployment-groups": "deployment_group", "/api/groups": "group_id"}
#: What else a body has to say where it names that id.
ASKING = {
    ("create_approval", "secret_id"): {"action": "delete"},
    ("create_approval", "deployment_id"): {"action": "rollback"},
}
IN_PATH = [route for route in ROUTES if route.parameters and not isinstance(route.permission, Open)]


def ids_in(kind: Any) -> list[str]:
    """The fields of a message or of a query that hold an id."""
    if kind is None or not (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return []
    return [field.name for field in msgspec.structs.fields(kind) if field.type in (UUID, UUID | None)]


IN_FIELDS = [
    (route, place, field)
    for route in ROUTES
    for place, kind in (("body", route.body), ("query", route.query))
    for field in ids_in(kind)
]


@pytest.fixture(scope="module")
def known() -> dict[str, str]:
    """What exists, by parameter name; made once by :func:`things`."""
    return {}


@pytest.fixture
async def things(server: Server, installation: Installation, known: dict[str, str]) -> dict[str, str]:
    """One of everything in app shop, and ``stranger``: the token of whoever owns app blog."""
    if known:
        return known
    for kind, names in (("apps", ("shop", "blog")), ("environments", ("prod", "stage")), ("nodes", ("n1", "n2"))):
        for one in names:
            await server.made(f"/api/{kind}", name=one)
    secret = await server.made("/api/secrets", name="db", value="v", app="shop")
    entries = {"entries": [{"name": "imported", "value": "v"}], "app": "shop"}
    imported = await server.ask("POST", "/api/import", json=entries)
    account = await server.made("/api/service-accounts", name="ci")
    token = await server.made("/api/tokens", principal="ci")
    whole = {"app": "shop", "environment": "*", "node": "*", "name": "*"}
    binding = await server.made("/api/bindings", principal="ci", role="viewer", **whole)
    emergency = await server.made("/api/bindings", principal="ci", role="viewer", active_seconds=600, **whole)
    role = await server.made("/api/roles", name="reader", permissions=["secret:list"])
    group = await server.made("/api/groups", name="people")
    user = await server.made("/api/users", name="ann")
    policy = await server.made("/api/approval-policies", title="four-eyes", actions=["delete"], **whole | {"name": "guarded"})
    guarded = await server.made("/api/secrets", name="guarded", value="v", app="shop")
    approval = await server.made("/api/approvals", action="delete", secret_id=guarded["id"], reason="not used any more")
    bundle = await server.made("/api/apps/shop/bundles", files=[COMPOSE])
    deployment = await server.made("/api/deployments", app="shop", nodes=["n1"], bundle=bundle["digest"])
    corp = {"address": "https://127.0.0.1:1", "auth": "token"}
    backend = await server.made("/api/backends", name="corp", kind="vault", settings=corp, credentials={"token": "t"})
    session = str(uuid.uuid4())
    connection = await asyncpg.connect(installation.url)
    try:
        await connection.execute("UPDATE deployment SET state = 'succeeded', finished_at = now()")
        await connection.execute("UPDATE node SET state = 'active'")
        backup = "INSERT INTO backup_run (id, target, reason, state) VALUES ($1, 'nightly', 'asked', 'waiting')"
        await connection.execute(backup, BACKUP_ID)
        await connection.execute(
            "INSERT INTO token (hash, id, principal_id, expires_at, kind, idle_seconds)"
            " VALUES ($1, $2, $3, now() + interval '1 day', 'session', 3600)",
            bytes(range(32)), UUID(session), UUID(user["id"]),
        )  # fmt: skip
    finally:
        await connection.close()
    changed = await server.ask("PUT", f"/api/secrets/{secret['id']}", json={"value": "v2"})
    known |= {
        "secret_id": secret["id"],
        "import_id": imported.json()["id"],
        "principal_id": account["id"],
        "token_id": token["id"],
        "binding_id": binding["id"],
        "backend_id": backend["id"],
        "backup_id": str(BACKUP_ID),
        "emergency": emergency["id"],
        "role_id": role["id"],
        "group_id": group["id"],
        "user_id": user["id"],
        "session_id": session,
        "approval_id": approval["id"],
        "policy_id": policy["id"],
        "deployment_id": deployment["id"],
        "deployment_group": deployment["group"],
        "rollout_id": changed.json()["rollout"],
        "principal": "ci",
        "stranger": await stranger(server),
    }
    assert all(known.values())
    return known


async def stranger(server: Server) -> str:
    """The token of an account that owns app blog, environment stage and node n2 and nothing else."""
    await server.made("/api/service-accounts", name="blogger")
    only = {"app": "blog", "environment": "stage", "node": "n2", "name": "*"}
    await server.made("/api/bindings", principal="blogger", role="owner", **only)
    token: str = (await server.made("/api/tokens", principal="blogger"))["token"]
    return token


def real(route: Route, parameter: str, things: dict[str, str]) -> str:
    """Something of app shop that the parameter of this route can name."""
    if parameter in ("name", "term"):
        return NAMES[route.path.split("/")[2]]
    if parameter == "group_id":
        return things[next(name for path, name in GROUPS.items() if route.path.startswith(path))]
    if route.path.endswith("activate") and parameter == "binding_id":
        return things["emergency"]
    assert parameter in things, f"{route.path} takes {parameter}: say what of app shop that is, so that the route is asked"
    return things[parameter]


def absent(parameter: str, kind: type) -> str:
    """Something of the same form that does not exist."""
    return "9999" if parameter == "term" else "no-such-name" if kind is str else str(uuid.uuid4())


async def seen(server: Server, route: Route, path: str, token: str, **options: Any) -> tuple[int, dict[str, Any]]:
    if route.body is not None and "json" not in options:
        options["json"] = least_body(route.body)
    answer = await server.ask(route.method, path, token, **options)
    body = answer.json() if answer.content else {}
    return answer.status_code, {name: value for name, value in body.items() if name not in ("instance", "request_id")}


@pytest.mark.parametrize("route", IN_PATH, ids=lambda route: route.name)
async def test_what_is_elsewhere_answers_like_what_is_nowhere(server: Server, things: dict[str, str], route: Route) -> None:
    there = route.path.format_map({name: real(route, name, things) for name in route.parameters})
    owners, _ = await seen(server, route, there, server.owner) if route.method == "GET" and not route.streams else (200, {})
    # 502: the backend exists, and there is no vault behind it. 409: the secret exists, and has values of its own.
    told = {"list_backend_refs": 502, "get_secret_source": 409}
    assert owners == told.get(route.name, 200), "it must exist, or nothing is asked"
    status, body = await seen(server, route, there, things["stranger"])
    assert status in (403, 404), f"a stranger to it got {status}: {body}"
    for missing in route.parameters:
        values = {name: real(route, name, things) for name in route.parameters}
        values[missing] = absent(missing, route.parameters[missing])
        nowhere = await seen(server, route, route.path.format_map(values), things["stranger"])
        assert nowhere == (status, body), missing


@pytest.mark.parametrize(("route", "place", "field"), IN_FIELDS, ids=lambda part: getattr(part, "name", part))
async def test_ids_in_bodies_and_queries_tell_nothing_either(
    server: Server, things: dict[str, str], route: Route, place: str, field: str
) -> None:
    known = {"secret": things["secret_id"], "resource_id": things["secret_id"], **things}
    assert field in known, f"{route.path} takes {field}: say what of app shop that is, so that the route is asked"

    async def ask(value: str) -> tuple[int, dict[str, Any]]:
        if place == "query":
            return await seen(server, route, route.path, things["stranger"], params={field: value})
        body = least_body(route.body) | {field: value} | ASKING.get((route.name, field), {})
        return await seen(server, route, route.path, things["stranger"], json=body)

    assert not route.parameters
    elsewhere, nowhere = await ask(known[field]), await ask(str(uuid.uuid4()))
    assert elsewhere == nowhere
    assert elsewhere[0] in (403, 404) or elsewhere[1].get("items") == []


async def test_nothing_of_it_has_changed(server: Server, things: dict[str, str]) -> None:
    """Last in the file: every route was asked."""
    for path in ("secrets", "tokens", "roles", "users"):
        name = {"secrets": "secret_id", "tokens": "token_id", "roles": "role_id", "users": "user_id"}[path]
        assert (await server.ask("GET", f"/api/{path}/{things[name]}")).status_code == 200
    assert (await server.ask("GET", f"/api/bindings/{things['emergency']}")).json()["active_until"] is None
    assert (await server.ask("GET", f"/api/rollouts/{things['rollout_id']}")).json()["state"] == "running"
    assert len((await server.ask("GET", "/api/apps")).json()["items"]) == 2
