"""Several addresses of one server: which requests go on to the next one, and which are never sent twice."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from overseer.client import http as http_module
from overseer.client.http import HttpClient
from overseer.client.retries import RetryingClient, RetryPolicy
from overseer.core.errors import ConfigurationProblem, NotReady, Sealed, Unreachable
from tests.ports import free_port
from tests.unit.client.scripted_server import Reply, ScriptedServer, problem, scripted_server
from tests.unit.server.certificate import self_signed

BUSY = problem("store_unavailable", 503, retry_after=5)
SEALED = problem("sealed", 503)


def closed_port() -> str:
    return f"http://127.0.0.1:{free_port()}"


@contextmanager
def pair(first: list[Reply], second: list[Reply]) -> Iterator[tuple[ScriptedServer, ScriptedServer, HttpClient]]:
    with scripted_server(*first) as one, scripted_server(*second) as two, HttpClient(f"{one.url},{two.url}") as client:
        yield one, two, client


def retrying(client: HttpClient, pauses: list[float] | None = None, **policy: Any) -> RetryingClient:
    sleep = (pauses if pauses is not None else []).append
    return RetryingClient(client, RetryPolicy(**policy), sleep=sleep, chance=lambda: 0.5)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_a_refused_connection_takes_the_next_address_for_every_request(method: str) -> None:
    with scripted_server(Reply(204), Reply(204)) as server, HttpClient(f"{closed_port()},{server.url}") as client:
        assert client.request(method, "/x").status == 204
        assert client.request(method, "/x").status == 204
        assert [asked.path for asked in server.asked] == ["/x", "/x"]
        assert server.connections == 1  # it stays with the address that answered


def test_the_path_below_which_routes_lie_is_that_of_the_address() -> None:
    with scripted_server(Reply(204)) as server, HttpClient(f"{closed_port()}/a,{server.url}/b") as client:
        client.request("GET", "/x", query={"q": "1"})
        assert server.asked[0].path == "/b/x?q=1"


def test_no_address_answers() -> None:
    first, second = closed_port(), closed_port()
    with HttpClient(f"{first},{second}") as client, pytest.raises(Unreachable) as failure:
        client.request("GET", "/x")
    assert first in failure.value.message
    assert second in failure.value.message


def test_a_machine_that_says_nothing_does_not_hold_the_others_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_module, "CONNECT_SECONDS", 0.3)
    with socket.socket() as silent:  # its queue is full: a connection to it neither succeeds nor is refused
        silent.bind(("127.0.0.1", 0))
        silent.listen(0)
        full = [socket.socket() for _ in range(4)]
        for one in full:
            one.setblocking(False)
            one.connect_ex(silent.getsockname())
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with scripted_server(Reply(204)) as server, HttpClient(f"{url},{server.url}", timeout=300) as client:
            began = time.monotonic()
            assert client.request("GET", "/x").status == 204
            assert time.monotonic() - began < 60  # by its own limit, not by the request's
        for one in full:
            one.close()


@pytest.mark.parametrize("lost", [Reply(drop=True), BUSY, SEALED])
def test_what_may_be_repeated_is_sent_to_the_next_address_at_once(lost: Reply) -> None:
    pauses: list[float] = []
    with pair([lost], [Reply(204)]) as (one, two, client):
        retrying(client, pauses).request("POST", "/x", headers={"Idempotency-Key": "k"})
        assert (len(one.asked), len(two.asked), pauses) == (1, 1, [])
        assert two.asked[0].headers["idempotency-key"] == "k"


@pytest.mark.parametrize("lost", [Reply(drop=True), BUSY, SEALED])
def test_what_could_happen_twice_is_sent_once_and_the_next_request_goes_elsewhere(lost: Reply) -> None:
    with pair([lost], [Reply(204)]) as (one, two, client):
        with pytest.raises(NotReady):
            retrying(client).request("POST", "/x")
        assert (len(one.asked), len(two.asked)) == (1, 0)
        retrying(client).request("POST", "/x")
        assert (len(one.asked), len(two.asked)) == (1, 1)


def test_a_pause_comes_after_every_address_was_asked() -> None:
    pauses: list[float] = []
    with pair([BUSY, Reply(204)], [BUSY]) as (one, two, client):
        retrying(client, pauses).request("GET", "/x")
        assert (len(one.asked), len(two.asked)) == (2, 1)
        assert pauses == [5 * 1.125]


def test_attempts_count_rounds() -> None:
    with pair([BUSY] * 3, [BUSY] * 3) as (one, two, client):
        with pytest.raises(NotReady):
            retrying(client, attempts=2, budget=60).request("GET", "/x")
        assert (len(one.asked), len(two.asked)) == (2, 2)


def test_it_is_sealed_only_where_all_are() -> None:
    with pair([SEALED], [SEALED]) as (one, two, client):
        with pytest.raises(Sealed):
            retrying(client).request("GET", "/x")
        assert (len(one.asked), len(two.asked)) == (1, 1)
    with pair([SEALED, SEALED], [BUSY, Reply(204)]) as (_, two, client):
        retrying(client, budget=60).request("GET", "/x")
        assert len(two.asked) == 2


def test_a_certificate_that_is_wrong_is_told_and_not_passed_over(tmp_path: Path) -> None:
    pair_of_one = self_signed(tmp_path)
    with (
        scripted_server(Reply(204), tls=pair_of_one) as foreign,
        scripted_server(Reply(204)) as plain,
        HttpClient(f"{foreign.url},{plain.url}") as client,
        pytest.raises(ConfigurationProblem, match="trust"),
    ):
        client.request("GET", "/x")
    assert plain.asked == []
