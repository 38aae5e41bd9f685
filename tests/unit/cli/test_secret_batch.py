"""``secret set --batch`` and ``secret move``, and what a deletion says before it deletes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.cli.conftest import Overseer
from tests.unit.cli.test_secret import usage_of
from tests.unit.client.scripted_server import Asked, Reply, scripted_server
from tests.unit.client.test_api import NOW, view

CANARY = "cAnArY-5e1f"


def results(*names: str | None) -> Reply:
    found = [
        {"index": n, "id": f"id-{n}", "secret": None if name is None else {**view(), "name": name}, "etag": None}
        for n, name in enumerate(names)
    ]
    return Reply(body={"results": found})


def test_lines_become_operations_with_the_scope_of_the_options(overseer: Overseer, tmp_path: Path) -> None:
    lines = tmp_path / "many.ndjson"
    lines.write_text(
        '{"name": "db", "value": "v1"}\n\n'
        '{"name": "key", "value_base64": "AA==", "app": "blog"}\n'
        '{"operation": "delete", "id": "0190f3c2-0000-7000-8000-000000000000"}\n'
    )
    with scripted_server(results("db", "key", None)) as server:
        ended = overseer("secret", "set", "--batch", str(lines), "--app", "shop", "--immediate", url=server.url)
    assert ended.code == 0, ended.err
    first, second, third = server.asked[0].json["operations"]
    assert (first["operation"], first["name"], first["value"]) == ("set", "db", "v1")
    assert (first["app"], first["immediate"]) == ("shop", True)
    assert (second["app"], second["value_base64"]) == ("blog", "AA==")
    assert (third["operation"], third["id"]) == ("delete", "0190f3c2-0000-7000-8000-000000000000")
    assert [line.split()[0] for line in ended.text.splitlines()] == ["LINE", "1", "3", "4"]
    assert server.asked[0].headers["idempotency-key"]


def test_refusals_name_lines_and_repeat_nothing(overseer: Overseer) -> None:
    text = f'{{"name": "a", "value": "{CANARY}"}}\n{{"name": "b", "{CANARY}": 1}}\n{CANARY}\n{{"operation": "{CANARY}"}}\n'
    with scripted_server() as server:
        ended = overseer("secret", "set", "--batch", "-", url=server.url, stdin=text.encode())
    assert (ended.code, server.asked) == (65, [])
    assert CANARY not in ended.err + ended.text
    assert [line.split(":")[0] for line in ended.err.splitlines()[1:]] == ["line 2", "line 3", "line 4"]


def test_what_the_server_refuses_is_said_by_line(overseer: Overseer) -> None:
    body: dict[str, Any] = {
        "type": "urn:overseer:error:batch_refused", "title": "Conflict", "status": 409, "detail": "nothing was changed",
        "code": "batch_refused", "request_id": "r",
        "problems": [
            {"place": "body.operations[1]", "rule": "it exists", "code": "already_exists"},
            {"place": "body.operations[0].labels", "rule": "no label", "code": "bad_name"},
        ],
    }  # fmt: skip
    text = b'\n{"operation": "create", "name": "a", "value": "x"}\n\n{"operation": "create", "name": "b", "value": "x"}\n'
    with scripted_server(Reply(409, body, media_type="application/problem+json")) as server:
        ended = overseer("secret", "set", "--batch", "-", url=server.url, stdin=text)
    assert ended.code == 75
    assert ended.err.splitlines()[1:] == ["line 4: it exists", "line 2, labels: no label"]


def test_a_batch_takes_no_name_and_no_value_beside_it(overseer: Overseer) -> None:
    with scripted_server() as server:
        for arguments in (("db", "--batch", "-"), ("--batch", "-", "--generate", "hex"), ("--batch", "-", "--create-only"), ()):
            assert overseer("secret", "set", *arguments, url=server.url, stdin=b"").code == 2
        assert overseer("secret", "set", "--batch", "-", url=server.url, stdin=b"\n").code == 65
    assert server.asked == []


def test_a_deletion_says_what_uses_the_secret_and_what_comes_to_light(overseer: Overseer) -> None:
    consumer = {
        "deployment_id": "d", "app": "shop", "environment": "prod", "node": "n1", "node_state": "active", "project": "shop-prod",
        "reference": "db", "version": 2, "pinned": False, "persists": False, "matches": True, "checked_at": NOW,
        "services": ["web"], "containers": [],
    }  # fmt: skip

    def answer(asked: Asked) -> Reply:
        if asked.method == "DELETE":
            return Reply(204)
        if asked.path.endswith("/usage"):
            return usage_of(view(), consumers=(consumer,))
        return Reply(body={"items": [view(app="shop")], "next_cursor": None})

    with scripted_server(answer) as server:
        ended = overseer("secret", "delete", "db", "--app", "shop", "--yes", "--force", url=server.url)
    assert ended.code == 0
    assert ended.err.splitlines() == [
        "used by shop-prod (app=shop env=prod node=n1): db of web",
        "without it, consumers may get db (global)",
        "deleted db (app=shop)",
    ]
    assert server.asked[-1].path == "/api/secrets/id-1?force=true"


def test_a_move_has_to_say_where_to(overseer: Overseer) -> None:
    def answer(asked: Asked) -> Reply:
        if asked.method == "POST":
            return Reply(body={"secret": view(app="blog"), "unshadowed": [view()], "shadowed": []})
        if asked.path.endswith("/usage"):
            return usage_of()
        return Reply(body={"items": [view(app="shop")], "next_cursor": None})

    with scripted_server(answer) as server:
        start = ("secret", "move", "db", "--app", "shop", "--yes")
        assert overseer(*start, url=server.url).code == 2
        assert overseer(*start, "--to-app", "x", "--to-global", url=server.url).code == 2
        for more in (("--to-app", "blog"), ("--to-global",), ("--to-name", "other")):
            assert overseer(*start, *more, url=server.url).code == 0
    bodies = [asked.json for asked in server.asked if asked.method == "POST"]
    assert [(body["scope"]["app"], body["name"]) for body in bodies] == [("blog", None), (None, None), ("shop", "other")]
