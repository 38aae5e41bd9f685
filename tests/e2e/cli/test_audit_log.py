"""The sealed log on a server that runs by itself: checkpoint, export, verification with nothing but files, and the database."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from overseer.crypto.checkpoints import Checkpoint, key_chain, signer_of
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.storage.embedded import EmbeddedPostgres
from tests.e2e.cli.conftest import Overseer
from tests.ports import free_port

pytestmark = [pytest.mark.postgres]
NOWHERE = {"OVERSEER_URL": "", "OVERSEER_TOKEN": ""}


def sealed(overseer: Overseer) -> dict[str, Any]:
    """The integrity once everything that happened before is sealed."""
    deadline = time.monotonic() + 90
    overseer("app", "list")
    while True:
        view: dict[str, Any] = json.loads(overseer("audit", "integrity", "--json", code=None).stdout)
        # The question itself is a row that waits to be sealed.
        if view["checkpoint"] is not None and view["unsealed_rows"] <= 1:
            return view
        assert time.monotonic() < deadline, view
        time.sleep(0.2)


def test_the_walk_through_of_the_documentation(overseer: Overseer, tmp_path: Path) -> None:
    view = sealed(overseer)
    assert view["state"] == "ok"
    assert overseer("audit", "integrity").stdout.startswith(b"state       ok")
    key, note, export = tmp_path / "audit.key", tmp_path / "audit.checkpoint", tmp_path / "audit.jsonl"
    key.write_bytes(overseer("audit", "key").stdout)
    overseer("audit", "checkpoint", "--file", str(note))
    chain = key_chain(VerifierKey.parse(key.read_text("utf-8")), [])
    assert signer_of(note.read_text("utf-8"), chain) is not None
    overseer("audit", "export", "--format", "jsonl", "--file", str(export))
    kept = ("--key", str(key), "--checkpoint", str(note))
    offline = {**NOWHERE, "XDG_CONFIG_HOME": str(tmp_path), "OVERSEER_DATA_DIR": str(tmp_path / "none")}
    done = overseer("audit", "verify", str(export), *kept, **offline)
    assert done.stdout.endswith(b"verified\n")
    assert done.stderr == b""
    report = json.loads(overseer("audit", "verify", str(export), "--json", **offline).stdout)
    assert report["verified"]
    assert report["newest"]["size"] >= Checkpoint.parse(note.read_text("utf-8")).size
    assert len(report["warnings"]) == 2
    assert overseer("audit", "verify", *kept).stdout.endswith(b"verified\n")  # the database, beside the server


def test_a_changed_line_ends_with_1_and_says_which(overseer: Overseer, tmp_path: Path) -> None:
    sealed(overseer)
    export = tmp_path / "audit.jsonl"
    export.write_bytes(overseer("audit", "export", "--readable").stdout)
    lines = export.read_bytes().splitlines(keepends=True)
    rows = [at for at, line in enumerate(lines) if line.startswith(b'{"record"')]
    assert json.loads(lines[rows[0]])["row"]["action"] == "server:init"
    del lines[rows[2]]
    export.write_bytes(b"".join(lines))
    done = overseer("audit", "verify", str(export), code=1)
    assert b"REMOVED  row 2: removed" in done.stdout
    assert done.stdout.endswith(b"the log does not verify\n")
    found = json.loads(overseer("audit", "verify", str(export), "--json", code=1).stdout)
    assert (found["verified"], found["findings"][0]["kind"], found["findings"][0]["index"]) == (False, "removed", 2)
    export.write_bytes(b"{}\n")
    assert b"no export of an audit log" in overseer("audit", "verify", str(export), code=65).stderr


def test_a_changed_row_of_the_database_ends_with_1(overseer: Overseer) -> None:
    sealed(overseer)
    first = "(incarnation, xact, id) = (SELECT incarnation, xact, id FROM audit ORDER BY incarnation, xact, id LIMIT 1)"

    async def change(client: str) -> None:
        connection = await asyncpg.connect(EmbeddedPostgres(overseer.data_dir).start().replace("overseer@", "postgres@", 1))
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(f"UPDATE audit SET client = $1 WHERE {first}", client)
        await connection.close()

    asyncio.run(change("somebody else"))
    try:
        done = overseer("audit", "verify", code=1)
    finally:
        asyncio.run(change("server init"))
    assert b"CHANGED  row 0 (id 1." in done.stdout
    assert overseer("audit", "verify").stdout.endswith(b"verified\n")


def test_a_new_key_is_followed(overseer: Overseer, tmp_path: Path) -> None:
    sealed(overseer)
    old = tmp_path / "old.key"
    old.write_bytes(overseer("audit", "key").stdout)
    overseer("audit", "rotate-key", code=2)
    made = overseer("audit", "rotate-key", "--yes").stdout
    assert made == overseer("audit", "key").stdout != old.read_bytes()
    sealed(overseer)
    assert overseer("audit", "verify", "--key", str(old)).stdout.endswith(b"verified\n")
    assert overseer("audit", "verify", "--key", made.decode().strip()).stdout.endswith(b"verified\n")


def test_a_database_that_is_not_there(overseer: Overseer, tmp_path: Path) -> None:
    url = f"postgresql://nobody@127.0.0.1:{free_port()}/none"
    done = overseer("audit", "verify", code=69, OVERSEER_DATABASE_URL=url)
    assert b"cannot be reached" in done.stderr
    missing = overseer("audit", "verify", "--key", str(tmp_path / "none"), code=65)
    assert b"cannot be read" in missing.stderr
