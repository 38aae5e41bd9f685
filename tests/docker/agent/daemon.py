"""An agent as a process of its own, against a server that is a double; each ``start`` is a life of it."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from overseer.agent.enrolment import join
from overseer.wire.agent import PAYLOAD_FORMAT, PayloadFile, PayloadValue, ReleasePayload
from tests.unit.agent.agent_server import AgentServer, work
from tests.unit.client.scripted_server import ScriptedServer

IMAGE = "overseer-example/shop:1"
CANARY = "CanaryOfTheDaemon"
RUN = (
    "import logging, sys\n"
    "from overseer.agent.daemon import run_agent\n"
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
        return self.order(project, compose, CANARY, wait)

    def order(self, project: str, compose: str, value: str, wait: int = 60) -> str:
        """Work to deploy ``compose`` with ``value`` for the reference ``pw``."""
        one = work(project=project) | {"wait_timeout": wait}
        self.server.payloads[one["deployment_id"]] = ReleasePayload(
            format=PAYLOAD_FORMAT, files=[PayloadFile(path="compose.yaml", content=compose.encode())], compose_files=[],
            profiles=[], variables={}, values=[PayloadValue(reference="pw", name="pw", version=1, value=value.encode())],
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


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)
