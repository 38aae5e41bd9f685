"""Seals with real server processes: shares through two workers, a service that comes late, a change under a running server, and
kills in the middle of a change."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from overseer.core.errors import KeyProblem, OverseerError, Sealed
from overseer.core.secret_value import SecretValue
from overseer.server.services.bootstrap import SealSetting, open_keyring
from overseer.server.storage.connection import login_connection
from overseer.server.storage.database import Session
from overseer.server.storage.keyring_rows import load_instance
from tests.doubles.vault_server import VaultServer, served
from tests.doubles.vault_transit import TransitEngine, TransitKey
from tests.integration.server_process.installation import Installation, RunningServer, until

pytestmark = pytest.mark.postgres
Run = Callable[[dict[str, str]], RunningServer]
VALUE = "cAnArY-of-a-value"


@pytest.fixture
def shared(short_dir: Path) -> Iterator[Installation]:
    """An installation whose seal is 3 of 5 shares."""
    made = Installation(Path(f"{short_dir}/s{time.monotonic_ns()}"), seal="shamir:3/5")
    yield made
    made.postgres.stop()


def give(server: RunningServer, share: SecretValue, *, anew: bool = False) -> dict[str, object]:
    """One share over the API, by a connection of its own: whichever worker accepts it."""
    answer = server.request("POST", "/api/seal/unseal", json={"share": share.reveal().decode(), "anew": anew})
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


def opens_everywhere(server: RunningServer, token: str) -> None:
    """Thirty answers in a row: connections go to either worker."""
    deadline, streak = time.monotonic() + 90, 0
    while streak < 30 and time.monotonic() < deadline:
        streak = streak + 1 if server.get("/api/secrets", token).status_code == 200 else 0
    assert streak == 30, server.said()


def overseer(settings: dict[str, str], *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """The command line as on the server's machine."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OVERSEER_")}
    code = "import sys; from overseer.cli.main import main; sys.exit(main())"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=kept | settings, input=stdin, capture_output=True, timeout=120, check=False)


def test_shares_given_through_either_worker_count_together(shared: Installation, run: Run) -> None:
    server = run(shared.settings(OVERSEER_SEAL="shamir", OVERSEER_WORKERS="2"))
    server.wait_for("/health/live", 200)
    until(lambda: len(server.workers()) == 2)
    status = server.get("/api/seal").json()
    assert (status["sealed"], status["progress"]) == (True, {"given": 0, "threshold": 3, "count": 5})
    assert server.get("/api/secrets", shared.owner_token).status_code == 503
    wrong = server.request("POST", "/api/seal/unseal", json={"share": "ovshare1-" + "a" * 72})
    assert (wrong.status_code, "mistyped" in wrong.text) == (403, True)
    assert give(server, shared.shares[0])["progress"]["given"] == 1  # type: ignore[index]
    assert give(server, shared.shares[0])["progress"]["given"] == 1, "the same share counts once"  # type: ignore[index]
    assert give(server, shared.shares[3])["progress"]["given"] == 2  # type: ignore[index]
    seen = {server.get("/api/seal").json()["progress"]["given"] for _ in range(20)}
    assert seen == {2}, "every worker knows the same progress"
    assert give(server, shared.shares[1], anew=True)["progress"]["given"] == 1  # type: ignore[index]
    server.kill_worker()  # what was gathered is the supervisor's
    server.wait_for("/health/live", 200)
    assert give(server, shared.shares[4])["progress"]["given"] == 2  # type: ignore[index]
    assert give(server, shared.shares[0])["sealed"] is False
    opens_everywhere(server, shared.owner_token)
    server.kill_worker()
    opens_everywhere(server, shared.owner_token)
    rows = server.wait_for("/api/audit?action=seal:unseal", 200, shared.owner_token).json()["items"]
    codes = [(row["outcome"], row.get("code", "")) for row in reversed(rows)]
    assert codes[0] == ("denied", "wrong_share")
    assert codes[1:4] == [("allowed", "share_accepted")] * 3
    assert codes[4:] == [("allowed", "shares_anew"), ("allowed", "share_accepted"), ("allowed", "")]
    assert server.stop() == 0
    words = [share.reveal().decode()[9:] for share in shared.shares]
    assert not any(word in server.said() for word in words)


def test_the_command_line_unseals_with_shares_and_upgrades_with_them(shared: Installation, run: Run) -> None:
    settings = shared.settings(OVERSEER_SEAL="shamir")
    server = run(settings)
    server.wait_for("/health/live", 200)
    client = settings | {"OVERSEER_URL": server.url}
    lines = b"\n".join(share.reveal() for share in shared.shares)
    one = overseer(client, "seal", "unseal", "--stdin", stdin=lines.splitlines()[0])
    assert (one.returncode, b"1 of 3 given (5 exist)" in one.stderr) == (0, True), one.stderr
    assert b"1 of 3" in overseer(client, "seal", "status").stdout
    rest = overseer(client, "seal", "unseal", "--stdin", stdin=lines)
    assert (rest.returncode, rest.stderr.strip()) == (0, b"unsealed")
    assert b"unsealed since" in overseer(client, "seal", "status").stdout
    again = overseer(settings, "server", "init", "--stdin", stdin=lines)
    assert (again.returncode, b"is set up" in again.stderr) == (0, True), again.stderr
    few = overseer(settings, "server", "init", "--stdin", stdin=b"\n".join(lines.splitlines()[:2]))
    assert (few.returncode, b"2 different shares are too few: 3" in few.stderr) == (78, True), few.stderr
    for done in (one, rest, again, few):
        assert b"ovshare1" not in done.stdout + done.stderr


def test_a_service_that_comes_late_delays_the_start_and_ends_nothing(short_dir: Path, run: Run, tmp_path: Path) -> None:
    vault, engine = VaultServer(), TransitEngine()
    vault.mounts["transit"] = engine
    engine.keys["overseer"] = TransitKey(derived=True)
    token = tmp_path / "token"
    token.write_text(vault.root_token)
    with served(vault) as url:
        made = Installation(short_dir / "late", seal=f"vault-transit:{url}?key=overseer&token_file={token}")
        try:
            vault.sealed = True
            server = run(made.settings(OVERSEER_WORKERS="2"))
            server.wait_for("/health/live", 200)
            assert server.get("/api/seal").json()["kind"] == "vault-transit"
            assert server.get("/health/ready").json()["status"] == "sealed"
            refused = server.request("POST", "/api/seal/unseal", json={"passphrase": "x"})
            assert (refused.status_code, "opens by itself" in refused.text) == (409, True)
            until(lambda: "sealed or a standby" in server.said())
            vault.sealed = False
            server.wait_for("/health/ready", 200)
            opens_everywhere(server, made.owner_token)
            assert server.stop() == 0
            assert vault.root_token not in server.said()
        finally:
            made.postgres.stop()


def test_a_running_server_follows_a_change_of_the_seal(short_dir: Path, run: Run, tmp_path: Path) -> None:
    made = Installation(short_dir / "moves")
    try:
        settings = made.settings(OVERSEER_WORKERS="2")
        server = run(settings)
        server.wait_for("/health/ready", 200)
        kept = server.request("POST", "/api/secrets", made.owner_token, json={"name": "kept", "value": VALUE}).json()
        opens_everywhere(server, made.owner_token)
        paper = tmp_path / "shares"
        moved = overseer(settings, "seal", "migrate", "--to", "shamir:2/3", "--shares-to", str(paper), "--yes")
        assert moved.returncode == 0, moved.stderr
        assert b"OVERSEER_SEAL=shamir:2/3" in moved.stdout
        assert b"ovshare1" not in moved.stdout + moved.stderr
        assert paper.stat().st_mode & 0o777 == 0o600
        opens_everywhere(server, made.owner_token)
        workers = server.workers()
        for worker in workers:  # new ones get the new root key from the supervisor
            os.kill(worker, signal.SIGKILL)
        server.replaced(workers)
        server.wait_for("/health/ready", 200)
        reveal = server.request("POST", f"/api/secrets/{kept['id']}/value", made.owner_token, json={})
        assert reveal.json()["value"] == VALUE
        assert server.request("POST", "/api/secrets", made.owner_token, json={"name": "n", "value": "v"}).status_code == 201
        status = server.get("/api/seal").json()
        assert (status["kind"], status["setting"]) == ("shamir", "file")
        rows = server.get("/api/audit?action=seal:migrate", made.owner_token).json()["items"]
        assert [(row["outcome"], row["code"]) for row in rows] == [("allowed", "from_file")]
        assert server.stop() == 0

        old = run(settings)
        assert old.process.wait(120) == 78, "the old key opens nothing any more"
        assert "The seal of this instance is 'shamir': set OVERSEER_SEAL to it" in old.said()
        new = run(made.settings(OVERSEER_SEAL="shamir", OVERSEER_LISTEN=settings["OVERSEER_LISTEN"]))
        new.wait_for("/health/live", 200)
        for line in paper.read_text().split()[1:]:
            give(new, SecretValue(line))
        reveal = new.request("POST", f"/api/secrets/{kept['id']}/value", made.owner_token, json={})
        assert reveal.json()["value"] == VALUE

        shares = made.settings(OVERSEER_SEAL="shamir")
        other = tmp_path / "other-shares"
        rekeyed = overseer(
            *(shares, "seal", "rekey", "--threshold", "3", "--shares", "4", "--stdin", "--shares-to", str(other), "--json"),
            stdin=paper.read_bytes(),
        )
        assert rekeyed.returncode == 0, rekeyed.stderr
        assert len(other.read_text().split()) == 4
        opens_everywhere(new, made.owner_token)
        back = overseer(shares, "seal", "migrate", "--to", f"file:{tmp_path / 'new.key'}", "--stdin", stdin=paper.read_bytes())
        assert (back.returncode, b"another set" in back.stderr) == (65, True), back.stderr
        back = overseer(shares, "seal", "migrate", "--to", f"file:{tmp_path / 'new.key'}", "--stdin", stdin=other.read_bytes())
        assert back.returncode == 0, back.stderr
        opens_everywhere(new, made.owner_token)
    finally:
        made.postgres.stop()


KILLED = """
import asyncio, os, signal, sys
from datetime import UTC, datetime
from overseer.server.services import seal_migration
from overseer.server.services.bootstrap import SealSetting
url, old, new, step = sys.argv[1:]
real = getattr(seal_migration, step)
def die():
    os.kill(os.getpid(), signal.SIGKILL)
if asyncio.iscoroutinefunction(real):
    async def killed(*arguments):
        if step == "_check_after":
            die()
        result = await real(*arguments)
        die()
else:
    def killed(*arguments):
        real(*arguments)
        die()
setattr(seal_migration, step, killed)
asyncio.run(seal_migration.migrate_seal(url, SealSetting(old), SealSetting(new), lambda shares: None, datetime.now(UTC)))
"""


def opening(url: str, spec: str) -> bool:
    """Whether that seal opens the instance, as a start would find."""

    async def look() -> bool:
        async with login_connection(url) as connection:
            instance = await load_instance(Session(connection))
            assert instance is not None
            try:
                await open_keyring(Session(connection), instance, await SealSetting(spec).seal(instance).root_key())
            except (KeyProblem, Sealed):
                return False
            return True

    return asyncio.run(look())


@pytest.mark.parametrize("kind", ["file", "vault-transit"])
def test_a_kill_at_any_step_leaves_exactly_one_seal_that_opens(installation: Installation, tmp_path: Path, kind: str) -> None:
    vault, engine = VaultServer(), TransitEngine()
    vault.mounts["transit"] = engine
    engine.keys["overseer"] = TransitKey()
    token = tmp_path / "token"
    token.write_text(vault.root_token)
    present, outcomes = installation.seal, {}
    with served(vault) as url:
        steps = ("new_seal", "_proven", "store_rewrapped", "_check_written", "insert_events", "send_seal_news", "_check_after")
        steps = steps if kind == "file" else ("new_seal", "send_seal_news", "_check_after")
        for number, step in enumerate(steps):
            transit = f"vault-transit:{url}?key=overseer&token_file={token}"
            new = transit if kind == "vault-transit" else f"file:{tmp_path / f'{number}.key'}"
            command = [sys.executable, "-c", KILLED, installation.url, present, new, step]
            done = subprocess.run(command, capture_output=True, timeout=120, check=False)
            assert done.returncode == -signal.SIGKILL, done.stderr
            now = {spec: opening(installation.url, spec) for spec in (present, new)}
            assert sorted(now.values()) == [False, True], (step, now)
            outcomes[step] = "new" if now[new] else "old"
        assert outcomes == {step: "new" if step == "_check_after" else "old" for step in steps}
        back = f"file:{tmp_path / 'back.key'}"
        settings = installation.settings(OVERSEER_SEAL=new)
        assert overseer(settings, "seal", "migrate", "--to", back, "--yes").returncode == 0
        installation.seal = back
        assert opening(installation.url, back)


def test_what_is_wrong_is_one_line_and_changes_nothing(installation: Installation, tmp_path: Path) -> None:
    settings = installation.settings()
    wrong: list[tuple[tuple[str, ...], bytes, bytes]] = [
        (("--to", "shamir:2/3", "--json", "--yes"), b"", b"--shares-to"),
        (("--to", "passphrase", "--stdin"), b"short\n", b"12 characters"),
        (("--to", "passphrase", "--stdin"), b"", b"no line for the passphrase of the new seal"),
        (("--to", "passphrase", "--stdin"), b"correct horse battery\nand more\n", b"1 more line(s)"),
        (("--to", "env", "--yes"), b"", b"OVERSEER_NEW_ROOT_KEY"),
        (("--to", "nonsense:canary", "--yes"), b"", b"OVERSEER_SEAL is one of"),
        (("--to", installation.seal, "--yes"), b"", b"root key of the present one"),
        (("--to", "shamir:2/3", "--shares-to", str(tmp_path / "none" / "x"), "--yes"), b"", b"cannot be written"),
        (("--to", f"file:{tmp_path / 'a.key'}"), b"", b"--yes"),
    ]
    for arguments, stdin, says in wrong:
        done = overseer(settings, "seal", "migrate", *arguments, stdin=stdin)
        assert done.returncode not in (0, OverseerError.exit_code), (arguments, done.stderr)
        assert says in done.stderr, (arguments, done.stderr)
        assert b"canary" not in done.stdout + done.stderr
    assert overseer(settings, "seal", "rekey", "--threshold", "2", "--shares", "3", "--yes").returncode == 78
    assert opening(installation.url, installation.seal)
