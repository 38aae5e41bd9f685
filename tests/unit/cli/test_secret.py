from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from tests.unit.cli.conftest import Overseer
from tests.unit.client.scripted_server import Asked, Reply, problem, scripted_server
from tests.unit.client.test_api import NOW, view


def _page(*items: dict[str, Any]) -> Reply:
    return Reply(body={"items": list(items), "next_cursor": None})


def usage_of(*shadows: dict[str, Any], consumers: tuple[dict[str, Any], ...] = ()) -> Reply:
    found = {"secret_id": "id-1", "name": "db", "scope": {}, "version": 3, "active_version": 2, "rollout": None}
    return Reply(body={**found, "last_released_at": None, "consumers": list(consumers), "shadows": list(shadows)})


def _value(**content: str) -> Reply:
    return Reply(body={"id": "id-1", "name": "db", "version": 2, **content})


def test_set_adds_a_version_where_the_secret_exists(overseer: Overseer) -> None:
    with scripted_server(_page(view(app="shop")), Reply(body=view(app="shop"))) as server:
        ended = overseer(
            "secret", "set", "db", "--app", "shop", "--stdin", "--if-version", "3", "--no-activate", url=server.url, stdin=b"x"
        )
    assert ended.code == 0
    assert "db (app=shop): newest version 3, version 2 in use" in ended.err
    asked = server.asked[1]
    assert (asked.method, asked.path, asked.headers["if-match"]) == ("PUT", "/api/secrets/id-1", '"v3"')
    assert asked.json["activate"] is False


def test_set_creates_at_the_scope_with_its_marks(overseer: Overseer) -> None:
    with scripted_server(_page(), Reply(201, view())) as server:
        arguments = ["--app", "shop", "--env", "prod", "--node", "n1", "--description", "d", "--label", "team=a=b"]
        assert overseer("secret", "set", "db", "--generate", "hex", *arguments, url=server.url).code == 0
    body = server.asked[1].json
    assert (body["app"], body["environment"], body["node"]) == ("shop", "prod", "n1")
    assert (body["description"], body["labels"]) == ("d", {"team": "a=b"})


def test_create_only_does_not_look_first(overseer: Overseer) -> None:
    with scripted_server(problem("already_exists", 409, "there is one already")) as server:
        ended = overseer("secret", "set", "db", "--create-only", "--stdin", url=server.url, stdin=b"x")
    assert ended.code == 75
    assert len(server.asked) == 1


def test_if_version_needs_a_secret(overseer: Overseer) -> None:
    with scripted_server(_page()) as server:
        assert overseer("secret", "set", "db", "--stdin", "--if-version", "1", url=server.url, stdin=b"x").code == 66
    assert {one.method for one in server.asked} == {"GET"}


def test_marks_of_an_existing_secret_are_added_to_it(overseer: Overseer) -> None:
    old = {**view(), "labels": {"a": "1", "b": "2"}}
    with scripted_server(_page(old), Reply(body=old), Reply(body=old)) as server:
        assert overseer("secret", "set", "db", "--stdin", "--label", "b=3", url=server.url, stdin=b"x").code == 0
    assert server.asked[2].method == "PATCH"
    assert server.asked[2].json == {"labels": {"a": "1", "b": "3"}}


@pytest.mark.parametrize(
    ("content", "raw"),
    [({"value": "caf\u00e9"}, "café".encode()), ({"value_base64": "/wAK"}, b"\xff\x00\n"), ({"value": ""}, b"")],
)
def test_get_prints_exactly_the_bytes(overseer: Overseer, content: dict[str, str], raw: bytes) -> None:
    with scripted_server(_page(view()), _value(**content)) as server:
        ended = overseer("secret", "get", "db", "--version", "2", "--reason", "deploy by hand", url=server.url)
    assert (ended.code, ended.out, ended.err) == (0, raw, "")
    assert server.asked[1].json == {"version": 2, "reason": "deploy by hand"}


def test_get_as_json_is_the_answer_of_the_api(overseer: Overseer) -> None:
    with scripted_server(_page(view()), _value(value_base64="/wAK")) as server:
        ended = overseer("secret", "get", "db", "--json", url=server.url)
    assert json.loads(ended.out) == {"id": "id-1", "name": "db", "version": 2, "value_base64": "/wAK"}


def test_get_resolved_needs_one_request_and_no_listing(overseer: Overseer) -> None:
    with scripted_server(Reply(body={"values": [{"id": "1", "name": "db", "version": 1, "value": "v"}]})) as server:
        ended = overseer("secret", "get", "db", "--app", "shop", "--resolve", url=server.url)
    assert ended.out == b"v"
    assert server.asked[0].path == "/api/resolve"
    assert server.asked[0].json == {"names": ["db"], "app": "shop", "environment": None, "node": None, "reason": ""}


@pytest.mark.parametrize(
    ("content", "force", "code", "out"),
    [
        ({"value": "line"}, (), 0, b"line\n"),
        ({"value": "a\r\nb\t\n"}, (), 0, b"a\r\nb\t\n\n"),
        ({"value": "\x1b[2J"}, (), 65, b""),
        ({"value": "a\rb"}, (), 65, b""),
        ({"value_base64": "/wA="}, (), 65, b""),
        ({"value_base64": "/wA="}, ("--force",), 0, b"\xff\x00\n"),
    ],
)
def test_on_a_terminal_a_newline_follows_and_control_is_refused(
    overseer: Overseer, monkeypatch: pytest.MonkeyPatch, content: dict[str, str], force: tuple[str, ...], code: int, out: bytes
) -> None:
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda self: True, raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    with scripted_server(_page(view()), _value(**content)) as server:
        ended = overseer("secret", "get", "db", *force, url=server.url)
    assert (ended.code, ended.out) == (code, out)


def test_get_of_what_is_not_there_ends_with_66(overseer: Overseer) -> None:
    with scripted_server(_page()) as server:
        ended = overseer("secret", "get", "db", "--app", "shop", url=server.url)
    assert (ended.code, ended.out) == (66, b"")
    assert "no secret db at exactly app=shop" in ended.err


def test_list_as_table_and_as_json(overseer: Overseer) -> None:
    items = [view(app="shop", environment="demo"), view("k", 2)]
    with scripted_server(lambda asked: _page(*items)) as server:
        table = overseer("secret", "list", "--app", "shop", "--exact", "--label", "a=b", url=server.url)
        listed = overseer("secret", "list", "--json", url=server.url)
    assert table.text.splitlines()[1].split() == ["db", "app=shop", "env=demo", "2", "3", "2026-01-01", "00:00:00Z", "-"]
    assert [item["id"] for item in json.loads(listed.out)] == ["id-1", "id-2"]
    assert server.asked[0].path == "/api/secrets?label=a%3Db&app=shop&scope=app"


def test_history_info_activate_rotate_delete(overseer: Overseer) -> None:
    versions = [
        {"version": 2, "active": True, "created_at": NOW, "created_by": "owner"},
        {"version": 1, "active": False, "created_at": NOW, "created_by": None},
    ]

    def answer(asked: Asked) -> Reply:
        if asked.method == "DELETE":
            return Reply(204)
        if asked.path.endswith("/versions"):
            return _page(*versions)
        if asked.path.endswith("/usage"):
            return usage_of()
        return _page(view()) if asked.method == "GET" else Reply(body=view())

    with scripted_server(answer) as server:
        history = overseer("secret", "history", "db", url=server.url)
        info = overseer("secret", "info", "db", url=server.url)
        codes = [
            overseer("secret", *arguments, url=server.url).code
            for arguments in (
                ("activate", "db", "1"),
                ("rotate", "db"),
                ("rotate", "db", "--generate", "uuid"),
                ("delete", "db", "--yes"),
            )
        ]
    assert codes == [0, 0, 0, 0]
    assert [line.split()[0] for line in history.text.splitlines()[1:]] == ["2", "1"]
    assert "newest version  3" in info.text
    changes = [(asked.method, asked.path, asked.json if asked.body else None) for asked in server.asked if asked.method != "GET"]
    empty = {"value": None, "value_base64": None, "immediate": False}
    assert changes == [
        ("POST", "/api/secrets/id-1/activate", {"version": 1, "immediate": False}),
        ("POST", "/api/secrets/id-1/rotate", {**empty, "generate": None}),
        ("POST", "/api/secrets/id-1/rotate", {**empty, "generate": "uuid"}),
        ("DELETE", "/api/secrets/id-1", None),
    ]


def test_explain_shows_the_winner_first(overseer: Overseer) -> None:
    body = {"name": "db", "winner": view(app="shop"), "shadowed": [view(node="n"), view()], "precedence": []}
    with scripted_server(Reply(body=body)) as server:
        ended = overseer("secret", "explain", "db", "--app", "shop", "--node", "n", url=server.url)
    assert [line.split()[:2] for line in ended.text.splitlines()[1:]] == [
        ["used", "app=shop"],
        ["shadowed", "node=n"],
        ["shadowed", "global"],
    ]


def test_deleting_without_yes_needs_a_terminal(overseer: Overseer, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_terminal(*args: object) -> int:
        raise OSError("no such device or address")

    monkeypatch.setattr("overseer.cli.terminal.os.open", no_terminal)
    with scripted_server(_page(view()), usage_of()) as server:
        ended = overseer("secret", "delete", "db", url=server.url)
    assert ended.code == 2
    assert "--yes" in ended.err
    assert all(asked.method == "GET" for asked in server.asked)
