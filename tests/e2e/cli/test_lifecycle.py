"""Secrets, access and audit through the command line, a real server and a real database."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli.conftest import Overseer

pytestmark = [pytest.mark.postgres]


def _json(done: Any) -> Any:
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def place(overseer: Overseer) -> list[str]:
    """The scope options of an app and an environment that exist."""
    overseer("app", "create", "life")
    overseer("env", "create", "prod")
    return ["--app", "life", "--env", "prod"]


@pytest.mark.parametrize(
    "value", [b"", b"\n", b"pa$$word ${HOME}", "naïve ✓".encode(), b"\xff\x00\r\n", os.urandom(1024 * 1024)],
    ids=["empty", "newline", "dollars", "unicode", "bytes", "one MiB"],
)  # fmt: skip
def test_every_byte_comes_back(overseer: Overseer, place: list[str], tmp_path: Path, value: bytes) -> None:
    overseer("secret", "set", "exact", *place, "--stdin", stdin=value)
    assert overseer("secret", "get", "exact", *place).stdout == value
    (tmp_path / "value").write_bytes(value)
    overseer("secret", "set", "from-file", *place, "--file", str(tmp_path / "value"))
    assert overseer("secret", "get", "from-file", *place, "--resolve").stdout == value


def test_versions_go_forward_and_back(overseer: Overseer, place: list[str]) -> None:
    overseer("secret", "set", "db", *place, "--stdin", stdin=b"one")
    overseer("secret", "set", "db", *place, "--stdin", "--if-version", "1", stdin=b"two")
    late = overseer("secret", "set", "db", *place, "--stdin", "--if-version", "1", stdin=b"three", code=75)
    assert b"overseer: error: " in late.stderr
    overseer("secret", "set", "db", *place, "--create-only", "--stdin", stdin=b"x", code=75)
    overseer("secret", "rotate", "db", *place, "--generate", "hex:16")
    history = _json(overseer("secret", "history", "db", *place, "--json"))
    assert [(version["version"], version["active"]) for version in history] == [(3, True), (2, False), (1, False)]
    overseer("secret", "activate", "db", "1", *place)
    assert overseer("secret", "get", "db", *place).stdout == b"one"
    assert overseer("secret", "get", "db", *place, "--version", "2").stdout == b"two"
    assert len(overseer("secret", "get", "db", *place, "--version", "3").stdout) == 32
    overseer("secret", "get", "db", *place, "--version", "9", code=66)
    overseer("secret", "delete", "db", *place, "--yes")
    overseer("secret", "get", "db", *place, code=66)


def test_the_most_specific_one_is_used(overseer: Overseer, place: list[str]) -> None:
    overseer("secret", "set", "who", "--stdin", stdin=b"global")
    overseer("secret", "set", "who", "--app", "life", "--stdin", stdin=b"app")
    assert overseer("secret", "get", "who", *place, "--resolve").stdout == b"app"
    lines = overseer("secret", "explain", "who", *place).stdout.decode().splitlines()
    assert [line.split()[:2] for line in lines[1:]] == [["used", "app=life"], ["shadowed", "global"]]
    names = [item["name"] for item in _json(overseer("secret", "list", "--app", "life", "--exact", "--json"))]
    assert names == ["who"]


def test_reading_is_audited_with_its_reason(overseer: Overseer, place: list[str]) -> None:
    overseer("secret", "set", "audited", *place, "--generate", "password")
    overseer("secret", "get", "audited", *place, "--reason", "e2e says so")
    row = _json(overseer("audit", "list", "--action", "secret:reveal", "--resource", "audited", "--json"))[0]
    assert (row["actor"], row["outcome"], row["reason"], row["app"], row["version"]) == (
        "owner",
        "allowed",
        "e2e says so",
        "life",
        1,
    )


def test_a_service_account_sees_what_its_binding_gives_until_its_token_ends(overseer: Overseer, place: list[str]) -> None:
    overseer("secret", "set", "ci-key", *place, "--stdin", stdin=b"canary")
    overseer("service-account", "create", "ci")
    created = _json(overseer("token", "create", "ci", "--expires-in", "1h", "--json"))
    token = {"OVERSEER_TOKEN": created["token"]}
    overseer("secret", "get", "ci-key", *place, code=77, **token)
    overseer("binding", "create", "ci", "viewer", "--app", "life", "--env", "prod", "--node", "*", "--name", "ci-*")
    assert [item["name"] for item in _json(overseer("secret", "list", "--json", **token))] == ["ci-key"]
    refused = overseer("secret", "get", "ci-key", *place, code=77, **token)
    assert b"canary" not in refused.stdout + refused.stderr
    overseer("token", "revoke", created["id"])
    overseer("secret", "list", code=77, **token)


def test_run_gives_what_applies_and_refuses_what_is_missing(overseer: Overseer, place: list[str]) -> None:
    overseer("secret", "set", "run-me", *place, "--stdin", stdin=b"a b$c")
    done = overseer("run", *place, "--only", "run-me", "--", "sh", "-c", 'printf %s "$RUN_ME"; exit 3', code=3)
    assert done.stdout == b"a b$c"
    missing = overseer("run", *place, "--only", "run-me,nope-1,nope-2", "--", "true", code=66).stderr
    assert b"nope-1" in missing
    assert b"nope-2" in missing


def test_a_wrong_name_is_refused_by_rule_and_not_echoed(overseer: Overseer) -> None:
    done = overseer("secret", "set", "b\u00e4d canary", "--generate", "hex", code=65)
    assert b"a name has 1 to 128 characters" in done.stderr
    assert b"canary" not in done.stderr


def test_without_a_server_the_url_is_named(overseer: Overseer) -> None:
    done = overseer("secret", "list", code=69, OVERSEER_URL="http://127.0.0.1:1", OVERSEER_TOKEN="ovs_x")
    assert done.stderr == b"overseer: error: cannot reach http://127.0.0.1:1: connection refused\n"
    assert done.stdout == b""


def test_init_again_replaces_nothing(overseer: Overseer) -> None:
    before = [(path, path.read_bytes()) for path in (overseer.data_dir / "owner-token", overseer.data_dir / "root.key")]
    again = _json(overseer("server", "init", "--json"))
    assert (again["created"], again["owner_token_file"]) == (False, None)
    assert [(path, path.read_bytes()) for path, _ in before] == before
    assert all(path.stat().st_mode & 0o777 == 0o600 for path, _ in before)


def test_a_second_server_on_the_same_port_is_refused(overseer: Overseer) -> None:
    assert b"overseer" in overseer("server", "run", code=78).stderr


def test_status_and_seal_need_no_token(overseer: Overseer) -> None:
    bare = {"XDG_CONFIG_HOME": "/nonexistent"}
    assert _json(overseer("server", "status", "--json", **bare))["status"] == "ok"
    seal = _json(overseer("seal", "status", "--json", **bare))
    assert (seal["sealed"], seal["kind"], seal["setting"], seal["initialised"]) == (False, "file", "file", True)
