"""Keys and the doctor through the command line, on a server that runs."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from overseer.server.storage.embedded import EmbeddedPostgres
from tests.e2e.cli.conftest import Overseer
from tests.ports import free_port

pytestmark = [pytest.mark.postgres]


def findings(overseer: Overseer, *arguments: str, code: int = 0) -> dict[str, Any]:
    answer = json.loads(overseer("doctor", "--json", *arguments, code=code).stdout)
    levels = [one["level"] for one in answer["findings"]]
    assert (answer["problems"], answer["warnings"]) == (levels.count("problem"), levels.count("warning"))
    return {one["check"]: one for one in answer["findings"]}


def test_a_rotation_runs_beside_everything_and_can_be_watched(overseer: Overseer) -> None:
    overseer("secret", "set", "before-rotation", "--stdin", stdin=b"kept")
    before = json.loads(overseer("key", "status", "--json").stdout)
    assert before["rotation"] is None
    began = json.loads(overseer("key", "rotate", "--no-wait", "--json").stdout)
    assert (began["state"], began["term"]) == ("running", before["newest_term"] + 1)
    refused = overseer("key", "rotate", code=75)
    assert b"rotation is running" in refused.stderr
    overseer("key", "retire", "1", "--yes", code=75)
    overseer("secret", "set", "during-rotation", "--stdin", stdin=b"new")
    assert overseer("secret", "get", "before-rotation").stdout == b"kept"
    now = json.loads(overseer("key", "status", "--json").stdout)
    assert (now["newest_term"], now["rotation"]["id"]) == (began["term"], began["id"])
    shown = overseer("key", "status").stdout
    assert b"rotation" in shown
    assert b"kek" in shown
    for name in ("before-rotation", "during-rotation"):
        overseer("secret", "delete", name, "--yes")


def test_verify_opens_everything(overseer: Overseer) -> None:
    overseer("secret", "set", "verified", "--stdin", stdin=b"canary-of-verify")
    done = overseer("key", "verify", "--json")
    answer = json.loads(done.stdout)
    assert answer["checked"] >= 1
    assert answer["unreadable"] == []
    assert b"canary-of-verify" not in done.stdout + done.stderr
    assert b"rows open" in overseer("key", "verify").stderr
    overseer("secret", "delete", "verified", "--yes")


async def _flip(url: str, name: str) -> str:
    """Change a bit of the version of a secret; the id of the version."""
    connection = await asyncpg.connect(url)
    try:
        flip = (
            "UPDATE secret_version SET ciphertext = set_byte(ciphertext, 13, get_byte(ciphertext, 13) # 1) "
            "WHERE secret_id = (SELECT id FROM secret WHERE name = $1) RETURNING id"
        )
        return str(await connection.fetchval(flip, name))
    finally:
        await connection.close()


def test_verify_names_what_does_not_open(overseer: Overseer) -> None:
    overseer("secret", "set", "flipped", "--stdin", stdin=b"canary-of-verify")
    version = asyncio.run(_flip(EmbeddedPostgres(overseer.data_dir).url, "flipped"))
    done = overseer("key", "verify", code=70)
    assert f"secret_version  {version}  changed" in done.stdout.decode()
    assert b"1 of " in done.stderr
    answer = json.loads(overseer("key", "verify", "--json", code=70).stdout)
    assert [(row["id"], row["code"]) for row in answer["unreadable"]] == [(version, "changed")]
    assert b"canary" not in done.stdout + done.stderr
    overseer("secret", "delete", "flipped", "--yes")
    overseer("key", "verify")


def test_the_doctor_on_the_servers_machine(overseer: Overseer) -> None:
    found = findings(overseer)
    expected = {"data directory", "key file", "tls", "database", "log identity", "root key", "key use", "old terms", "server"}
    assert expected <= set(found)
    assert found["key place"]["level"] == "warning"
    lines = overseer("doctor").stdout.decode().splitlines()
    assert len(lines) == len(found)
    assert all(line.split()[0] in ("ok", "warning") for line in lines)


def test_the_doctor_finds_what_others_may_read(overseer: Overseer) -> None:
    (overseer.data_dir / "root.key").chmod(0o644)
    try:
        found = findings(overseer, code=78)
    finally:
        (overseer.data_dir / "root.key").chmod(0o600)
    assert (found["key file"]["level"], found["root key"]["level"]) == ("problem", "problem")
    assert "chmod 0600" in found["key file"]["advice"]


def test_the_doctor_from_elsewhere(overseer: Overseer, tmp_path: Path) -> None:
    elsewhere = Overseer(overseer.environment | {"OVERSEER_DATA_DIR": str(tmp_path)})
    assert set(findings(elsewhere)) == {"server", "server clock", "key rotation", "old terms"}
    nobody = Overseer(overseer.environment | {"XDG_CONFIG_HOME": str(tmp_path)})
    assert set(findings(nobody, "--remote")) == {"server", "server clock"}
    nowhere = Overseer(overseer.environment | {"OVERSEER_URL": f"http://127.0.0.1:{free_port()}"})
    down = findings(nowhere, "--remote", code=78)
    assert {check: one["level"] for check, one in down.items()} == {"server": "problem"}
