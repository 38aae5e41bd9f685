"""The agent as a process of its own: killed, told to stop, started again."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from overseer.agent.enrolment import join
from overseer.wire.agent import PAYLOAD_FORMAT, PayloadFile, PayloadValue, ReleasePayload
from tests.unit.agent.agent_server import AgentServer, work
from tests.unit.client.scripted_server import ScriptedServer, scripted_server

pytestmark = pytest.mark.docker

IMAGE = "overseer-example/shop:1"
CANARY = "CanaryOfTheDaemon"
RUN = (
    "import logging, sys\n"
    "from overseer.agent.loop import run_agent\n"
    "from overseer.agent.settings import AgentSettings\n"
    "logging.basicConfig(stream=sys.stderr, level=logging.DEBUG)\n"
    "sys.exit(run_agent(AgentSettings.load()))\n"
)


class Daemon:
    """Settings for one agent; each ``start`` is a life of it."""

    def __init__(self, server: AgentServer, http: ScriptedServer, directory: Path, root: Path, compose: list[str]) -> None:
        self.server, self.log, self.root = server, directory / "log", root
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(directory), "OVERSEER_DATA_DIR": str(directory),
            "OVERSEER_TMPFS_ROOT": str(root), "OVERSEER_TMPFS_ALLOW": "swap", "OVERSEER_AGENT_STOP_SECONDS": "2",
        }  # fmt: skip
        if "DOCKER_HOST" in os.environ:
            self.environment["DOCKER_HOST"] = os.environ["DOCKER_HOST"]
        if len(compose) == 1:
            self.environment["OVERSEER_COMPOSE"] = compose[0]
        join(server.token(), http.url, directory / "agent")
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            self.process = subprocess.Popen([sys.executable, "-c", RUN], env=self.environment, stdout=log, stderr=log)
        return self.process

    def deploy(self, project: str, health: str, wait: int = 60) -> str:
        one = work(project=project) | {"wait_timeout": wait}
        compose = f"""
services:
  a:
    image: {IMAGE}
    command: [sleep, "600"]
    init: true
    stop_grace_period: 1s
    secrets: [pw]
    environment: {{PW: "${{SECRET:pw}}"}}
    healthcheck: {{test: {health}, interval: 1s, retries: 100}}
secrets: {{pw: {{external: true}}}}
"""
        self.server.payloads[one["deployment_id"]] = ReleasePayload(
            format=PAYLOAD_FORMAT, files=[PayloadFile(path="compose.yaml", content=compose.encode())], compose_files=[],
            profiles=[], variables={}, values=[PayloadValue(reference="pw", name="pw", version=1, value=CANARY.encode())],
            fingerprint_key=bytes(32), allow_persisting=False,
        )  # fmt: skip
        self.server.work.append(one)
        return str(one["deployment_id"])

    def states(self, deployment: str) -> list[str]:
        return [body["state"] for identifier, body in self.server.reports if identifier == deployment]

    def is_locked(self, project: str) -> bool:
        with (Path(self.environment["OVERSEER_DATA_DIR"]) / "agent" / "locks" / f"{project}.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def files(self) -> list[Path]:
        return [path for path in self.root.rglob("*") if path.is_file() and path.name != ".agent.lock"]


@pytest.fixture
def daemon(shop_image: str, compose_binary: list[str], tmp_path: Path, tmpfs_dir: Path) -> Iterator[Daemon]:
    server = AgentServer()
    with scripted_server(server.answer) as http:
        made = Daemon(server, http, tmp_path, tmpfs_dir / "root", compose_binary)
        yield made
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()


def wait_for(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_a_life(daemon: Daemon, project_name: str) -> None:
    process = daemon.start()
    deployment = daemon.deploy(project_name, "[CMD, test, -f, /run/secrets/pw]")
    wait_for(lambda: daemon.states(deployment) == ["applying", "succeeded"])
    report = daemon.server.reports[-1][1]
    assert {one["reference"] for one in report["fingerprints"]} == {"pw"}
    assert [one["health"] for one in report["services"]] == ["healthy"]
    assert CANARY not in str(daemon.server.reports)
    # Nothing of it is in the agent's memory image for others, its arguments, its environment or its log.
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]
    for name in ("cmdline", "environ"):
        assert CANARY.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
    second = subprocess.run([sys.executable, "-c", RUN], env=daemon.environment, capture_output=True, check=False, timeout=30)
    assert b"another agent uses" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert daemon.files() != []  # the containers go on, and so do their files
    process = daemon.start()
    daemon.server.work.append(gone := work("undeploy", project_name))
    wait_for(lambda: daemon.states(gone["deployment_id"]) == ["applying", "succeeded"])
    assert daemon.files() == []
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert list(daemon.root.iterdir()) == []
    assert CANARY not in daemon.log.read_text()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_an_agent_that_ends_in_the_middle_does_it_again(
    daemon: Daemon, project_name: str, docker_engine: list[str], end: signal.Signals
) -> None:
    process = daemon.start()
    deployment = daemon.deploy(project_name, "[CMD, test, -f, /tmp/ready]")
    listing = [*docker_engine, "ps", "--quiet", "--filter", f"label=com.docker.compose.project={project_name}"]
    wait_for(lambda: subprocess.run(listing, check=True, capture_output=True).stdout)
    process.send_signal(end)
    process.wait(20)
    assert daemon.states(deployment) == ["applying"]
    # A killed agent cannot end its Compose; that one keeps the project locked for as long as it works.
    assert daemon.is_locked(project_name) == (end is signal.SIGKILL)
    container = subprocess.run(listing, check=True, capture_output=True).stdout.split()[0].decode()
    subprocess.run([*docker_engine, "exec", container, "sh", "-c", "mkdir -p /tmp; touch /tmp/ready"], check=True)
    daemon.start()
    wait_for(lambda: "succeeded" in daemon.states(deployment))
    again = subprocess.run(listing, check=True, capture_output=True).stdout.split()
    assert again == [container.encode()]  # what was right already was kept
    assert "interrupted; it comes again" in daemon.log.read_text()
    assert [path.name for path in daemon.root.rglob("work/*")] == []


def test_a_machine_that_is_no_node(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OVERSEER_DATA_DIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, check=False, timeout=30)
    assert ended.returncode != 0
    assert b"overseer agent join" in ended.stderr
