"""The metrics of a real server: sums over its workers, also over one that was killed, and nothing in them that anybody named."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.server_process.installation import Installation, RunningServer, until

pytestmark = pytest.mark.postgres
Run = Callable[[dict[str, str]], RunningServer]
NAME = "name-of-a-secret"


def numbers(server: RunningServer) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    answer = server.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    families = text_string_to_metric_families(answer.text)
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


def revealed(server: RunningServer) -> float:
    labels = (("method", "POST"), ("route", "/api/secrets/{secret_id}/value"), ("status", "200"))
    return numbers(server).get(("overseer_http_requests_total", labels), 0.0)


def test_two_workers_are_one_server_and_a_dead_one_is_remembered(installation: Installation, run: Run) -> None:
    server = run(installation.settings(OVERSEER_WORKERS="2"))
    server.wait_for("/health/ready", 200)
    made = server.request("POST", "/api/secrets", installation.owner_token, json={"name": NAME, "value": "v"}).json()
    for _ in range(40):
        assert server.request("POST", f"/api/secrets/{made['id']}/value", installation.owner_token, json={}).status_code == 200
    assert server.get("/api/me").status_code == 401
    assert revealed(server) == 40
    assert revealed(server) == 40  # whichever worker answers
    until(lambda: numbers(server)["overseer_sealed", ()] == 0)  # gauges follow within two seconds
    found = numbers(server)
    assert found["overseer_http_problems_total", (("code", "unauthenticated"),)] == 1
    assert found["overseer_secrets", ()] >= 1
    assert found["overseer_database_up", ()] == 1
    assert found["overseer_key_wraps_left", ()] > 2**31
    assert found["overseer_audit_rows_total", ()] > 0
    assert found["overseer_batch_size_sum", (("kind", "reveal"),)] == 40
    assert found["overseer_http_request_duration_seconds_count", (("route", "/api/secrets/{secret_id}/value"),)] == 40
    text = server.get("/metrics").text
    assert NAME not in text
    assert made["id"] not in text
    assert "owner" not in text
    server.kill_worker()
    server.wait_for("/health/ready", 200)
    assert revealed(server) == 40


def test_who_may_read_them(installation: Installation, run: Run) -> None:
    owner = installation.owner_token
    server = run(installation.settings(OVERSEER_METRICS="token"))
    server.wait_for("/health/ready", 200)
    assert server.get("/metrics").status_code == 401
    assert server.get("/metrics", owner).status_code == 200
    [row] = server.get("/api/audit?action=metrics:read&outcome=allowed", owner).json()["items"]
    assert row["actor"] == "owner"
    server.stop()
    server = run(installation.settings(OVERSEER_METRICS="off"))
    server.wait_for("/health/ready", 200)
    assert server.get("/metrics", owner).status_code == 404
    server.stop()
    server = run(installation.settings())
    server.wait_for("/health/ready", 200)
    # Loopback means nothing where a proxy on this machine asks for somebody else.
    assert server.get("/metrics", headers={"x-forwarded-for": "203.0.113.9"}).status_code == 401
    assert server.get("/metrics", headers={"forwarded": "for=203.0.113.9"}).status_code == 401


def test_a_burst_of_one_token_is_told_to_wait(installation: Installation, run: Run) -> None:
    server = run(installation.settings(OVERSEER_LIMIT_REQUESTS="5"))
    server.wait_for("/health/ready", 200)
    with ThreadPoolExecutor(40) as clients:  # all at once: a token more is added five times a second
        answers = list(clients.map(lambda _: server.get("/api/me", installation.owner_token), range(40)))
    limited = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers].count(200) >= 5
    assert {answer.status_code for answer in answers} == {200, 429}
    assert {answer.headers["retry-after"] for answer in limited} == {"1"}
    assert {answer.json()["code"] for answer in limited} == {"rate_limited"}
    assert server.get("/health/ready").status_code == 200


def test_a_sealed_server_with_its_database_gone_still_says_so(installation: Installation, run: Run) -> None:
    server = run(installation.settings(OVERSEER_DATABASE_URL=f"postgresql://u:p@127.0.0.1:1/{NAME}"))
    server.wait_for("/health/live", 200)
    found = numbers(server)
    assert (found["overseer_sealed", ()], found["overseer_database_up", ()]) == (1, 0)
