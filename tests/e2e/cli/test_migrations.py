"""An app moves from one server to another by the command line: two real servers, one file between them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyrage
import pytest

from overseer.client.api import Client
from overseer.core.scopes import Scope
from overseer.crypto.fingerprints import fingerprint
from overseer.crypto.keys import HmacKey
from tests.e2e.cli.conftest import Overseer, running, server_log
from tests.e2e.cli.test_terminal import on_terminal

pytestmark = [pytest.mark.postgres]
CANARY = "canary-2c9d"
KEY = HmacKey(bytes(32))


@pytest.fixture(scope="module")
def other() -> Iterator[Overseer]:
    """The server that the app moves to."""
    with running("ovs-other-") as client:
        yield client
        assert CANARY.encode() not in server_log(client).read_bytes()


def told(done: subprocess.CompletedProcess[bytes]) -> Any:
    assert CANARY.encode() not in done.stdout + done.stderr
    return json.loads(done.stdout)


def said(done: subprocess.CompletedProcess[bytes]) -> str:
    return (done.stdout + done.stderr).decode()


def owner_of(overseer: Overseer) -> Client:
    return Client(overseer.url, token=(overseer.data_dir / "owner-token").read_text().strip())


def prints(overseer: Overseer) -> dict[str, bytes]:
    """What a deployment of the app would get, as fingerprints under one key."""
    with owner_of(overseer) as client:
        found = client.secrets.resolve(["db", "key"], Scope("moving", "live"))
    return {name: fingerprint(KEY, name, one.value) for name, one in found.items()}


def history(overseer: Overseer) -> list[Any]:
    """Ids, numbers and times of all versions, and which is the active one."""
    with owner_of(overseer) as client:
        return [
            (
                *(one.id, one.name, one.description, one.created_at, one.scope),
                [(each.version, each.active, each.created_at, each.readable_until) for each in client.secrets.versions(one.id)],
            )
            for one in client.secrets.list(app="moving")
        ]


def refused_for(overseer: Overseer, file: str, how: Sequence[str], reason: str) -> None:
    refused = overseer("migrate", "import", file, *how, code=None)
    assert refused.returncode != 0
    assert reason in said(refused), said(refused)
    assert CANARY not in said(refused)


def fill(overseer: Overseer) -> None:
    overseer("app", "create", "moving")
    overseer("env", "create", "live")
    place = ("--app", "moving", "--env", "live")
    overseer("secret", "set", "db", *place, "--description", "the database", "--stdin", stdin=f"{CANARY}-1".encode())
    overseer("secret", "set", "db", *place, "--stdin", stdin=f"{CANARY}-2".encode())
    overseer("secret", "set", "key", "--app", "moving", "--stdin", stdin=b"\x00\xff" + CANARY.encode())


def test_an_app_moves(overseer: Overseer, other: Overseer, tmp_path: Path) -> None:
    fill(overseer)
    identity = pyrage.x25519.Identity.generate()
    keys, file = tmp_path / "key.txt", tmp_path / "moving.age"
    keys.write_text(f"{identity}\n")
    made = told(
        overseer("migrate", "export", "--app", "moving", "-o", str(file), "--recipient", str(identity.to_public()), "--json")
    )
    assert (made["secrets"], made["versions"]) == (2, 3)
    assert file.stat().st_mode & 0o777 == 0o600
    assert CANARY.encode() not in file.read_bytes()
    again = overseer("migrate", "export", "--app", "moving", "-o", str(file), "--recipient", str(identity.to_public()), code=None)
    assert "exists" in said(again)
    opening, mark = ("--identity", str(keys)), ("--signed-by", made["signed_by"])

    dry = told(other("migrate", "import", str(file), *opening, "--dry-run", "--json"))
    assert (dry["signed_by"], dry["instance"]) == (made["signed_by"], made["instance"])
    assert told(other("secret", "list", "--json")) == []
    missing = other("migrate", "verify", str(file), *opening, "--json", code=1)
    assert {one["state"] for one in told(missing)["results"]} == {"missing"}

    damaged, cut = tmp_path / "damaged", tmp_path / "cut"
    content = file.read_bytes()
    damaged.write_bytes(content[:-40] + bytes([content[-40] ^ 1]) + content[-39:])
    cut.write_bytes(content[:-30])
    refused_for(other, str(damaged), [*opening, *mark], "damaged")
    refused_for(other, str(cut), [*opening, *mark], "damaged")
    refused_for(other, str(keys), [*opening, *mark], "no age file")
    refused_for(other, str(file), opening, "give it as --signed-by")  # there is no terminal to ask on
    refused_for(other, str(file), [*opening, "--signed-by", "SHA256:" + "A" * 43], "not the one that was named")
    code, _, asked = on_terminal(other, ["migrate", "import", str(file), *opening], [(b"[y/N]", b"n\n")])
    assert (code, made["signed_by"].encode() in asked) == (1, True)
    assert told(other("secret", "list", "--json")) == []
    answer = told(other("migrate", "import", str(file), *opening, *mark, "--json"))
    assert {one["name"]: (one["state"], one["versions"]) for one in answer["results"]} == {"db": ("new", 2), "key": ("new", 1)}
    assert prints(other) == prints(overseer)
    assert history(other) == history(overseer)
    assert "2 of 2 secrets are equal" in said(other("migrate", "verify", str(file), *opening))
    assert "nothing to do" in said(other("migrate", "import", str(file), *opening, *mark))

    for one in answer["imports"]:
        other("import", "undo", one)
    assert told(other("secret", "list", "--json")) == []
    other("migrate", "import", str(file), *opening, *mark)
    overseer("app", "delete", "moving", "--cascade", "--yes")
    assert set(prints(other)) == {"db", "key"}


def test_a_passphrase_stays_with_the_command_and_what_is_wrong_is_refused(
    overseer: Overseer, other: Overseer, tmp_path: Path
) -> None:
    overseer("app", "create", "second")
    overseer("secret", "set", "pin", "--app", "second", "--stdin", stdin=CANARY.encode())
    words, file = tmp_path / "words", tmp_path / "second.age"
    words.write_text("correct horse battery staple\n")
    made = told(overseer("migrate", "export", "--app", "second", "-o", str(file), "--passphrase-file", str(words), "--json"))
    opening, mark = ("--passphrase-file", str(words)), ("--signed-by", made["signed_by"])
    wrong = tmp_path / "wrong"
    wrong.write_text("another passphrase entirely\n")
    refused_for(other, str(file), ["--passphrase-file", str(wrong), *mark], "does not open")
    assert "second" not in said(other("app", "list"))
    shown = said(other("migrate", "import", str(file), *opening, *mark, "--map-app", "second=third"))
    assert "created app third" in shown
    assert CANARY not in shown
    assert other("secret", "get", "pin", "--app", "third").stdout.decode() == CANARY
