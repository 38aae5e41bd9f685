"""A real server with a database of its own, set up and asked by the command line alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ports import free_port

START_SECONDS = 120.0


@dataclass(frozen=True)
class Overseer:
    """``overseer(*arguments)`` runs the command as a process of its own and waits for it."""

    environment: dict[str, str]

    def __call__(
        self, *arguments: str, stdin: bytes = b"", code: int | None = 0, **variables: str
    ) -> subprocess.CompletedProcess[bytes]:
        done = subprocess.run(
            command(*arguments), input=stdin, capture_output=True, check=False, timeout=120, env={**self.environment, **variables}
        )
        if code is not None:
            assert done.returncode == code, (arguments, done.returncode, done.stderr.decode())
        return done

    @property
    def url(self) -> str:
        return self.environment["OVERSEER_URL"]

    @property
    def data_dir(self) -> Path:
        return Path(self.environment["OVERSEER_DATA_DIR"])


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "overseer.cli.main", *arguments]


def own_environment(home: Path, port: int) -> dict[str, str]:
    """Nothing of the caller's Overseer, and compiled modules kept, as an installed command has them."""
    kept = {key: text for key, text in os.environ.items() if not key.startswith("OVERSEER_") and key != "PYTHONDONTWRITEBYTECODE"}
    address = f"127.0.0.1:{port}"
    return {
        **kept,
        "OVERSEER_DATA_DIR": str(home / "data"),
        "OVERSEER_LISTEN": address,
        "OVERSEER_URL": f"http://{address}",
        "XDG_CONFIG_HOME": str(home / "config"),
        "PYTHONPYCACHEPREFIX": str(Path(os.environ["OVERSEER_TEST_SESSION_HOME"]) / "pycache"),
        "NO_COLOR": "1",
    }


@pytest.fixture(scope="session")
def overseer() -> Iterator[Overseer]:
    """A server that runs, and the owner logged in."""
    with running("ovs-cli-") as client:
        yield client


@contextmanager
def running(prefix: str, configuration: str = "") -> Iterator[Overseer]:
    """A server of its own below a directory of this prefix, with this ``overseer.toml``, and the owner logged in."""
    with tempfile.TemporaryDirectory(prefix=prefix) as place:
        client = Overseer(own_environment(Path(place), free_port()))
        client("server", "init")
        if configuration:
            (client.data_dir / "overseer.toml").write_text(configuration)
        with server_log(client).open("wb") as log:
            server = subprocess.Popen(
                command("server", "run"), env=client.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        try:
            wait_ready(client, server)
            client("login", "--token-file", str(client.data_dir / "owner-token"))
            yield client
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(60) == 0


def server_log(client: Overseer) -> Path:
    """What the server of :func:`running` prints."""
    return client.data_dir.parent / "server.log"


def wait_ready(client: Overseer, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_SECONDS
    while client("server", "status", code=None).returncode != 0:
        assert server.poll() is None, "the server has ended"
        assert time.monotonic() < deadline
