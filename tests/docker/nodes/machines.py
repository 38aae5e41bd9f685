"""Two machines on one: each a network namespace with an engine, a cable between them, and real Overseer processes in them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OVERSEER = [sys.executable, "-m", "overseer.cli.main"]
PORT = 8420


@dataclass(frozen=True)
class Machine:
    """One engine and its network. ``address`` is where the other machine reaches this one."""

    host: str
    network: str
    address: str
    docker_command: str

    def within(self, command: list[str]) -> list[str]:
        """``command`` as it is started on this machine."""
        return ["nsenter", f"--net={self.network}", *command]

    @property
    def docker(self) -> list[str]:
        return [self.docker_command, "--host", self.host]

    def run(self, *arguments: str, stdin: bytes | None = None) -> bytes:
        """What the Docker command says, of this machine's engine."""
        done = subprocess.run([*self.docker, *arguments], input=stdin, capture_output=True, timeout=180, check=False)
        assert done.returncode == 0, (arguments, done.stderr.decode())
        return done.stdout

    def containers(self, *labels: str) -> list[str]:
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        return self.run("ps", "--quiet", "--no-trunc", *filters).decode().split()

    def secret_in(self, container: str, name: str) -> bytes:
        return self.run("exec", container, "cat", f"/run/secrets/{name}")


@dataclass
class Cluster:
    """A server on the first machine, and its owner, who works there too."""

    machine: Machine
    home: Path
    authority: Path
    process: subprocess.Popen[bytes] | None = None
    _token: str = ""

    @property
    def url(self) -> str:
        return f"https://{self.machine.address}:{PORT}"

    @property
    def environment(self) -> dict[str, str]:
        return own_environment(self.home) | {
            "OVERSEER_DATA_DIR": str(self.home / "data"),
            "OVERSEER_LISTEN": f"{self.machine.address}:{PORT}",
            "OVERSEER_TLS_CERT": str(self.home / "chain.pem"),
            "OVERSEER_TLS_KEY": str(self.home / "server.key"),
            "OVERSEER_URL": self.url,
            "OVERSEER_CA_FILE": str(self.authority),
            "OVERSEER_TOKEN": self._token,
        }

    def start(self) -> None:
        """Start the server (the first time: set it up) and wait until it is ready."""
        if not self._token:
            self.overseer("server", "init")
            self._token = (self.home / "data" / "owner-token").read_text().strip()
        with (self.home / "server.log").open("ab") as log:
            command = self.machine.within([*OVERSEER, "server", "run"])
            self.process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        wait_for(lambda: self.overseer("server", "status", code=None).returncode == 0, 120, self.log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        end(self.process, number)

    def log(self) -> str:
        return (self.home / "server.log").read_text(errors="replace")

    def overseer(self, *arguments: str, stdin: bytes = b"", code: int | None = 0) -> subprocess.CompletedProcess[bytes]:
        """One command of the owner; ``code`` is how it has to end, ``None``: anyhow."""
        done = subprocess.run(
            self.machine.within([*OVERSEER, *arguments]),
            input=stdin, capture_output=True, env=self.environment, timeout=240, check=False,
        )  # fmt: skip
        if code is not None:
            assert done.returncode == code, (arguments, done.returncode, done.stderr.decode(), done.stdout.decode())
        return done

    def json(self, *arguments: str) -> Any:
        return json.loads(self.overseer(*arguments, "--json").stdout)

    def set_secret(self, name: str, value: str, *scope: str) -> None:
        self.overseer("secret", "set", name, *scope, "--stdin", stdin=value.encode())

    def enrolment_token(self, node: str) -> bytes:
        self.overseer("node", "create", node)
        return self.overseer("node", "enrol-token", node).stdout

    def deploy(self, directory: Path, app: str, *more: str, code: int = 0) -> str:
        """Deploy and return what was said to the person."""
        done = self.overseer("deploy", str(directory), "--app", app, *more, code=code)
        return done.stderr.decode() + done.stdout.decode()


@dataclass
class Agent:
    """One agent of a machine; ``settings`` are more environment variables."""

    machine: Machine
    home: Path
    root: Path
    settings: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        return own_environment(self.home) | {
            "OVERSEER_DATA_DIR": str(self.home),
            "OVERSEER_TMPFS_ROOT": str(self.root),
            "OVERSEER_TMPFS_ALLOW": "swap",
            "OVERSEER_AGENT_STOP_SECONDS": "2",
            "DOCKER_HOST": self.machine.host,
            **self.settings,
        }

    def join(self, url: str, token: bytes, *more: str) -> subprocess.CompletedProcess[bytes]:
        return self.overseer("agent", "join", "--url", url, "--stdin", *more, stdin=token)

    def overseer(self, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """One command of whoever administers this machine."""
        command = self.machine.within([*OVERSEER, *arguments])
        return subprocess.run(command, input=stdin, capture_output=True, env=self.environment, timeout=180, check=False)

    def start(self, program: list[str] | None = None) -> None:
        with (self.home / "agent.log").open("ab") as log:
            command = self.machine.within(program or [*OVERSEER, "agent", "run"])
            self.process = subprocess.Popen(command, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        end(self.process, number)

    def log(self) -> str:
        return (self.home / "agent.log").read_text(errors="replace")

    def wait_for_log(self, text: str, seconds: float = 120.0) -> None:
        wait_for(lambda: text in self.log(), seconds, self.log)


def own_environment(home: Path) -> dict[str, str]:
    """Nothing of the caller's Overseer or Docker; compiled modules are kept for the whole session."""
    hidden = {"DOCKER_HOST", "PYTHONDONTWRITEBYTECODE"}
    kept = {key: text for key, text in os.environ.items() if not key.startswith("OVERSEER_") and key not in hidden}
    cache = Path(os.environ["OVERSEER_TEST_SESSION_HOME"]) / "pycache"
    places = {"HOME": str(home), "XDG_CONFIG_HOME": str(home / "config"), "PYTHONPYCACHEPREFIX": str(cache)}
    return {**kept, **places, "NO_COLOR": "1"}


def end(process: subprocess.Popen[bytes] | None, number: signal.Signals) -> None:
    """``nsenter`` became the program itself, so the signal reaches it."""
    if process is not None and process.poll() is None:
        process.send_signal(number)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def wait_for(condition: Callable[[], object], seconds: float, said: Callable[[], str] = str) -> None:
    """Fails with what ``said`` says where the condition does not come true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen in {seconds} s\n{said()[-4000:]}"
        time.sleep(0.1)
