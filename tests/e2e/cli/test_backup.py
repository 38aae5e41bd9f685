"""The restore drill: a server that runs is backed up, a twin is restored on an empty directory and started, and every value of
both is compared by fingerprint; the twin's audit log is verified. And what must be refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyrage
import pytest

from overseer.crypto.checkpoints import Checkpoint
from overseer.crypto.signed_notes import VerifierKey
from tests.e2e.cli.conftest import START_SECONDS, Overseer, command, own_environment
from tests.ports import free_port

pytestmark = [pytest.mark.postgres]

VALUES = {f"drill-{number}": (b"\x00\x01\xff" * number + b"\n\\N\t") for number in range(1, 7)}
WORDS = b"a passphrase of some length"


def fingerprints(overseer: Overseer) -> dict[str, str]:
    return {name: hashlib.sha256(overseer("secret", "get", name).stdout).hexdigest() for name in VALUES}


@contextmanager
def running(overseer: Overseer, log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        server = subprocess.Popen(
            command("server", "run"), env=overseer.environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while overseer("server", "status", code=None).returncode:
            assert server.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield
    finally:
        server.terminate()
        server.wait(40)


@pytest.fixture(scope="module")
def stored(overseer: Overseer) -> Iterator[dict[str, str]]:
    for name, value in VALUES.items():
        overseer("secret", "set", name, "--stdin", stdin=value)
    overseer("secret", "set", "drill-1", "--stdin", stdin=b"the second version")
    yield fingerprints(overseer)
    for name in VALUES:
        overseer("secret", "delete", name, "--yes")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups")


@pytest.fixture(scope="module")
def identity(places: Path) -> Path:
    file = places / "identity.txt"
    file.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    return file


@pytest.fixture(scope="module")
def backup(overseer: Overseer, stored: dict[str, str], places: Path, identity: Path) -> Path:
    checkpoint_beyond(overseer, 0, places / "first.checkpoint")
    recipient = str(pyrage.x25519.Identity.from_str(identity.read_text().strip()).to_public())
    made = json.loads(overseer("backup", "create", "--to", str(places), "--recipient", recipient, "--json").stdout)
    assert made["rows"] > 50
    (places / "signer").write_text(made["signed_by"] + "\n")
    (places / "log_size").write_text(str(made["log_size"]))
    return Path(made["file"])


def checkpoint_beyond(overseer: Overseer, size: int, file: Path) -> Path:
    """A checkpoint that has counted more rows than that."""
    deadline = time.monotonic() + START_SECONDS
    overseer("secret", "list")
    while True:
        taken = overseer("audit", "checkpoint", "--file", str(file), code=None)
        if not taken.returncode and Checkpoint.parse(file.read_text("utf-8")).size > size:
            return file
        assert time.monotonic() < deadline, taken.stderr
        file.unlink(missing_ok=True)
        time.sleep(0.2)


def owner_token(overseer: Overseer) -> str:
    login = json.loads(next((Path(overseer.environment["XDG_CONFIG_HOME"]) / "overseer").glob("*.json")).read_text())
    return str(login["token"])


def twin(overseer: Overseer, home: Path) -> Overseer:
    """Another machine: an empty data directory with the key file alone."""
    other = Overseer(own_environment(home, free_port()))
    other.data_dir.mkdir(mode=0o700, parents=True)
    shutil.copy2(overseer.data_dir / "root.key", other.data_dir / "root.key")
    return other


def test_the_drill(overseer: Overseer, stored: dict[str, str], backup: Path, identity: Path, tmp_path: Path) -> None:
    other = twin(overseer, tmp_path)
    size = int((backup.parent / "log_size").read_text())
    known = ("--checkpoint", str(checkpoint_beyond(overseer, size, backup.parent / "later.checkpoint")))
    done = json.loads(other("restore", str(backup), "--identity", str(identity), *known, "--yes", "--json").stdout)
    assert done["values_opened"] > len(VALUES)
    assert (done["log_verified"], done["older_by"] > 0, done["incarnation"]) == (True, True, 2)
    assert done["signed_by"] == (backup.parent / "signer").read_text().strip()
    assert done["revoked"]["tokens"] >= 1
    other("server", "init", "--renew-owner-token")
    with running(other, tmp_path / "server.log"):
        # The old token ended; the new one lets in.
        other("whoami", code=77, OVERSEER_TOKEN=owner_token(overseer))
        other("login", "--token-file", str(other.data_dir / "owner-token"))
        assert fingerprints(other) == stored
        assert other("secret", "get", "drill-1", "--version", "1").stdout == VALUES["drill-1"]
        assert json.loads(other("key", "verify", "--json").stdout)["unreadable"] == []
        time.sleep(1.5)  # the sealer goes on with the log
        other("audit", "verify")
        for action, code in (("backup:restore", "revoked:"), ("alarm:backup_old", f"older_by:{done['older_by']}")):
            [row] = json.loads(other("audit", "list", "--action", action, "--json").stdout)
            assert row["code"].startswith(code)
        held = b"overseer backup resume"
        assert held in other("doctor", code=None).stdout
        other("backup", "resume", "--take-over")
        assert held not in other("doctor", code=None).stdout


def test_people_can_open_it_with_age_and_tar(backup: Path, identity: Path, tmp_path: Path) -> None:
    opened = pyrage.decrypt(backup.read_bytes(), [pyrage.x25519.Identity.from_str(identity.read_text().strip())])
    subprocess.run(["tar", "xz", "-C", str(tmp_path)], input=opened, check=True)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    for name, one in manifest["tables"].items():
        content = b"".join(path.read_bytes() for path in sorted((tmp_path / "tables" / name).glob("*.copy")))
        assert (hashlib.sha256(content).hexdigest(), len(content)) == (one["sha256"], one["bytes"])
        assert content.count(b"\n") == one["rows"]
    for value in VALUES.values():
        assert value not in opened
    digests = "\n".join((tmp_path / "signature.note").read_text("utf-8").split("\n")[3:5]) + "\n"
    subprocess.run(["sha256sum", "--check", "--strict"], cwd=tmp_path, input=digests.encode(), check=True)


def test_a_verification_needs_no_second_machine(overseer: Overseer, backup: Path, identity: Path) -> None:
    shown = overseer("backup", "verify", str(backup), "--identity", str(identity)).stdout
    assert b"opened with the seal" in shown
    assert b"sealed rows verify" in shown
    assert re.search(rb"made +20\d\d-\d\d-\d\d \d\d:\d\d:\d\dZ, by Overseer", shown)


def test_what_cannot_be_right_is_refused(overseer: Overseer, backup: Path, identity: Path, places: Path, tmp_path: Path) -> None:
    other = twin(overseer, tmp_path)
    cut, flipped = places / "cut.age", places / "flipped.age"
    content = backup.read_bytes()
    cut.write_bytes(content[:-200])
    flipped.write_bytes(content[:5000] + bytes([content[5000] ^ 1]) + content[5001:])
    wrong = places / "wrong.txt"
    wrong.write_text(f"{pyrage.x25519.Identity.generate()}\n")
    for file, key, code in ((cut, identity, 70), (flipped, identity, 70), (backup, wrong, 78), (wrong, identity, 65)):
        refused = other("restore", str(file), "--identity", str(key), "--yes", code=code)
        assert b"Traceback" not in refused.stderr
        assert b"internal" not in refused.stderr
    strange = VerifierKey("overseer/0192f0c1-0000-7000-8000-000000000001/server", b"\x09" * 32)
    refused = other("restore", str(backup), "--identity", str(identity), "--signed-by", str(strange), "--yes", code=70)
    assert b"not signed by" in refused.stderr
    (other.data_dir / "root.key").write_text("overseer-root-key-v1\n" + "ab" * 32 + "\n")
    other("restore", str(backup), "--identity", str(identity), "--yes", code=78)
    shutil.copy2(overseer.data_dir / "root.key", other.data_dir / "root.key")
    known = ("--signed-by", str(places / "signer"))
    kept = other("restore", str(backup), "--identity", str(identity), *known, "--keep-credentials", "--yes", "--json")
    assert json.loads(kept.stdout)["revoked"] == {"tokens": 0, "node_keys": 0, "invitations": 0}  # it was empty all the time
    again = other("restore", str(backup), "--identity", str(identity), "--yes", code=75)
    assert b"not empty" in again.stderr
    with running(other, tmp_path / "server.log"):
        assert b"owner" in other("whoami", OVERSEER_TOKEN=owner_token(overseer)).stdout


def test_a_passphrase_is_as_good(overseer: Overseer, stored: dict[str, str], places: Path) -> None:
    words = places / "words.txt"
    words.write_bytes(WORDS + b"\n")
    file, kept = places / "by-words.age", places / "kept.checkpoint"
    overseer("audit", "checkpoint", "--file", str(kept))
    unsigned = places / "unsigned.age"
    overseer("backup", "create", "--to", str(unsigned), "--passphrase-file", str(words), "--unsigned")
    refused = overseer("backup", "verify", str(unsigned), "--passphrase-file", str(words), code=65)
    assert b"is not signed" in refused.stderr
    overseer("backup", "create", "--to", str(file), "--passphrase-file", str(words))
    shown = overseer("backup", "verify", str(file), "--passphrase-file", str(words), "--checkpoint", str(kept)).stdout
    assert b"every row that it has counted is there" in shown
    words.write_bytes(b"another passphrase of that length\n")
    assert b"passphrase" in overseer("backup", "verify", str(file), "--passphrase-file", str(words), code=78).stderr
    words.write_bytes(b"short\n")
    overseer("backup", "create", "--to", str(places / "no.age"), "--passphrase-file", str(words), code=65)
    overseer("backup", "create", "--to", str(file), "--recipient", "age1nonsense", code=65)
    listed = overseer("backup", "list").stdout
    assert b"by-words.age" in listed
    assert b"(command line)" in listed
    overseer("backup", "create", "--target", "nightly", code=66)
    overseer("backup", "create", code=2)
