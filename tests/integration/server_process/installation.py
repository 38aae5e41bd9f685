"""A real installation below a directory of its own: PostgreSQL with fsync on, a key file, an owner, and server processes."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import httpx

from overseer.core.secret_value import SecretValue
from overseer.server.services.bootstrap import SealSetting, initialise
from overseer.server.services.owner_token import owner_token_file
from overseer.server.storage.embedded import EmbeddedPostgres
from tests.ports import free_port

RUN = "import sys; from overseer.server.supervisor import run_server; from overseer.server.settings import load_settings; "
RUN += "sys.exit(run_server(load_settings()))"
READY_SECONDS = 90.0


class Installation:
    """One data directory with an initialised database. ``postgres`` can be stopped and started; its URL stays the same."""

    def __init__(self, home: Path, *, seal: str | None = None, passphrase: str | None = None) -> None:
        self.home = home
        self.seal = seal or f"file:{home / 'root.key'}"
        self.postgres = EmbeddedPostgres(home)
        self.url = self.postgres.start()
        setting = SealSetting(self.seal, SecretValue(passphrase) if passphrase else None)
        self.shares: list[SecretValue] = []
        deliver = owner_token_file(home / "owner-token")
        try:
            asyncio.run(initialise(self.url, setting, deliver, datetime.now(UTC), self.shares.extend))
        except BaseException:
            self.postgres.stop()  # nobody gets this object, so nobody else would
            raise
        self.owner_token = (home / "owner-token").read_text().strip()

    def settings(self, **more: str) -> dict[str, str]:
        """Environment variables of a server over this installation, on a free port."""
        return {
            "OVERSEER_DATA_DIR": str(self.home),
            "OVERSEER_DATABASE_URL": self.url,
            "OVERSEER_SEAL": self.seal,
            "OVERSEER_LISTEN": f"127.0.0.1:{free_port()}",
        } | more


class RunningServer:
    """``overseer server run`` as a child process, with its standard error in a file."""

    def __init__(self, settings: dict[str, str], log: Path) -> None:
        self.address = settings["OVERSEER_LISTEN"]
        self.log = log
        self._output: IO[bytes] = log.open("ab")
        kept = {name: value for name, value in os.environ.items() if not name.startswith("OVERSEER_")}
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN], env=kept | settings, stdin=subprocess.DEVNULL, stdout=self._output, stderr=self._output
        )

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def get(self, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        return self.request("GET", path, token, **options)

    def request(self, method: str, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return httpx.request(method, self.url + path, headers=headers | options.pop("headers", {}), timeout=90, **options)

    def wait_for(self, path: str, status: int, token: str | None = None, seconds: float = READY_SECONDS) -> httpx.Response:
        """The first answer with that status; fails with the server's log."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                answer = self.get(path, token)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code == status:
                return answer
            time.sleep(0.05)
        raise AssertionError(f"{path} never answered {status}; exit code {self.process.poll()}\n{self.said()}")

    def workers(self) -> list[int]:
        """Process ids of the living workers."""
        children = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        pids = [int(pid) for path in children for pid in _content(path).split()]
        return [pid for pid in pids if b"overseer.server.worker" in _content(Path(f"/proc/{pid}/cmdline"))]

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def replaced(self, workers: list[int]) -> None:
        """Wait until all of ``workers`` have ended and as many others are there."""
        until(lambda: len(now := self.workers()) >= len(workers) and not set(now) & set(workers))

    def kill_worker(self) -> None:
        """``kill -9`` of one worker; returns when another one is there."""
        killed, *others = self.workers()
        os.kill(killed, signal.SIGKILL)
        until(lambda: killed not in (now := self.workers()) and len(now) > len(others))

    def kill(self) -> None:
        """``kill -9`` of the supervisor and all workers."""
        os.kill(self.process.pid, signal.SIGSTOP)
        for worker in self.workers():
            os.kill(worker, signal.SIGKILL)
        self.process.kill()
        self.process.wait()

    def stop(self, sign: int = signal.SIGTERM) -> int:
        """The exit code after the signal; the process is killed where it does not end within 90 seconds."""
        if self.process.poll() is None:
            self.process.send_signal(sign)
        try:
            return self.process.wait(90)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._output.close()


def _content(path: Path) -> bytes:
    """Of a file below ``/proc``; nothing where its process or thread has just ended."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def until(condition: Callable[[], object], seconds: float = READY_SECONDS) -> None:
    """Wait for a state, not for a time: a machine that is busy gets there later, and a quick one does not wait."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not happen within {seconds:.0f} s"
        time.sleep(0.02)
