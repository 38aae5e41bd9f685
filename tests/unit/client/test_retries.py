from __future__ import annotations

from typing import Any

import pytest

from overseer.client.http import HttpClient
from overseer.client.retries import RetryingClient, RetryPolicy
from overseer.core.errors import Conflict, NotReady, RateLimited, Sealed, Unreachable
from tests.unit.client.scripted_server import Reply, problem, scripted_server

BUSY = problem("store_unavailable", 503, retry_after=1)


def _run(*replies: Reply, method: str = "GET", policy: RetryPolicy | None = None, **options: Any) -> tuple[int, list[float]]:
    """How many requests arrived, and the pauses between them."""
    pauses: list[float] = []
    with scripted_server(*replies) as server, HttpClient(server.url) as client:
        retrying = RetryingClient(client, policy or RetryPolicy(), sleep=pauses.append, chance=lambda: 0.5)
        try:
            retrying.request(method, "/x", **options)
        finally:
            _run.asked = len(server.asked)  # type: ignore[attr-defined]
    return len(server.asked), pauses


def test_reads_are_repeated_after_the_time_that_the_server_asks_for() -> None:
    asked, pauses = _run(BUSY, BUSY, Reply(204))
    assert asked == 3
    assert pauses == [1.125, 1.125]


def test_lost_connections_are_repeated_soon() -> None:
    asked, pauses = _run(Reply(drop=True), Reply(drop=True), Reply(204))
    assert asked == 3
    assert pauses == pytest.approx([0.1, 0.3])


@pytest.mark.parametrize(
    "options", [{"method": "POST", "headers": {"Idempotency-Key": "k"}}, {"method": "PUT", "headers": {"Idempotency-Key": "k"}},
                {"method": "POST", "repeatable": True}],
)  # fmt: skip
def test_what_cannot_happen_twice_is_repeated(options: dict[str, Any]) -> None:
    assert _run(Reply(drop=True), Reply(204), **options)[0] == 2


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_what_could_happen_twice_is_not_repeated(method: str) -> None:
    with pytest.raises(Unreachable):
        _run(Reply(drop=True), Reply(204), method=method)
    assert _run.asked == 1  # type: ignore[attr-defined]


def test_attempts_are_bounded() -> None:
    with pytest.raises(NotReady):
        _run(*[BUSY] * 9)
    assert _run.asked == 4  # type: ignore[attr-defined]


def test_waiting_is_bounded() -> None:
    with pytest.raises(RateLimited):
        _run(problem("rate_limited", 429, retry_after=60), Reply(204))
    assert _run.asked == 1  # type: ignore[attr-defined]
    with pytest.raises(NotReady):
        _run(*[BUSY] * 9, policy=RetryPolicy(attempts=9, budget=2.5))
    assert _run.asked == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(("reply", "error"), [(problem("sealed", 503), Sealed), (problem("conflict", 409), Conflict)])
def test_what_waiting_cannot_mend_is_not_repeated(reply: Reply, error: type[Exception]) -> None:
    with pytest.raises(error):
        _run(reply, Reply(204))
    assert _run.asked == 1  # type: ignore[attr-defined]
