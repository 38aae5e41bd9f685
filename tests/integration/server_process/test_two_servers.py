"""Two server processes over one PostgreSQL: what one of them changes holds on the very next request to the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from tests.integration.server_process.installation import Installation, RunningServer

pytestmark = pytest.mark.postgres


@dataclass
class Pair:
    """``one`` is told what to change, ``other`` is asked."""

    one: RunningServer
    other: RunningServer
    owner: str

    def change(self, method: str, path: str, **body: Any) -> Any:
        answer = self.one.request(method, path, self.owner, **({"json": body} if body else {}))
        assert answer.status_code < 300, answer.text
        return answer.json() if answer.content else None

    def reader(self) -> tuple[str, str, str]:
        """Name, token and the token's id of a new service account."""
        name = f"reader-{uuid4().hex[:8]}"
        self.change("POST", "/api/service-accounts", name=name)
        made = self.change("POST", "/api/tokens", principal=name)
        return name, made["token"], made["id"]

    def bind(self, **holder: str) -> str:
        selector = {"app": "*", "environment": "*", "node": "*", "name": "*"}
        found: str = self.change("POST", "/api/bindings", role="developer", **selector, **holder)["id"]
        return found

    def secret(self) -> str:
        found: str = self.change("POST", "/api/secrets", name=f"s-{uuid4().hex[:8]}", value="v1")["id"]
        return found

    def reveal(self, token: str, secret: str) -> tuple[int, str]:
        """Status, and the value or the error's code, from the other server."""
        answer = self.other.request("POST", f"/api/secrets/{secret}/value", token, json={})
        return answer.status_code, answer.json().get("value") or answer.json()["code"]

    def resolve(self, token: str, secret: str) -> int:
        name = self.one.get(f"/api/secrets/{secret}", self.owner).json()["name"]
        return self.other.request("POST", "/api/resolve", token, json={"names": [name]}).status_code

    def write(self, token: str, secret: str) -> int:
        return self.other.request("PUT", f"/api/secrets/{secret}", token, json={"value": "mine"}).status_code


@pytest.fixture(scope="module")
def pair(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    logs = tmp_path_factory.mktemp("two-servers")
    started = [RunningServer(installation.settings(), logs / f"{number}.log") for number in range(2)]
    try:
        for server in started:
            server.wait_for("/health/ready", 200)
        yield Pair(started[0], started[1], installation.owner_token)
    finally:
        for server in started:
            server.stop()


def test_a_new_version_is_read_by_the_next_request_to_the_other(pair: Pair) -> None:
    secret = pair.secret()
    for number in range(10):
        pair.change("PUT", f"/api/secrets/{secret}", value=f"value {number}")
        assert pair.reveal(pair.owner, secret) == (200, f"value {number}")


@pytest.mark.parametrize("what", ["token", "binding", "membership", "group's binding"])
def test_what_was_taken_away_is_gone_at_the_next_request_to_the_other(pair: Pair, what: str) -> None:
    name, token, token_id = pair.reader()
    secret = pair.secret()
    if what in ("token", "binding"):
        binding = pair.bind(principal=name)
    else:
        group = pair.change("POST", "/api/groups", name=f"g-{uuid4().hex[:8]}")
        binding = pair.bind(group=group["name"])
        pair.change("PUT", f"/api/groups/{group['id']}/members/{name}")
    assert pair.reveal(token, secret) == (200, "v1")
    assert (pair.write(token, secret), pair.resolve(token, secret)) == (200, 200)
    match what:
        case "token":
            pair.change("DELETE", f"/api/tokens/{token_id}")
        case "membership":
            pair.change("DELETE", f"/api/groups/{group['id']}/members/{name}")
        case _:
            pair.change("DELETE", f"/api/bindings/{binding}")
    expected = 401 if what == "token" else 404
    assert pair.reveal(token, secret)[0] == expected
    assert (pair.write(token, secret), pair.resolve(token, secret)) == (expected, expected)


def test_what_was_given_is_there_at_the_next_request_to_the_other(pair: Pair) -> None:
    name, token, _ = pair.reader()
    secret = pair.secret()
    assert pair.reveal(token, secret)[0] == 404
    pair.bind(principal=name)
    assert pair.reveal(token, secret) == (200, "v1")
