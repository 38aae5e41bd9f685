"""Moving in and out by the command line, against a real server: import, export, adopt and their undo. No value is ever said."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import pyrage
import pytest

from overseer.cli.commands.secret_transfer import EXPORT_FORMATS, IMPORT_FORMATS
from overseer.interchange import formats
from tests.doubles.vault_server import VaultServer, served
from tests.e2e.cli.conftest import Overseer

pytestmark = [pytest.mark.postgres]
CANARY = "canary-5be1"
VECTORS = Path(__file__).parents[2] / "vectors" / "sops"


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout + done.stderr).decode()


def value(overseer: Overseer, name: str, app: str) -> str:
    return overseer("secret", "get", name, "--app", app).stdout.decode()


def import_id(done: subprocess.CompletedProcess[bytes]) -> str:
    found: dict[str, Any] = json.loads(done.stdout)
    return str(found.get("id") or found.get("import"))


def test_the_formats_of_the_options_are_those_that_there_are() -> None:
    assert sorted(IMPORT_FORMATS) == sorted(formats.IMPORT_FORMATS)
    assert sorted(EXPORT_FORMATS) == sorted(formats.WRITERS)


def test_an_env_file_goes_in_and_out_and_back(overseer: Overseer, tmp_path: Path) -> None:
    overseer("app", "create", "moved")
    file = tmp_path / ".env"
    file.write_text(f'DB_PASSWORD="{CANARY} $$x"\nAPI_KEY=k1\n')
    dry = overseer("secret", "import", str(file), "--app", "moved", "--dry-run")
    assert CANARY not in said(dry)
    assert "dry run" in said(dry)
    done = overseer("secret", "import", str(file), "--app", "moved", "--json")
    assert CANARY not in said(done)
    assert value(overseer, "db-password", "moved") == f"{CANARY} $x"
    file.write_text("DB_PASSWORD=other\n")
    refused = overseer("secret", "import", str(file), "--app", "moved", code=None)
    assert refused.returncode != 0
    assert "db-password: exists with another value" in said(refused)
    again = overseer("secret", "import", str(file), "--app", "moved", "--on-conflict", "new-version", "--json")
    assert value(overseer, "db-password", "moved") == "other"
    assert "in place" in said(overseer("import", "list"))
    assert "unchanged" in said(overseer("import", "show", import_id(again)))
    overseer("import", "undo", import_id(again))
    assert value(overseer, "db-password", "moved") == f"{CANARY} $x"

    identity = pyrage.x25519.Identity.generate()
    recipient = str(identity.to_public())
    exported = overseer("secret", "export", "--app", "moved", "--format", "json", "--recipient", recipient)
    assert CANARY not in said(exported)
    assert json.loads(pyrage.decrypt(exported.stdout, [identity])) == {"api-key": "k1", "db-password": f"{CANARY} $x"}
    plain = overseer("secret", "export", "--app", "moved", "--plaintext", "--name", "db-password")
    file.write_bytes(plain.stdout)
    same = overseer("secret", "import", str(file), "--app", "moved")
    assert "nothing to do" in said(same)


def test_vault_and_sops(overseer: Overseer, tmp_path: Path) -> None:
    overseer("app", "create", "vaulted")
    sops = ["secret", "import", str(VECTORS / "secrets.env"), "--format", "sops", "--app", "vaulted", "--keep-names"]
    overseer(*sops, "--identity", str(VECTORS / "identity.txt"))
    assert value(overseer, "DB_PASSWORD", "vaulted") == "pa$word=x"
    with served(VaultServer()) as address:
        refused = overseer(
            "secret",
            "import",
            "--from-vault",
            "secret/nope",
            "--app",
            "vaulted",
            code=None,
            VAULT_ADDR=address,
            VAULT_TOKEN=CANARY,
        )
    assert refused.returncode != 0
    assert CANARY not in said(refused)
    dump = json.dumps({"data": {"data": {"password": CANARY}, "metadata": {"version": 1}}}).encode()
    done = overseer("secret", "import", "-", "--format", "vault", "--prefix", "db-", "--app", "vaulted", stdin=dump)
    assert CANARY not in said(done)
    assert value(overseer, "db-password", "vaulted") == CANARY


def test_a_stack_is_adopted_and_given_back(overseer: Overseer, tmp_path: Path) -> None:
    overseer("app", "create", "adopted")
    compose, env = tmp_path / "compose.yaml", tmp_path / "app.env"
    environment = f"    environment:\n      POSTGRES_PASSWORD: {CANARY}\n"
    compose.write_text(f"# kept\nservices:\n  db:\n    image: postgres\n{environment}    env_file: app.env\n")
    env.write_text("API_TOKEN=t0ken # kept\n")
    before = compose.read_bytes(), env.read_bytes()
    for arguments in (["init", "-q"], ["add", "app.env"], ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(tmp_path), *arguments], check=True)
    dry = overseer("adopt", str(tmp_path), "--app", "adopted", "--dry-run")
    assert CANARY not in said(dry)
    assert (compose.read_bytes(), env.read_bytes()) == before
    done = overseer("adopt", str(tmp_path), "--app", "adopted", "--yes")
    assert CANARY not in said(done)
    assert "rotate api-token" in said(done)
    assert "rotate postgres-password" not in said(done)
    assert "db: POSTGRES_PASSWORD becomes POSTGRES_PASSWORD_FILE=/run/secrets/postgres-password" in said(done)
    mount = "    image: postgres\n    volumes:\n      - /etc/secrets/postgres-password:/run/secrets/postgres-password:ro\n"
    moved = before[0].decode().replace("    image: postgres\n", mount)
    assert compose.read_text() == moved.replace(f"_PASSWORD: {CANARY}", "_PASSWORD_FILE: /run/secrets/postgres-password")
    assert env.read_bytes() == b"API_TOKEN=${SECRET:api-token} # kept\n"
    assert value(overseer, "postgres-password", "adopted") == CANARY
    everything = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert CANARY.encode() not in everything
    assert "no plaintext secret" in said(overseer("adopt", str(tmp_path), "--app", "adopted", "--yes"))

    env.write_text("changed\n")
    refused = overseer("adopt", str(tmp_path), "--undo", code=None)
    assert refused.returncode != 0
    assert "app.env: was changed since" in said(refused)
    env.write_bytes(b"API_TOKEN=${SECRET:api-token} # kept\n")
    overseer("adopt", str(tmp_path), "--undo")
    assert (compose.read_bytes(), env.read_bytes()) == before
    assert json.loads(overseer("secret", "list", "--app", "adopted", "--json").stdout) == []


def test_a_stack_that_keeps_its_environment_and_whose_undo_ends(overseer: Overseer, tmp_path: Path) -> None:
    overseer("app", "create", "kept")
    compose = tmp_path / "compose.yaml"
    before = f"services:\n  db:\n    image: postgres\n    environment:\n      POSTGRES_PASSWORD: {CANARY}\n"
    compose.write_text(before)
    overseer("adopt", str(tmp_path), "--app", "kept", "--yes", "--environment-form", "--undo-for", "1s")
    assert compose.read_text() == before.replace(CANARY, '"${SECRET:postgres-password}"')
    undo = (tmp_path / ".overseer-adopt.json").read_bytes()
    names = {one["name"] for one in json.loads(overseer("secret", "list", "--app", "kept", "--json").stdout)}
    deadline = time.monotonic() + 60
    while len(names) > 1 and time.monotonic() < deadline:  # the server erases the key by itself
        time.sleep(0.2)
        names = {one["name"] for one in json.loads(overseer("secret", "list", "--app", "kept", "--json").stdout)}
    assert names == {"postgres-password"}
    # Even where its reader's clock says that there is time, the file is good for nothing.
    fields = json.loads(undo)
    later = fields | {"expires": "2999-01-01T00:00:00+00:00"}
    (tmp_path / ".overseer-adopt.json").write_text(json.dumps(later))
    refused = overseer("adopt", str(tmp_path), "--undo", code=None)
    assert refused.returncode != 0
    (tmp_path / ".overseer-adopt.json").write_bytes(undo)
    over = overseer("adopt", str(tmp_path), "--undo", code=None)
    assert over.returncode != 0
    assert "the time of this undo is over" in said(over)
    assert not (tmp_path / ".overseer-adopt.json").exists()
    assert CANARY not in compose.read_text()
    never = overseer("adopt", str(tmp_path), "--app", "kept", "--yes", "--undo-for", "0s", code=None)
    assert never.returncode != 0
    assert "--undo-for" in said(never)
