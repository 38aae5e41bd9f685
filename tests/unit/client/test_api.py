from __future__ import annotations

import base64
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from overseer.client import Client, Scope, SecretValue
from overseer.client.login_store import Login, save_login
from overseer.core.errors import ConfigurationProblem, InvalidInput, NotReady, Unauthenticated, Unavailable
from tests.unit.client.scripted_server import Asked, Reply, scripted_server

NOW = "2026-01-01T00:00:00Z"


def view(name: str = "db", number: int = 1, **scope: str) -> dict[str, Any]:
    return {
        "id": f"id-{number}", "name": name, "scope": {"app": None, "environment": None, "node": None} | scope, "version": 3,
        "active_version": 2, "description": "", "labels": {}, "owner": "me", "expires_at": None, "rotation": None, "source": None,
        "created_at": NOW, "updated_at": NOW,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def _clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("OVERSEER_URL", "OVERSEER_TOKEN", "OVERSEER_CA_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_where_and_as_whom_comes_from_arguments_then_variables_then_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unauthenticated, match="overseer login"):
        Client()
    save_login(Login("http://127.0.0.1:1", SecretValue("stored")))
    assert (Client().url, Client().http.token) == ("http://127.0.0.1:1", SecretValue("stored"))
    monkeypatch.setenv("OVERSEER_URL", "http://127.0.0.1:2")
    with pytest.raises(Unauthenticated):  # a stored token does not go to another server
        Client()
    monkeypatch.setenv("OVERSEER_TOKEN", "variable")
    assert (Client().url, Client().http.token) == ("http://127.0.0.1:2", SecretValue("variable"))
    given = Client("http://127.0.0.1:3", "given")
    assert (given.url, given.http.token) == ("http://127.0.0.1:3", SecretValue("given"))


def test_lists_go_through_all_pages() -> None:
    pages = [
        Reply(body={"items": [view(number=1)], "next_cursor": "c/1"}),
        Reply(body={"items": [view(number=2)], "next_cursor": None}),
    ]
    with scripted_server(*pages) as server, Client(server.url, "t") as client:
        assert [item.id for item in client.secrets.list(app="shop")] == ["id-1", "id-2"]
    assert [asked.path for asked in server.asked] == ["/api/secrets?app=shop", "/api/secrets?app=shop&cursor=c%2F1"]


def test_find_takes_the_secret_at_exactly_that_scope() -> None:
    items = [
        view(number=1),
        view(number=2, app="shop"),
        view("db2", 3, app="shop", node="n"),
        view(number=4, app="shop", node="n"),
    ]
    with (
        scripted_server(lambda asked: Reply(body={"items": items, "next_cursor": None})) as server,
        Client(server.url, "t") as client,
    ):
        assert client.secrets.find("db", Scope(app="shop", node="n")).id == "id-4"
        assert client.secrets.find("db").id == "id-1"
        with pytest.raises(Unavailable, match="app=blog"):
            client.secrets.find("db", Scope(app="blog"))
    assert server.asked[0].path == "/api/secrets?name=db&app=shop&node=n&scope=app%2Bnode"
    assert server.asked[1].path == "/api/secrets?name=db&scope=global"


@pytest.mark.parametrize(("raw", "field"), [(b"text \xc3\xa9\n", "value"), (b"\xff\x00", "value_base64"), (b"", "value")])
def test_bytes_go_there_and_come_back_exactly(raw: bytes, field: str) -> None:
    sent = raw.decode() if field == "value" else base64.b64encode(raw).decode()
    replies = [Reply(201, view()), Reply(body={"id": "1", "name": "db", "version": 1, field: sent})]
    with scripted_server(*replies) as server, Client(server.url, "t") as client:
        client.secrets.create("db", SecretValue(raw))
        revealed = client.secrets.reveal("1", reason="because")
    assert server.asked[0].json[field] == sent
    assert revealed.value == SecretValue(raw)
    assert repr(raw) not in repr(revealed)
    assert server.asked[1].json == {"version": None, "reason": "because"}


def test_writes_carry_a_fresh_key_and_the_version_that_is_expected() -> None:
    with scripted_server(lambda asked: Reply(body=view())) as server, Client(server.url, "t") as client:
        client.secrets.update("1", SecretValue("x"), if_version=3)
        client.secrets.update("1", generate="hex:32")
        client.secrets.rotate("1")
        client.secrets.activate("1", 2)
    assert server.asked[0].headers["if-match"] == '"v3"'
    assert "if-match" not in server.asked[1].headers
    assert len({asked.headers["idempotency-key"] for asked in server.asked}) == 4
    assert server.asked[1].json["generate"] == "hex:32"


def test_a_repeated_write_keeps_its_key() -> None:
    with scripted_server(Reply(drop=True), Reply(201, view())) as server, Client(server.url, "t") as client:
        client.secrets.create("db", generate="hex:32")
    first, second = server.asked
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]


def test_a_value_and_a_generator_exclude_each_other() -> None:
    client = Client("http://127.0.0.1:1", "t")
    for value, generate in [(None, None), (SecretValue(""), "hex:32")]:
        with pytest.raises(InvalidInput):
            client.secrets.create("db", value, generate=generate)


@pytest.mark.parametrize("answer", [{}, {"value_base64": "no base64!"}])
def test_a_value_answer_without_a_value_is_refused(answer: dict[str, str]) -> None:
    with (
        scripted_server(Reply(body={"id": "1", "name": "db", "version": 1} | answer)) as server,
        Client(server.url, "t") as client,
        pytest.raises(ConfigurationProblem),
    ):
        client.secrets.reveal("1")


def test_names_are_escaped_in_paths() -> None:
    with scripted_server(lambda asked: Reply(204)) as server, Client(server.url, "t") as client:
        client.apps.delete("../tokens")
        client.environments.delete("a?b")
    assert [asked.path for asked in server.asked] == ["/api/apps/..%2Ftokens", "/api/environments/a%3Fb"]


def event(number: int, state: str, **more: Any) -> bytes:
    data = {"deployment": "d", "node": "local", "state": state, **more}
    return f"id: {number}\nevent: state\ndata: {json.dumps(data)}\n\n".encode()


def test_waiting_for_a_deployment_follows_its_events_and_goes_on_after_the_last_one() -> None:
    streams = iter([event(1, "queued") + b": nothing new\n\n" + event(2, "applying")[:-1], event(2, "applying", output="x")])
    states = iter(["queued", "succeeded"])

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/events"):
            return Reply(body=next(streams), media_type="text/event-stream")
        return Reply(body=deployment(next(states)))

    seen: list[tuple[str, str]] = []
    with scripted_server(answer) as server, Client(server.url, "t") as client:
        view = client.deployments.wait("d", 10, seen=lambda e: seen.append((e.state, e.output)), sleep=lambda s: None)
    assert view.state == "succeeded"
    assert seen == [("queued", ""), ("applying", "x"), ("succeeded", "")]
    asked = [one.headers.get("last-event-id") for one in server.asked if one.path.endswith("/events")]
    assert asked == [None, "1"]


def test_waiting_needs_no_events() -> None:
    """Behind a proxy that does not let them through the states are still told."""
    states = iter(["queued", "queued", "applying", "succeeded"])

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/events"):
            return Reply(502, b"<html>", media_type="text/html")
        return Reply(body=deployment(next(states)))

    seen: list[str] = []
    with scripted_server(answer) as server, Client(server.url, "t") as client:
        view = client.deployments.wait("d", 10, seen=lambda v: seen.append(v.state), sleep=lambda s: None)
    assert view.state == "succeeded"
    assert seen == ["queued", "applying", "succeeded"]


def test_waiting_for_a_deployment_is_bounded() -> None:
    with (
        scripted_server(lambda asked: Reply(body=deployment("queued"))) as server,
        Client(server.url, "t") as client,
        pytest.raises(NotReady, match="still queued"),
    ):
        client.deployments.wait("d", 0, sleep=lambda s: None)


def deployment(state: str) -> dict[str, Any]:
    return {
        "id": "d", "app": "shop", "environment": None, "node": "local", "action": "deploy", "bundle": None, "project": "shop",
        "state": state, "references": [], "services": [], "output": "", "error": "", "created_by": None, "created_at": NOW,
        "finished_at": None,
    }  # fmt: skip


def test_importing_one_module_does_not_import_them_all() -> None:
    code = (
        "import sys, overseer.client.api; print([m for m in sys.modules if m.startswith(('overseer.wire', 'click', 'asyncio'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "['overseer.wire', 'overseer.wire.problems']"


def test_an_empty_token_variable_is_not_somebodys_login(monkeypatch: pytest.MonkeyPatch) -> None:
    """A job whose variable is missing must not run with the rights of whoever logged in on that machine."""
    monkeypatch.setenv("OVERSEER_TOKEN", "")
    with pytest.raises(ConfigurationProblem, match="set and empty"):
        Client("http://127.0.0.1:1")
