"""The processes of a server: start, sealed start, wrong key, database down and back, crash, drain."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from overseer.core.secret_value import SecretValue
from overseer.crypto.certificates import spki_hash
from overseer.crypto.keys import RootKey
from overseer.wire.enrolment_token import parse_enrolment_token
from tests.integration.server_process.installation import Installation, RunningServer, until
from tests.unit.server.certificate import self_signed

pytestmark = pytest.mark.postgres
Run = Callable[[dict[str, str]], RunningServer]
CANARY = "cAnArY-5e1f-value"


def create(server: RunningServer, token: str, name: str) -> httpx.Response:
    return server.request("POST", "/api/secrets", token, json={"name": name, "value": CANARY})


def ended(pid: int) -> bool:
    """Whether the process is gone, or waits for nothing but to be reaped."""
    try:
        return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True


def postmaster(state: Path) -> int | None:
    """The process id in PostgreSQL's own file; None while it is being written, or away."""
    with contextlib.suppress(FileNotFoundError, IndexError, ValueError):
        return int(state.read_text().split()[0])
    return None


def reveal(server: RunningServer, token: str, secret_id: str) -> httpx.Response:
    return server.request("POST", f"/api/secrets/{secret_id}/value", token, json={})


def test_workers_serve_with_the_key_and_show_it_nowhere(installation: Installation, run: Run) -> None:
    server = run(installation.settings(OVERSEER_WORKERS="2"))
    server.wait_for("/health/ready", 200)
    created = create(server, installation.owner_token, "two-workers")
    assert created.status_code == 201, created.text
    for _ in range(10):
        assert reveal(server, installation.owner_token, created.json()["id"]).json()["value"] == CANARY
    until(lambda: len(server.workers()) == 2)
    pids = [server.process.pid, *server.workers()]
    assert len(pids) == 3
    key_text = Path(installation.home / "root.key").read_text().split()
    for pid in pids:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert not any(word.encode() in shown for word in key_text if len(word) > 20)
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]
        assert Path(f"/proc/{pid}/status").read_text().split("Umask:")[1].split()[0] == "0077"
    assert server.stop() == 0
    assert CANARY not in server.said()
    assert installation.owner_token not in server.said()


def test_a_process_cannot_be_dumped() -> None:
    get_dumpable = 3
    code = "from overseer.server.hardening import harden_process; import ctypes; harden_process(); "
    code += f"print(ctypes.CDLL(None).prctl({get_dumpable}, 0, 0, 0, 0))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "0"


def test_a_wrong_key_refuses_to_start_and_changes_nothing(installation: Installation, run: Run, tmp_path: Path) -> None:
    right = (installation.home / "root.key").read_text()
    wrong = tmp_path / "wrong.key"
    wrong.write_text(right.replace(right.split()[-1], RootKey.generate().reveal().hex()) if len(right.split()[-1]) == 64 else "")
    wrong.chmod(0o600)
    server = run(installation.settings(OVERSEER_SEAL=f"file:{wrong}", OVERSEER_WORKERS="2"))
    assert server.process.wait(120) == 78
    lines = [line for line in server.said().splitlines() if line.startswith("overseer server:")]
    assert len(lines) == 1
    assert "root key" in lines[0]
    assert (installation.home / "root.key").read_text() == right


def test_a_missing_key_file_refuses_to_start(installation: Installation, run: Run, tmp_path: Path) -> None:
    server = run(installation.settings(OVERSEER_SEAL=f"file:{tmp_path / 'none.key'}"))
    assert server.process.wait(120) == 78
    assert not (tmp_path / "none.key").exists()


def test_a_taken_port_is_one_clear_line(installation: Installation, run: Run) -> None:
    settings = installation.settings()
    run(settings).wait_for("/health/ready", 200)
    second = run(settings)
    assert second.process.wait(120) == 78
    assert "in use" in second.said()


def test_the_database_goes_and_comes_back_without_a_restart(installation: Installation, run: Run) -> None:
    server = run(installation.settings())
    server.wait_for("/health/ready", 200)
    created = create(server, installation.owner_token, "outage").json()
    installation.postgres.stop()
    try:
        server.wait_for("/health/ready", 503)
        answer = reveal(server, installation.owner_token, created["id"])  # while the database is away: it does not wait for it
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert int(answer.headers["retry-after"]) > 0
        assert server.get("/health/live").status_code == 200
    finally:
        installation.postgres.start()
    server.wait_for("/health/ready", 200)
    assert reveal(server, installation.owner_token, created["id"]).json()["value"] == CANARY
    assert server.process.poll() is None


def test_a_start_without_a_database_recovers_too(installation: Installation, run: Run) -> None:
    installation.postgres.stop()
    try:
        server = run(installation.settings())
        server.wait_for("/health/live", 200)
        assert server.get("/health/ready").status_code == 503
        refused = server.get("/api/secrets", installation.owner_token)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
    finally:
        installation.postgres.start()
    server.wait_for("/health/ready", 200)
    assert server.get("/api/secrets", installation.owner_token).status_code == 200


def test_a_killed_worker_is_replaced_and_has_the_key(installation: Installation, run: Run) -> None:
    server = run(installation.settings())
    server.wait_for("/health/ready", 200)
    (worker,) = server.workers()
    os.kill(worker, signal.SIGKILL)
    server.replaced([worker])
    server.wait_for("/health/ready", 200)
    assert server.get("/api/secrets", installation.owner_token).status_code == 200
    assert server.stop() == 0


def test_workers_end_with_a_killed_supervisor(installation: Installation, run: Run) -> None:
    server = run(installation.settings())
    server.wait_for("/health/ready", 200)
    (worker,) = server.workers()
    server.process.kill()
    server.process.wait()
    until(lambda: ended(worker))


def test_sigterm_drains_and_loses_no_acknowledged_write(installation: Installation, run: Run) -> None:
    settings = installation.settings(OVERSEER_WORKERS="2")
    server = run(settings)
    server.wait_for("/health/ready", 200)
    acknowledged: list[str] = []
    other: list[int] = []

    def write(writer: int) -> None:
        with httpx.Client(headers={"authorization": f"Bearer {installation.owner_token}"}) as http:
            for number in range(10_000):
                try:
                    name = f"drain-{writer}-{number}"
                    answer = http.post(f"{server.url}/api/secrets", json={"name": name, "value": "x"}, timeout=90)
                except httpx.TransportError:
                    return
                (acknowledged.append(name) if answer.status_code == 201 else other.append(answer.status_code))

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in writers:
        thread.start()
    until(lambda: len(acknowledged) > 20)
    assert server.stop() == 0
    for thread in writers:
        thread.join(120)
    assert set(other) <= {503}
    again = run(settings)
    again.wait_for("/health/ready", 200)
    found: set[str] = set()
    cursor = None
    while True:
        parameters = {"limit": "500"} | ({"cursor": cursor} if cursor else {})
        page = again.get("/api/secrets", installation.owner_token, params=parameters).json()
        found |= {item["name"] for item in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert set(acknowledged) <= found


def test_a_huge_head_is_cut_off(installation: Installation, run: Run) -> None:
    server = run(installation.settings())
    server.wait_for("/health/ready", 200)
    host, port = server.address.split(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=90) as connection:
        connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n")
        try:
            while sent < 50_000_000:
                sent += connection.send(b"X-Filler: " + b"a" * 1000 + b"\r\n")
        except OSError:
            pass  # reset or broken pipe, as the kernel likes
    assert sent < 50_000_000


def test_the_embedded_database_is_started_restarted_and_stopped(short_dir: Path, run: Run) -> None:
    made = Installation(short_dir / "embedded")
    made.postgres.stop()
    settings = made.settings()
    del settings["OVERSEER_DATABASE_URL"]
    server = run(settings)
    server.wait_for("/health/ready", 200)
    assert create(server, made.owner_token, "embedded").status_code == 201
    state = made.home / "postgres" / "postmaster.pid"
    first = postmaster(state)
    assert first is not None
    os.kill(first, signal.SIGKILL)
    until(lambda: postmaster(state) not in (None, first))
    deadline = time.monotonic() + 90
    # While it recovers the answer is 503; what readiness says may be a second old.
    while (answer := create(server, made.owner_token, "after-the-crash")).status_code == 503:
        assert time.monotonic() < deadline, "the database did not recover"
        time.sleep(0.1)
    assert answer.status_code == 201
    pid = postmaster(state)
    assert server.stop(signal.SIGINT) == 0
    assert not Path(f"/proc/{pid}").exists()


def test_a_sealed_start_and_an_unseal_reach_every_worker(short_dir: Path, run: Run) -> None:
    made = Installation(short_dir / "sealed", seal="passphrase", passphrase="correct horse battery")
    try:
        server = run(made.settings(OVERSEER_WORKERS="2"))
        server.wait_for("/health/live", 200)
        said = server.get("/api/seal").json()
        assert said.pop("since")
        kind = "passphrase"
        assert said == {"sealed": True, "kind": kind, "setting": kind, "initialised": True, "progress": None}
        assert server.get("/health/ready").json()["status"] == "sealed"
        for answer in (server.get("/api/secrets", made.owner_token), create(server, made.owner_token, "x")):
            assert (answer.status_code, answer.json()["code"]) == (503, "sealed")
            assert int(answer.headers["retry-after"]) > 0
        wrong = server.request("POST", "/api/seal/unseal", json={"passphrase": f"{CANARY} wrong"})
        assert wrong.status_code == 403
        assert CANARY not in wrong.text
        right = server.request("POST", "/api/seal/unseal", json={"passphrase": "correct horse battery"})
        assert (right.status_code, right.json()["sealed"]) == (200, False)
        deadline = time.monotonic() + 90
        streak = 0
        while streak < 30 and time.monotonic() < deadline:  # connections go to either worker
            streak = streak + 1 if server.get("/api/secrets", made.owner_token).status_code == 200 else 0
        assert streak == 30
        server.kill_worker()
        rows = server.wait_for("/api/audit?action=seal:unseal", 200, made.owner_token).json()["items"]
        assert [row["outcome"] for row in rows] == ["allowed", "denied"]
        assert server.stop() == 0
        assert "correct horse" not in server.said()
        assert CANARY not in server.said()
    finally:
        made.postgres.stop()


def test_tls_is_served_and_plain_text_is_not(installation: Installation, run: Run, tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    settings = installation.settings(OVERSEER_TLS_CERT=str(cert), OVERSEER_TLS_KEY=str(key))
    server = run(settings)
    trust = ssl.create_default_context(cafile=cert)
    deadline = time.monotonic() + 90
    answer = None
    while answer is None and time.monotonic() < deadline:
        try:
            answer = httpx.get(f"https://{server.address}/health/ready", verify=trust, timeout=90)
        except httpx.TransportError:
            time.sleep(0.1)
    assert answer is not None, server.said()
    assert answer.status_code == 200
    with pytest.raises(httpx.TransportError):
        server.get("/health/live")
    old = ssl.create_default_context(cafile=cert)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(httpx.TransportError):
        httpx.get(f"https://{server.address}/health/live", verify=old, timeout=90)
    owner = {"authorization": f"Bearer {installation.owner_token}"}
    with httpx.Client(verify=trust, headers=owner, base_url=f"https://{server.address}", timeout=90) as http:
        http.post("/api/nodes", json={"name": "tls-node"})
        token = http.post("/api/enrolment-tokens", json={"node": "tls-node"}).json()["token"]
    pinned = parse_enrolment_token(SecretValue(token)).ca_spki
    assert pinned == spki_hash(ssl.PEM_cert_to_DER_cert(cert.read_text()))
