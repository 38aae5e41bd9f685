"""Roles, groups, bindings, emergencies and questions about access: what each command asks and prints."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from tests.unit.cli.conftest import Overseer
from tests.unit.cli.test_access import ACCOUNT, GROUP, ROLE, SHOWN_ONCE, TOKEN
from tests.unit.cli.test_login import BINDING
from tests.unit.client.scripted_server import Asked, Reply, scripted_server
from tests.unit.client.test_api import NOW

EMERGENCY = {**BINDING, "active_seconds": 600, "active_until": None}
ACTIVE = {**EMERGENCY, "active_until": NOW, "subject_kind": "group"}
ANSWER = {
    "allowed": False,
    "reasons": ["no_binding"],
    "principal": "ci",
    "kind": "service_account",
    "permission": "secret:reveal",
    "name": "db",
    "app": "shop",
    "environment": None,
    "node": None,
    "secret_id": None,
    "bindings": [{"binding": BINDING, "group": "ops", "lacks": ["app", "name"]}],
}
ENTRY = {
    "secret_id": "s",
    "secret": "db",
    "app": "shop",
    "environment": None,
    "node": None,
    "principal_id": "p",
    "principal": "ci",
    "kind": "service_account",
    "permissions": ["secret:list", "secret:reveal"],
    "dormant": ["secret:delete"],
    "via": [
        {"binding_id": "b", "role": "developer", "group": "ops"},
        {"binding_id": "c", "role": "developer", "group": "ops"},
        {"binding_id": "d", "role": "mine", "group": None},
    ],
}


def answers(asked: Asked) -> Reply:
    """Lists hold the one thing that there is; everything else answers as its path says."""
    path = asked.path.partition("?")[0]
    lists = {"/api/roles": ROLE, "/api/groups": GROUP, "/api/service-accounts": ACCOUNT, "/api/bindings": EMERGENCY}
    if asked.method == "GET" and (path in lists or path.endswith("/members")):
        return Reply(body={"items": [lists.get(path, ACCOUNT)], "next_cursor": None})
    if asked.method == "DELETE" or "/members/" in path:
        return Reply(204)
    known = {"roles": ROLE, "groups": GROUP, "service-accounts": ACCOUNT, "bindings": ACTIVE, "tokens": TOKEN}
    if path.endswith("/rotate"):
        return Reply(201, SHOWN_ONCE)
    return Reply(body=known[path.split("/")[2]], headers={"ETag": '"r7"'})


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (
            ("role", "create", "reader", "--permission", "secret:list"),
            "POST",
            "/api/roles",
            {"name": "reader", "permissions": ["secret:list"], "description": ""},
        ),
        (
            ("role", "update", "viewer", "--add", "secret:list", "--remove", "app:list"),
            "PATCH",
            "/api/roles/r",
            {"permissions": ["secret:list"]},
        ),
        (("role", "update", "viewer", "--rename", "seer"), "PATCH", "/api/roles/r", {"name": "seer"}),
        (("role", "delete", "viewer", "--yes"), "DELETE", "/api/roles/r", None),
        (("role", "delete", "viewer", "--cascade", "--yes"), "DELETE", "/api/roles/r?cascade=true", None),
        (("group", "create", "ops"), "POST", "/api/groups", {"name": "ops", "description": ""}),
        (("group", "update", "ops", "--rename", "sre"), "PATCH", "/api/groups/1", {"name": "sre"}),
        (("group", "add", "ops", "ci"), "PUT", "/api/groups/1/members/ci", None),
        (("group", "remove", "ops", "ci"), "DELETE", "/api/groups/1/members/ci", None),
        (("group", "delete", "ops", "--yes"), "DELETE", "/api/groups/1", None),
        (("service-account", "disable", "ci"), "PATCH", "/api/service-accounts/1", {"disabled": True}),
        (("service-account", "enable", "ci"), "PATCH", "/api/service-accounts/1", {"disabled": False}),
        (
            ("service-account", "update", "ci", "--description", "x"),
            "PATCH",
            "/api/service-accounts/1",
            {"description": "x"},
        ),
        (
            ("token", "rotate", "t1", "--overlap", "10m", "--expires-in", "1d"),
            "POST",
            "/api/tokens/t1/rotate",
            {"expires_in": 86400, "overlap": 600, "description": None},
        ),
        (("break-glass", "activate", "b", "--reason", "it burns"), "POST", "/api/bindings/b/activate", {"reason": "it burns"}),
        (("break-glass", "end", "b"), "POST", "/api/bindings/b/deactivate", None),
        (("binding", "list", "--group", "ops"), "GET", "/api/bindings?group=ops", None),
        (("break-glass", "list"), "GET", "/api/bindings?emergency=true", None),
    ],
)
def test_what_is_asked(overseer: Overseer, arguments: tuple[str, ...], method: str, path: str, body: Any) -> None:
    with scripted_server(answers) as server:
        ended = overseer(*arguments, url=server.url)
    assert ended.code == 0, ended.err
    asked = server.asked[-1]
    assert (asked.method, asked.path, asked.json if asked.body else None) == (method, path, body)


def test_a_role_is_changed_as_it_was_read(overseer: Overseer) -> None:
    with scripted_server(answers) as server:
        overseer("role", "update", "viewer", "--add", "secret:list", url=server.url)
        refused = overseer("role", "update", "viewer", "--remove", "key:read", url=server.url)
    assert server.asked[2].headers["if-match"] == '"r7"'
    assert refused.code == 2
    assert [asked.method for asked in server.asked].count("PATCH") == 1


def test_a_group_holds_what_a_principal_could(overseer: Overseer) -> None:
    parts = ("--app", "*", "--env", "*", "--node", "*", "--name", "*")
    with scripted_server(answers) as server:
        assert overseer("binding", "create", "group:ops", "viewer", *parts, url=server.url).code == 0
        ended = overseer("break-glass", "create", "ci", "owner", "--for", "1h", *parts, url=server.url)
    assert ended.code == 0
    assert " for 1 hour at a time; " in ended.err
    first, second = (asked.json for asked in server.asked)
    assert (first["principal"], first["group"], first["active_seconds"]) == (None, "ops", None)
    assert (second["principal"], second["group"], second["active_seconds"]) == ("ci", None, 3600)


def test_an_emergency_is_not_overlooked(overseer: Overseer) -> None:
    me = {"id": "1", "kind": "user", "name": "ann", "token_id": "t", "token_expires_at": NOW, "bindings": [ACTIVE, EMERGENCY]}

    def answer(asked: Asked) -> Reply:
        return Reply(body=me) if asked.path == "/api/me" else answers(asked)

    with scripted_server(answer) as server:
        activated = overseer("break-glass", "activate", "b", "--reason", "it burns", url=server.url)
        who = overseer("whoami", url=server.url)
        mine = overseer("break-glass", "list", "--mine", url=server.url)
    for ended in (activated, who, mine):
        assert "ALARM: emergency: group:ci is viewer over app=*" in ended.err
        assert ended.err.count("ALARM") == 1
    assert "emergency, dormant" in who.text
    assert activated.text == ""


def test_no_says_why_and_ends_with_77(overseer: Overseer) -> None:
    yes = {**ANSWER, "allowed": True, "reasons": [], "bindings": []}
    with scripted_server(lambda asked: Reply(body=ANSWER if len(server.asked) < 3 else yes)) as server:
        no = overseer("access", "explain", "ci", "secret:reveal", "db", "--app", "shop", url=server.url)
        told = overseer("access", "explain", "ci", "secret:reveal", "db", "--json", url=server.url)
        allowed = overseer("access", "explain", "ci", "secret:reveal", "db", url=server.url)
    assert no.code == told.code == 77
    assert "ci secret:reveal db: no: no binding gives it" in no.text
    assert "group ops" in no.text
    assert "app, name" in no.text
    assert json.loads(told.out)["reasons"] == ["no_binding"]
    assert (allowed.code, allowed.text) == (0, "ci secret:reveal db: yes\n")
    assert server.asked[0].json["app"] == "shop"


def test_a_review_as_csv_is_one_that_a_reader_reads(overseer: Overseer) -> None:
    poisoned = {**ENTRY, "principal": "=cmd()"}
    with scripted_server(lambda asked: Reply(body={"items": [ENTRY, poisoned], "next_cursor": None})) as server:
        ended = overseer("access", "review", "--csv", "--permission", "secret:reveal", url=server.url)
        listed = overseer("access", "review", "--json", url=server.url)
        table = overseer("access", "review", url=server.url)
        both = overseer("access", "review", "--json", "--csv", url=server.url)
    rows = list(csv.DictReader(io.StringIO(ended.text, newline=""), strict=True))
    assert [row["principal"] for row in rows] == ["ci", "'=cmd()"]
    assert rows[0]["via"] == "developer (group ops), mine"
    assert (rows[0]["permissions"], rows[0]["in_an_emergency"]) == ("secret:list secret:reveal", "secret:delete")
    assert json.loads(listed.out)[0]["secret"] == "db"
    assert "IN AN EMERGENCY" in table.text
    assert both.code == 2
    assert server.asked[0].path == "/api/access/review?permission=secret%3Areveal&limit=5000"


def test_the_permissions_of_roles_are_known_without_a_server(overseer: Overseer) -> None:
    offered = json.loads(overseer("role", "permissions", "--json").out)
    assert "secret:reveal" in offered
    assert "node:serve" not in offered
