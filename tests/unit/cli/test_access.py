"""Apps, environments, nodes, service accounts, tokens, roles, bindings, audit, seal: what each command asks and prints."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from overseer.cli.audit_filters import moment_of
from tests.unit.cli.conftest import Overseer
from tests.unit.cli.test_login import BINDING
from tests.unit.client.scripted_server import Asked, Reply, scripted_server
from tests.unit.client.test_api import NOW

PART = {"id": "1", "name": "shop", "description": "d", "created_at": NOW}
NODE = {**PART, "name": "n1", "state": "active", "agent_version": "1", "last_seen_at": None}
ACCOUNT = {**PART, "name": "ci", "kind": "service_account", "disabled": False}
TOKEN = {
    "id": "t1",
    "principal": "ci",
    "principal_id": "1",
    "description": "",
    "expires_at": NOW,
    "networks": None,
    "revoked_at": None,
    "last_used_at": None,
    "created_at": NOW,
}
ROLE = {"id": "r", "name": "viewer", "permissions": ["app:list"], "built_in": True}
GROUP = {**PART, "name": "ops", "members": 2}
ROW = {
    "id": "1.2.3",
    "at": NOW,
    "request_id": "r",
    "actor": "owner",
    "actor_id": None,
    "actor_kind": "user",
    "on_behalf_of": None,
    "token_id": None,
    "action": "secret:reveal",
    "outcome": "denied",
    "code": "no_binding",
    "resource_kind": "secret",
    "resource_id": None,
    "resource_name": "db",
    "app": "shop",
    "environment": None,
    "node": None,
    "version": 2,
    "peer": "",
    "client": "",
    "reason": "",
    "repeats": 3,
}
SHOWN_ONCE = {"id": "t1", "node": "n1", "token": "ovs_once", "expires_at": NOW}


@pytest.mark.parametrize(
    ("arguments", "answer", "method", "path", "body"),
    [
        (("app", "create", "shop", "--description", "d"), PART, "POST", "/api/apps", {"name": "shop", "description": "d"}),
        (("env", "create", "demo"), PART, "POST", "/api/environments", {"name": "demo", "description": ""}),
        (("env", "delete", "demo", "--yes"), None, "DELETE", "/api/environments/demo", None),
        (("node", "create", "n1"), NODE, "POST", "/api/nodes", {"name": "n1", "description": "", "labels": {}}),
        (
            ("node", "create", "n2", "--label", "zone=a", "--label", "disk="),
            NODE,
            "POST",
            "/api/nodes",
            {"name": "n2", "description": "", "labels": {"zone": "a", "disk": ""}},
        ),
        (("node", "drain", "n1"), NODE, "PATCH", "/api/nodes/n1", {"drained": True}),
        (("node", "undrain", "n1"), NODE, "PATCH", "/api/nodes/n1", {"drained": False}),
        (("node", "revoke", "n1", "--yes"), NODE, "POST", "/api/nodes/n1/revoke", None),
        (
            ("node", "enrol-token", "n1", "--expires-in", "10m"),
            SHOWN_ONCE,
            "POST",
            "/api/enrolment-tokens",
            {"node": "n1", "expires_in": 600},
        ),
        (("service-account", "create", "ci"), ACCOUNT, "POST", "/api/service-accounts", {"name": "ci", "description": ""}),
        (
            ("token", "create", "ci", "--expires-in", "30d", "--network", "10.0.0.0/8"),
            SHOWN_ONCE,
            "POST",
            "/api/tokens",
            {"principal": "ci", "description": "", "expires_in": 2592000, "networks": ["10.0.0.0/8"]},
        ),
        (("token", "revoke", "t1"), None, "DELETE", "/api/tokens/t1", None),
        (
            ("binding", "create", "ci", "viewer", "--app", "shop", "--env", "*", "--node", "-", "--name", "db-*"),
            BINDING,
            "POST",
            "/api/bindings",
            {
                "principal": "ci",
                "group": None,
                "role": "viewer",
                "app": "shop",
                "environment": "*",
                "node": "-",
                "name": "db-*",
                "expires_at": None,
                "active_seconds": None,
            },
        ),
        (("binding", "delete", "b"), None, "DELETE", "/api/bindings/b", None),
    ],
)
def test_what_is_asked(
    overseer: Overseer, arguments: tuple[str, ...], answer: dict[str, Any] | None, method: str, path: str, body: Any
) -> None:
    with scripted_server(Reply(204) if answer is None else Reply(201, answer)) as server:
        ended = overseer(*arguments, url=server.url)
    assert ended.code == 0
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.json if asked.body else None) == (method, path, body)


@pytest.mark.parametrize("arguments", [("node", "enrol-token", "n1"), ("token", "create", "ci")])
def test_a_token_alone_goes_to_stdout(overseer: Overseer, arguments: tuple[str, ...]) -> None:
    with scripted_server(Reply(201, SHOWN_ONCE)) as server:
        ended = overseer(*arguments, url=server.url)
    assert ended.out == b"ovs_once\n"
    assert "ovs_once" not in ended.err


@pytest.mark.parametrize(
    ("noun", "item", "cells"),
    [
        ("app", PART, ["shop", "2026-01-01", "00:00:00Z", "d"]),
        ("env", PART, ["shop", "2026-01-01", "00:00:00Z", "d"]),
        ("node", NODE, ["n1", "active", "1", "-", "-", "d"]),
        ("service-account", ACCOUNT, ["ci", "active", "2026-01-01", "00:00:00Z", "d"]),
        ("token", TOKEN, ["t1", "ci", "until", "2026-01-01", "00:00:00Z", "-", "-"]),
        ("role", ROLE, ["viewer", "built", "in", "0", "app:list"]),
        ("group", GROUP, ["ops", "2", "2026-01-01", "00:00:00Z", "d"]),
        ("binding", BINDING, ["b", "ci", "viewer", "*", "-", "*", "db-*", "-"]),
        (
            "audit",
            ROW,
            ["2026-01-01", "00:00:00Z", "owner", "secret:reveal", "denied:", "no_binding", "×3", "secret", "db@2", "app=shop"],
        ),
    ],
)
def test_lists(overseer: Overseer, noun: str, item: dict[str, Any], cells: list[str]) -> None:
    with scripted_server(lambda asked: Reply(body={"items": [item], "next_cursor": None})) as server:
        table = overseer(noun, "list", url=server.url)
        listed = overseer(noun, "list", "--json", url=server.url)
    assert (table.code, listed.code) == (0, 0)
    assert table.text.splitlines()[1].split() == cells
    assert json.loads(listed.out)[0]["id"] == item["id"]


def test_a_service_account_is_deleted_by_its_name(overseer: Overseer) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(204) if asked.method == "DELETE" else Reply(body={"items": [ACCOUNT], "next_cursor": None})

    with scripted_server(answer) as server:
        assert overseer("service-account", "delete", "ci", "--yes", url=server.url).code == 0
        assert overseer("service-account", "delete", "other", "--yes", url=server.url).code == 66
    assert [asked.path for asked in server.asked if asked.method == "DELETE"] == ["/api/service-accounts/1"]


@pytest.mark.parametrize("missing", ["--app", "--env", "--node", "--name"])
def test_no_part_of_a_binding_has_a_default(overseer: Overseer, missing: str) -> None:
    parts = {"--app": "*", "--env": "*", "--node": "*", "--name": "*"}
    del parts[missing]
    with scripted_server(Reply(201, BINDING)) as server:
        ended = overseer("binding", "create", "ci", "viewer", *(word for pair in parts.items() for word in pair), url=server.url)
    assert ended.code == 2
    assert missing in ended.err
    assert server.asked == []


def test_the_text_of_a_token_is_not_taken_for_its_id(overseer: Overseer) -> None:
    ended = overseer("token", "revoke", "ovs_canary")
    assert ended.code == 2
    assert "canary" not in ended.err


def test_the_audit_log_is_filtered_and_bounded(overseer: Overseer) -> None:
    rows = [{**ROW, "id": str(number)} for number in range(3)]
    with scripted_server(lambda asked: Reply(body={"items": rows, "next_cursor": None})) as server:
        ended = overseer(
            "audit", "list", "--request-id", "r", "--since", "2026-01-01T00:00:00Z", "--limit", "2", "--json", url=server.url
        )
    assert len(json.loads(ended.out)) == 2
    assert server.asked[0].path == "/api/audit?since=2026-01-01T00%3A00%3A00Z&request_id=r&limit=2"


def test_a_duration_means_that_long_ago() -> None:
    found = moment_of("24h")
    assert found is not None
    age = datetime.now(UTC) - datetime.fromisoformat(found)
    assert timedelta(hours=24) <= age < timedelta(hours=24, minutes=1)
    assert moment_of("2026-01-01T00:00:00+02:00") == "2026-01-01T00:00:00+02:00"


def test_the_seal_is_shown_and_opened_without_a_token(overseer: Overseer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OVERSEER_TOKEN")
    status = {"sealed": False, "kind": "passphrase", "initialised": True}
    with scripted_server(lambda asked: Reply(body=status)) as server:
        assert "unsealed" in overseer("seal", "status", url=server.url).text
        opened = overseer("seal", "unseal", "--stdin", url=server.url, stdin=b"correct horse\n")
    assert opened.code == 0
    assert [one.path for one in server.asked] == ["/api/seal", "/api/seal", "/api/seal/unseal"]
    assert server.asked[2].json["passphrase"] == "correct horse"
    assert "authorization" not in server.asked[2].headers
    assert "horse" not in opened.err + opened.text


def test_exit_codes_are_all_explained(overseer: Overseer) -> None:
    from overseer.core.errors import error_classes

    told = {(row["exit_code"], row["error"]) for row in json.loads(overseer("help", "exit-codes", "--json").out)}
    assert {(cls.exit_code, cls.code) for cls in error_classes()} <= told
    assert {(0, ""), (2, ""), (130, "")} <= told


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(overseer: Overseer, shell: str) -> None:
    assert "_OVERSEER_COMPLETE" in overseer("completion", shell).text
