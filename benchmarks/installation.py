"""A real installation to measure: embedded PostgreSQL on disk, a server process, an owner and secrets; removed at the end."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

START_SECONDS = 60.0


@dataclass
class Installation:
    """``url`` of the server, ``token`` of its owner, ``home`` its data directory, ``process`` the server's."""

    home: Path
    port: int
    token: str = ""
    process: subprocess.Popen[bytes] | None = None
    secrets: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """One request as the owner; the decoded answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json", "User-Agent": "overseer-python/0"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text) if text else None


@contextmanager
def installation(*, secrets: int = 0, workers: int = 1) -> Iterator[Installation]:
    """A running server with ``secrets`` secrets of 32 bytes; everything is stopped and removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="overseer-bench-", dir="/var/tmp"))
    made = Installation(home, _free_port())
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OVERSEER_")},
        "OVERSEER_DATA_DIR": str(home / "data"),
        "OVERSEER_LISTEN": f"127.0.0.1:{made.port}",
        "OVERSEER_WORKERS": str(workers),
    }
    overseer = [sys.executable, "-m", "overseer.cli.main"]
    program = Path(sys.executable).with_name("overseer")
    overseer = [str(program)] if program.exists() else overseer
    try:
        subprocess.run([*overseer, "server", "init"], env=environment, check=True, capture_output=True)
        made.token = (home / "data" / "owner-token").read_text(encoding="ascii").strip()
        with (home / "server.log").open("wb") as log:
            made.process = subprocess.Popen([*overseer, "server", "run"], env=environment, stdout=log, stderr=log)
        _wait(made)
        for number in range(secrets):
            answer = made.call("POST", "/api/secrets", {"name": f"secret-{number}", "generate": "hex:16"})
            made.secrets.append(answer["id"])
        yield made
    finally:
        if made.process is not None:
            made.process.terminate()
            made.process.wait(30)
        shutil.rmtree(home, ignore_errors=True)


def _wait(made: Installation) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            made.call("GET", "/health/ready")
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
        else:
            return
    raise RuntimeError((made.home / "server.log").read_text(encoding="utf-8", errors="replace")[-2000:])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
