"""One request through the route layer: what is checked, what is answered, what is logged."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, MutableMapping
from types import SimpleNamespace
from typing import Any

import pytest

from overseer.server.api.bodies import DISCARD_BYTES
from overseer.server.api.endpoint import Edge
from overseer.server.api.route import SMALL_BODY
from overseer.server.api.throttle import FAILURES_BURST, LARGE_AT_A_TIME, Throttle
from overseer.server.log_format import JsonFormatter
from tests.unit.server.api.small_api import CANARY, client, small_app

pytestmark = pytest.mark.anyio
PROBLEM = "application/problem+json"


async def test_a_call_carries_what_was_sent() -> None:
    headers = {
        "authorization": "Bearer ovs_secret",
        "x-request-id": "my-id.1",
        "user-agent": "overseer-cli/0.1.0 extra\tthing",
        "if-match": '"v3"',
        "idempotency-key": "k1",
    }
    async with client(small_app(), peer="::ffff:192.0.2.9") as http:
        answer = await http.post("/notes", json={"text": "é", "reason": "audit me"}, headers=headers)
    assert answer.status_code == 201
    assert answer.headers["location"] == "/notes/n1"
    assert answer.headers["etag"] == '"v1-r1"'
    assert answer.headers["x-request-id"] == "my-id.1"
    assert answer.json()["caller"] == {
        "hash": hashlib.sha256(b"ovs_secret").hexdigest(),
        "peer": "192.0.2.9",
        "client": "overseer-cli/0.1.0",
        "request_id": "my-id.1",
        "if_match": '"v3"',
        "agent": "overseer-cli/0.1.0 extra?thing",
        "key": ["k1", "POST /notes", answer.request.content.decode()],
    }


@pytest.mark.parametrize("sent", ["a b", "x" * 65, "", "ü", "a\tb"])
async def test_an_unfit_request_id_is_replaced(sent: str) -> None:
    async with client(small_app()) as http:
        answer = await http.get("/health/live", headers={"x-request-id": sent.encode("latin-1")})
    assert len(answer.headers["x-request-id"]) == 32


@pytest.mark.parametrize("sent", ["Basic abc", "Bearer", "Bearer  ", "ovs_x", "Bearer " + "x" * 600])
async def test_what_is_no_bearer_token_is_none(sent: str) -> None:
    async with client(small_app()) as http:
        answer = await http.post("/notes", json={"text": "a"}, headers={"authorization": sent})
    assert answer.json()["caller"]["hash"] is None


async def test_security_headers_are_on_every_answer() -> None:
    async with client(small_app()) as http:
        for path in ("/health/live", "/nothing", "/fail/defect", "/api/docs", "/notes?x=1"):
            headers = (await http.get(path)).headers
            assert headers["cache-control"] == "no-store"
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert headers["x-frame-options"] == "DENY"
            assert "default-src 'none'" in headers["content-security-policy"]
            assert "unsafe" not in headers["content-security-policy"]
            assert "server" not in headers


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [("/nothing", 404, "unavailable"), ("/notes/", 404, "unavailable"), ("/wait", 405, "wrong_method")],
)
async def test_unknown_paths_and_methods_are_problems(path: str, status: int, code: str) -> None:
    async with client(small_app()) as http:
        answer = await http.get(path)
    assert (answer.status_code, answer.headers["content-type"], answer.json()["code"]) == (status, PROBLEM, code)
    assert answer.headers.get("allow") == ("POST" if status == 405 else None)


async def test_head_is_get_without_a_body() -> None:
    async with client(small_app()) as http:
        assert (await http.head("/health/live")).status_code == 200
        assert (await http.head("/wait")).status_code == 405


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-type": "application/json"}, 201),
        ({"content-type": "application/json; charset=UTF-8"}, 201),
        ({"content-type": "application/json; charset=latin-1"}, 415),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json", "content-encoding": "gzip"}, 415),
        ({}, 415),
    ],
)
async def test_bodies_are_json(headers: dict[str, str], status: int) -> None:
    async with client(small_app()) as http:
        answer = await http.post("/notes", content=b'{"text":"a"}', headers=headers)
    assert answer.status_code == status


async def test_the_body_limit_holds_for_announced_and_for_streamed_bodies() -> None:
    read = 0

    async def long() -> AsyncIterator[bytes]:
        nonlocal read
        for _ in range(1000):
            read += 64 * 1024
            yield b" " * 64 * 1024

    json = {"content-type": "application/json"}
    async with client(small_app()) as http:
        exact = b'{"text":"' + b"a" * 989 + b'"}'
        assert len(exact) == 1000
        assert (await http.post("/notes", content=exact, headers=json)).status_code == 201
        announced = await http.post("/notes", content=exact + b" ", headers=json)
        assert (announced.status_code, announced.json()["code"]) == (413, "too_large")
        streamed = await http.post("/notes", content=long(), headers=json)
        assert streamed.status_code == 413
        assert read <= DISCARD_BYTES + 128 * 1024


async def test_a_route_without_a_body_refuses_one() -> None:
    async with client(small_app()) as http:
        assert (await http.post("/bare", json={"a": 1})).status_code == 413
        assert (await http.post("/bare")).status_code == 204


async def test_an_empty_body_is_an_empty_object() -> None:
    async with client(small_app()) as http:
        answer = await http.post("/notes")
    assert answer.json()["problems"] == [{"place": "body.text", "rule": "is required", "code": "missing"}]


@pytest.mark.parametrize("key", ["", "a" * 129, "a b\x7f", "ü"])
async def test_an_unfit_idempotency_key_is_refused(key: str) -> None:
    async with client(small_app()) as http:
        answer = await http.post("/notes", json={"text": "a"}, headers={"idempotency-key": key.encode("latin-1")})
    assert answer.status_code == 422


@pytest.mark.parametrize(
    ("name", "status", "headers", "fields"),
    [
        ("busy", 503, {"retry-after": "7"}, {"retry_after": 7, "code": "not_ready"}),
        ("fast", 429, {"retry-after": "3"}, {"retry_after": 3, "code": "rate_limited"}),
        ("stale", 412, {}, {"current_version": 4, "code": "precondition_failed"}),
        ("other", 401, {"www-authenticate": 'Bearer realm="overseer"'}, {"code": "unauthenticated"}),
    ],
)
async def test_errors_become_problem_documents(
    name: str, status: int, headers: dict[str, str], fields: dict[str, object]
) -> None:
    async with client(small_app()) as http:
        answer = await http.get(f"/fail/{name}")
    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM)
    assert headers.items() <= answer.headers.items()
    assert fields.items() <= answer.json().items()
    assert answer.json()["type"] == f"urn:overseer:error:{fields['code']}"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_a_defect_says_nothing_of_itself(caplog: pytest.LogCaptureFixture) -> None:
    async with client(small_app()) as http:
        answer = await http.get("/fail/defect")
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    logged = "\n".join(JsonFormatter().format(record) for record in caplog.records)
    assert answer.json()["request_id"] in logged
    assert "ValueError" in logged
    assert CANARY not in answer.text + logged


async def test_the_access_log_has_the_template_and_nothing_that_was_sent(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "overseer.access")
    async with client(small_app()) as http:
        headers = {"authorization": f"Bearer {CANARY}"}
        await http.get(f"/people/{CANARY}", headers=headers)
        await http.get(f"/{CANARY}?token={CANARY}", headers=headers)
    records = [record for record in caplog.records if record.name == "overseer.access"]
    assert [(r.__dict__["route"], r.__dict__["status"]) for r in records] == [("/people/{name}", 200), ("-", 404)]
    assert CANARY not in "\n".join(JsonFormatter().format(record) for record in records)


async def test_a_sealed_server_answers_health_only() -> None:
    async with client(small_app(sealed=True)) as http:
        assert (await http.get("/health/live")).status_code == 200
        assert (await http.get("/api/openapi.json")).status_code == 200
        for request in (http.get("/notes"), http.get("/fail/other"), http.post("/notes", json={"text": CANARY})):
            answer = await request
            assert (answer.status_code, answer.json()["code"]) == (503, "sealed")
            assert int(answer.headers["retry-after"]) > 0


def frozen_edge(services: Any = None) -> Edge:
    """No attempt comes back by time."""
    return Edge(services=services, sealed=lambda: False, throttle=Throttle(lambda: 0.0))


async def test_guessing_is_limited_and_health_is_not() -> None:
    async with client(small_app(edge=frozen_edge())) as http:
        statuses = [(await http.get("/fail/other")).status_code for _ in range(FAILURES_BURST + 20)]
        assert statuses == [401] * FAILURES_BURST + [429] * 20
        assert (await http.get("/health/live")).status_code == 200


async def test_failing_too_often_for_a_row_gives_no_attempt_back() -> None:
    """The gate refuses with 429 what it no longer writes down one by one: that must not make guessing free."""
    async with client(small_app(edge=frozen_edge())) as http:
        for _ in range(FAILURES_BURST):
            await http.get("/fail/fast")
        answer = await http.get("/fail/other")
    assert (answer.status_code, answer.json()["detail"]) == (429, "too many attempts; wait")


async def test_a_good_token_frees_no_guess_on_an_open_route() -> None:
    async with client(small_app(edge=frozen_edge())) as http:
        token = {"authorization": "Bearer good"}
        assert (await http.get("/people/ann", headers=token)).status_code == 200
        statuses = [(await http.get("/fail/other", headers=token)).status_code for _ in range(FAILURES_BURST + 1)]
        assert statuses[-1] == 429
        assert (await http.get("/people/ann", headers=token)).status_code == 200  # and its own work goes on


async def test_draining_ends_a_long_poll_at_once() -> None:
    services = SimpleNamespace(waiting=asyncio.Event(), ended=asyncio.Event())
    edge = Edge(services=services, sealed=lambda: False)  # type: ignore[arg-type]
    async with client(small_app(edge=edge)) as http:
        poll = asyncio.create_task(http.post("/wait"))
        await asyncio.wait_for(services.waiting.wait(), 90)
        edge.draining.set()
        answer = await asyncio.wait_for(poll, 90)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert services.ended.is_set()


async def test_who_leaves_a_long_poll_gets_no_attempt_back() -> None:
    app = small_app(edge=frozen_edge(SimpleNamespace(waiting=asyncio.Event(), ended=asyncio.Event())))
    sent: list[MutableMapping[str, Any]] = []

    async def left() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    head = {"type": "http", "method": "POST", "path": "/wait", "query_string": b"", "headers": [(b"host", b"127.0.0.1:8420")]}
    await asyncio.gather(*(app({**head, "client": ("127.0.0.1", 4711)}, left, send) for _ in range(FAILURES_BURST)))
    assert not sent
    async with client(app) as http:
        assert (await http.get("/fail/other")).status_code == 429


async def test_strangers_cannot_fill_the_memory_with_large_bodies() -> None:
    services = SimpleNamespace(arrived=asyncio.Queue(), go_on=asyncio.Event())
    async with client(small_app(services=services)) as http:
        body = {"text": "a" * SMALL_BODY}
        asked = [asyncio.create_task(http.post("/large", json=body)) for _ in range(3 * LARGE_AT_A_TIME)]
        small = asyncio.create_task(http.post("/large", json={"text": "a"}))
        for _ in range(LARGE_AT_A_TIME + 1):
            await asyncio.wait_for(services.arrived.get(), 90)
        services.go_on.set()
        statuses = sorted(answer.status_code for answer in await asyncio.gather(*asked))
        assert statuses == [200] * LARGE_AT_A_TIME + [503] * 2 * LARGE_AT_A_TIME
        assert (await small).status_code == 200


async def test_a_foreign_host_is_refused_before_any_route() -> None:
    async with client(small_app(allowed_hosts=["good.example"])) as http:
        assert (await http.get("/health/live", headers={"host": "evil.example"})).status_code == 421
        assert (await http.get("/health/live", headers={"host": "good.example"})).status_code == 200
        page = await http.post("/notes", json={"text": "a"}, headers={"origin": "http://evil.example"})
        assert (page.status_code, page.json()["code"]) == (403, "foreign_origin")
