"""Every list comes in pages: by enumeration of the routes, and each walked while new rows come in."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import pytest

from overseer.server.api.catalogue import ROUTES
from overseer.server.api.route import Route
from tests.integration.api.people import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
LISTS = [route for route in ROUTES if route.returns is not None and getattr(route.returns, "__origin__", None) is not None]
PAGES = [route for route in LISTS if route.returns.__origin__.__name__ == "Page"]
#: Lists without cursor, and why.
WHOLE = {"list_providers": "as many as the operator has written into the configuration"}
WHOLE["list_backup_targets"] = WHOLE["list_providers"]
#: Lists that are paged and not walked here, and where they are.
ELSEWHERE = {
    "list_usage": "tests/integration/services/test_usage.py",
    "list_drift": "tests/integration/services/test_drift.py",
    "list_rollouts": "tests/integration/services/test_rollouts.py",
    "review_access": "a report over rows of other lists",
    "list_checkpoints": "made by the sealer, not by requests",
    "list_own_sessions": "sessions begin with a password: tests/integration/people",
    "list_sessions": "as above",
    "list_approvals": "tests/integration/services/test_approvals.py",
    "list_approval_policies": "tests/integration/services/test_approvals.py",
    "list_backends": "tests/integration/services/test_backends.py",
    "list_backend_secrets": "tests/integration/services/test_backends.py",
    "list_backups": "made by the leader and by commands: tests/integration/services/test_backup_schedule.py",
    "list_imports": "tests/integration/services/test_imports.py",
    "list_rotations": "a row of a secret that has a schedule: tests/integration/services",
    "list_runs": "as above",
}
CREATES = [route for route in ROUTES if route.status == 201]


@dataclass
class Place:
    """Where a test's rows are, so that tests do not meet."""

    server: Server
    app: str
    secret: str
    account: str
    group: str
    number: int = 0

    def fresh(self) -> str:
        self.number += 1
        return f"{self.app}-{self.number:03d}-{uuid.uuid4().hex[:6]}"


@pytest.fixture
async def place(server: Server) -> Place:
    app = f"p{uuid.uuid4().hex[:8]}"
    await server.made("/api/apps", name=app)
    await server.made("/api/nodes", name=app)
    secret = await server.made("/api/secrets", name="walked", value="v", app=app)
    await server.made("/api/service-accounts", name=app)
    group = await server.made("/api/groups", name=app)
    return Place(server, app, secret["id"], app, group["id"])


async def _deployment(place: Place) -> Any:
    bundle = await _bundle(place)
    return await place.server.made("/api/deployments", app=place.app, node=place.app, bundle=bundle["digest"])


async def _version(place: Place) -> Any:
    answer = await place.server.ask("PUT", f"/api/secrets/{place.secret}", json={"value": "v", "activate": False})
    return {"version": answer.json()["version"]}


async def _member(place: Place) -> Any:
    name = place.fresh()
    await place.server.made("/api/service-accounts", name=name)
    answer = await place.server.ask("PUT", f"/api/groups/{place.group}/members/{name}")
    assert answer.status_code in (200, 201, 204), answer.text
    return {"name": name}


async def _audit(place: Place) -> Any:
    answer = await place.server.ask("GET", f"/api/apps?limit={1 + place.number % 3}", headers={"x-request-id": place.fresh()})
    return {"request_id": answer.headers["x-request-id"]}


async def _bundle(place: Place) -> Any:
    files = [{"path": "compose.yaml", "content": f"services: {{a: {{image: '{place.fresh()}'}}}}"}]
    return await place.server.made(f"/api/apps/{place.app}/bundles", files=files)


def made(path: str, **fields: Any) -> Callable[[Place], Awaitable[Any]]:
    async def make(place: Place) -> Any:
        return await place.server.made(path, name=place.fresh(), **fields)

    return make


async def _token(place: Place) -> Any:
    return await place.server.made("/api/tokens", principal=place.account)


async def _secret(place: Place) -> Any:
    return await place.server.made("/api/secrets", name=place.fresh(), value="v", app=place.app)


async def _binding(place: Place) -> Any:
    where = {"app": place.app, "environment": "*", "node": "*", "name": place.fresh()}
    return await place.server.made("/api/bindings", principal=place.account, role="viewer", **where)


MAKERS: dict[str, tuple[Callable[[Place], Awaitable[Any]], str]] = {
    "list_secrets": (_secret, "id"),
    "list_versions": (_version, "version"),
    "list_bundles": (_bundle, "digest"),
    "list_deployments": (_deployment, "id"),
    "list_apps": (made("/api/apps"), "id"),
    "list_environments": (made("/api/environments"), "id"),
    "list_nodes": (made("/api/nodes"), "id"),
    "list_service_accounts": (made("/api/service-accounts"), "id"),
    "list_users": (made("/api/users"), "id"),
    "list_tokens": (_token, "id"),
    "list_roles": (made("/api/roles", permissions=["secret:list"]), "id"),
    "list_groups": (made("/api/groups"), "id"),
    "list_members": (_member, "name"),
    "list_bindings": (_binding, "id"),
    "list_audit": (_audit, "request_id"),
}


def path_of(route: Route, place: Place) -> str:
    known = {"secret_id": place.secret, "name": place.app, "group_id": place.group}
    return route.path.format_map({name: known[name] for name in route.parameters})


def name(route: Route) -> str:
    return route.name


def test_every_list_takes_a_limit_and_a_cursor() -> None:
    without = {route.name for route in PAGES if not {"cursor", "limit"} <= set(getattr(route.query, "__struct_fields__", ()))}
    assert without == WHOLE.keys()
    assert {route.name for route in PAGES} == MAKERS.keys() | WHOLE.keys() | ELSEWHERE.keys()


@pytest.mark.parametrize("route", [route for route in PAGES if route.name in MAKERS], ids=name)
async def test_a_walk_sees_each_row_once_while_others_come(server: Server, place: Place, route: Route) -> None:
    make, key = MAKERS[route.name]
    before = {(await make(place))[key] for _ in range(7)}
    seen: list[Any] = []
    cursor: str | None = None
    for turn in range(1000):
        query = {"limit": "3"} | ({} if cursor is None else {"cursor": cursor})
        page = await server.ask("GET", path_of(route, place), params=query)
        assert page.status_code == 200, page.text
        items = page.json()["items"]
        assert 0 < len(items) <= 3 or page.json()["next_cursor"] is None
        seen += [item[key] for item in items]
        if turn < 3:
            await make(place)
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
    assert before <= set(seen)
    assert [one for one in before if seen.count(one) != 1] == []


@pytest.mark.parametrize("route", [route for route in PAGES if route.name not in WHOLE], ids=name)
async def test_a_cursor_that_nobody_gave_and_a_limit_out_of_range_are_refused(server: Server, place: Place, route: Route) -> None:
    path = route.path.format_map({p: str(uuid.uuid4()) if p.endswith("_id") else place.app for p in route.parameters})
    for query in ({"limit": "0"}, {"limit": "999999"}, {"limit": "x"}):
        assert (await server.ask("GET", path, params=query)).status_code == 422
    for cursor in ("x", "e30=", "W251bGxd"):
        answer = await server.ask("GET", path_of(route, place) if route.name in MAKERS else path, params={"cursor": cursor})
        assert answer.status_code in ((422,) if route.name in MAKERS else (404, 422)), answer.text


def test_what_is_made_and_can_be_shown_says_where() -> None:
    shown = {route.path for route in ROUTES if route.method == "GET"}
    for route in CREATES:
        if route.location is None:
            assert not [path for path in shown if path.rpartition("/{")[0] == route.path and path.endswith("}")], route.name
    for route in CREATES:
        if route.location is not None:
            assert any(path.rpartition("{")[0] == route.location.rpartition("{")[0] for path in shown), route.name
