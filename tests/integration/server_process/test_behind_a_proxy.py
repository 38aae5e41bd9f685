"""The proxy of ``deploy/compose`` as it is written, but for addresses, in front of two real replicas."""

from __future__ import annotations

import re
import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from overseer.agent.enrolment import join
from overseer.agent.identity import load_identity
from overseer.agent.session import Session
from overseer.client.api import Client
from overseer.client.retries import RetryPolicy
from overseer.core.errors import NotReady, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.wire.agent import PollAnswer, PollRequest
from tests.integration.server_process.installation import Installation, RunningServer, until
from tests.ports import free_port
from tests.unit.server.certificate import self_signed

pytestmark = pytest.mark.postgres
Run = Callable[[dict[str, str]], RunningServer]
CONFIG = Path(__file__).parents[3] / "deploy" / "compose" / "haproxy.cfg"


@pytest.fixture(scope="module")
def haproxy() -> str:
    found = shutil.which("haproxy", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if found is None:
        pytest.skip("no HAProxy: sh scripts/haproxy_install.sh")
    return found


@dataclass(frozen=True)
class Front:
    """The proxy's address and CA, and the replicas behind it."""

    url: str
    ca_file: Path
    replicas: tuple[RunningServer, RunningServer]


@pytest.fixture
def front(haproxy: str, installation: Installation, run: Run, tmp_path: Path) -> Iterator[Front]:
    certificate, key = self_signed(tmp_path)
    settings = {"OVERSEER_TRUSTED_PROXIES": "127.0.0.1/32", "OVERSEER_PROXY_CA": str(certificate)}
    pair = run(installation.settings(**settings)), run(installation.settings(**settings))
    for server in pair:
        server.wait_for("/health/ready", 200)
    both = tmp_path / "proxy.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    both.chmod(0o644)  # HAProxy's own account reads it before it gives up root
    port = free_port()
    config = tmp_path / "haproxy.cfg"
    config.write_text(local(port, both, *(server.address for server in pair)))
    with (tmp_path / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([haproxy, "-db", "-f", str(config)], stdout=log, stderr=log)
    try:
        wait_ready(f"https://127.0.0.1:{port}", certificate, tmp_path / "haproxy.log")
        yield Front(f"https://127.0.0.1:{port}", certificate, pair)
    finally:
        process.terminate()
        process.wait(60)


def local(port: int, certificate: Path, first: str, second: str) -> str:
    """The configuration with addresses of this machine; each replacement has to find its place."""
    text = CONFIG.read_text()
    for old, new in (
        ("bind :8443", f"bind 127.0.0.1:{port}"),
        ("/run/secrets/proxy.pem", str(certificate)),
        ("overseer-1:8420", first),
        ("overseer-2:8420", second),
        (" resolvers docker init-addr last,libc,none", ""),
    ):
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def wait_ready(url: str, ca_file: Path, log: Path) -> None:
    deadline = time.monotonic() + 90
    with httpx.Client(verify=ssl.create_default_context(cafile=ca_file), timeout=90) as http:
        while time.monotonic() < deadline:
            try:
                if http.get(f"{url}/health/ready").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise AssertionError(log.read_text(errors="replace"))


def test_the_file_is_accepted_as_it_is_written(haproxy: str, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path)
    both = tmp_path / "proxy.pem"
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    config = tmp_path / "haproxy.cfg"
    config.write_text(CONFIG.read_text().replace("/run/secrets/proxy.pem", str(both)))
    checked = subprocess.run([haproxy, "-c", "-f", str(config)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    # The replicas' names exist in the network of Compose only; that it starts without them is meant.
    complaints = [line for line in checked.stderr.splitlines() if re.search(r"\[(WARNING|ALERT)\]", line)]
    assert [line for line in complaints if "could not resolve address" not in line] == []


def test_an_address_that_a_client_claims_is_not_believed(front: Front, installation: Installation) -> None:
    claimed = "203.0.113.9"
    headers = {"authorization": f"Bearer {installation.owner_token}", "x-forwarded-for": claimed}
    headers |= {"forwarded": f"for={claimed}", "x-real-ip": claimed}
    with httpx.Client(verify=ssl.create_default_context(cafile=front.ca_file), timeout=90) as http:
        answer = http.post(f"{front.url}/api/secrets", json={"name": "through-the-proxy", "value": "v"}, headers=headers)
        assert answer.status_code == 201
        assert "strict-transport-security" in answer.headers
        audited = http.get(f"{front.url}/api/audit?limit=5", headers=headers).text
        assert http.get(f"{front.url}/metrics", headers=headers).status_code == 404
    assert claimed not in audited
    assert claimed not in front.replicas[0].said() + front.replicas[1].said()
    assert "127.0.0.1" in audited


def test_a_node_joins_and_asks_through_the_proxy(front: Front, installation: Installation, tmp_path: Path) -> None:
    with Client(front.url, SecretValue(installation.owner_token), front.ca_file) as client:
        client.nodes.create("behind-a-proxy")
        token = client.nodes.enrolment_token("behind-a-proxy").token
    join(SecretValue(token), front.url, tmp_path / "node")  # no CA file: what the proxy sends holds the pinned key
    identity = load_identity(tmp_path / "node")
    assert identity is not None
    session = Session(identity)
    assert session.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer).work == []
    session.close()


def test_requests_go_on_when_a_replica_is_killed_and_end_when_none_is_left(front: Front, installation: Installation) -> None:
    ended, wrong, done = threading.Event(), list[str](), list[float]()

    def read() -> None:
        with Client(
            front.url, SecretValue(installation.owner_token), front.ca_file, retry_policy=RetryPolicy(attempts=8, budget=30)
        ) as client:
            while not ended.is_set():
                try:
                    client.me()
                except OverseerError as error:
                    wrong.append(error.message)
                done.append(time.monotonic())

    readers = [threading.Thread(target=read) for _ in range(3)]
    for thread in readers:
        thread.start()
    try:
        until(lambda: len(done) > 10)
        killed_at = time.monotonic()
        for pid in front.replicas[0].workers():
            subprocess.run(["kill", "-9", str(front.replicas[0].process.pid), str(pid)], check=False)
        until(lambda: sum(at > killed_at + 2 for at in done) > 10 or wrong)
    finally:
        ended.set()
    for thread in readers:
        thread.join(120)
    assert wrong == []
    assert front.replicas[1].stop() == 0
    with (
        Client(front.url, SecretValue(installation.owner_token), front.ca_file, retry_policy=RetryPolicy(attempts=1)) as client,
        pytest.raises(NotReady),
    ):
        client.me()
