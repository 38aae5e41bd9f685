"""What holds for every route, asked of every route: no credential, no permission, no crash, no echo."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from overseer.server.api.catalogue import ROUTES
from overseer.server.api.route import AnyIdentity, Open, Route
from tests.integration.api.messages import bodies, least_body, path_of
from tests.integration.api.people import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
CLOSED = [route for route in ROUTES if not isinstance(route.permission, Open)]
WITH_BODY = [route for route in ROUTES if route.body is not None]
CANARY = "cAnArY-5e1f"


def name(route: Route) -> str:
    return route.name


def body_of(route: Route) -> dict[str, Any]:
    return {} if route.body is None else {"json": least_body(route.body)}


@pytest.mark.parametrize("route", CLOSED, ids=name)
async def test_without_a_token_the_answer_is_401_and_one_row(server: Server, route: Route) -> None:
    for token in ("", "ovs_" + "x" * 49):
        answer = await server.ask(route.method, path_of(route), token, **body_of(route))
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
        rows = await server.audit(answer.headers["x-request-id"])
        assert [row["outcome"] for row in rows] == ["denied"]


@pytest.mark.parametrize("route", [r for r in CLOSED if not isinstance(r.permission, AnyIdentity)], ids=name)
async def test_without_a_permission_nothing_happens_and_one_row_says_so(server: Server, route: Route) -> None:
    token = await server.powerless()
    answer = await server.ask(route.method, path_of(route), token, **body_of(route))
    assert answer.status_code in (403, 404), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    rows = await server.audit(answer.headers["x-request-id"])
    assert len(rows) == 1
    assert rows[0]["outcome"] in ("denied", "failed")
    assert rows[0]["actor"].startswith("account-")


@pytest.mark.parametrize("route", WITH_BODY, ids=name)
async def test_no_body_makes_the_server_fail_or_is_echoed(server: Server, route: Route) -> None:
    """Bodies of the right types with ugly content, as the owner, who may do everything."""
    drawn: list[dict[str, Any]] = []

    @settings(max_examples=25, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(bodies(route.body))
    def draw(body: dict[str, Any]) -> None:
        drawn.append(body)

    draw()
    now = {"wait_seconds": 0} if "wait_seconds" in route.body.__struct_fields__ else {}
    for body in drawn:
        answer = await server.ask(route.method, path_of(route, name="a"), json=body | now)
        assert answer.status_code < 500, f"{json.dumps(body)[:500]}\n{answer.text}"


@pytest.mark.parametrize("route", WITH_BODY, ids=name)
async def test_refused_input_is_never_said_back(server: Server, route: Route) -> None:
    fields = route.body.__struct_fields__
    for poison in (CANARY, [CANARY], {CANARY: CANARY}, f"{CANARY}\0 !", {"type": CANARY}):
        for field in fields:
            answer = await server.ask(route.method, path_of(route), json=least_body(route.body) | {field: poison})
            # A resolve names every secret that is not available: names are what it was asked for, and they obey the name rule.
            if answer.status_code >= 400 and not (answer.status_code == 404 and field == "names"):
                assert CANARY not in answer.text, field
    for raw in (f'{{"{CANARY}":1}}', f'"{CANARY}"', CANARY, f'{{"a":"{CANARY}'):
        answer = await server.ask(route.method, path_of(route), content=raw, headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert CANARY not in answer.text


@pytest.mark.parametrize("route", [r for r in ROUTES if r.query is not None], ids=name)
async def test_no_query_makes_the_server_fail(server: Server, route: Route) -> None:
    drawn: list[dict[str, str]] = []
    ugly = ["", "a", "\0", "é", "-", "*", "global", "a=b", "0", "-1", "500", "501", "1.2.3", "é" * 300, "%", "'\"\\"]
    texts = st.sampled_from(ugly)

    @settings(max_examples=40, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.dictionaries(st.sampled_from(route.query.__struct_fields__), texts, max_size=3))
    def draw(query: dict[str, str]) -> None:
        drawn.append(query)

    draw()
    for query in drawn:
        answer = await server.ask(route.method, path_of(route), params=query)
        assert answer.status_code < 500, f"{query}\n{answer.text}"
