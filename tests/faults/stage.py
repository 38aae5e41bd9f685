"""What the faults happen to: a real installation with its own PostgreSQL, and server processes that may be killed."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

import httpx

from tests.integration.server_process.installation import Installation, RunningServer
from tests.postgres_server import binaries

Value = TypeVar("Value")
READY_SECONDS = 90.0


class Background(Generic[Value]):
    """A call in a thread of its own."""

    def __init__(self, call: Callable[[], Value]) -> None:
        self._values: list[Value] = []
        self._errors: list[Exception] = []
        self._thread = threading.Thread(target=self._run, args=(call,), daemon=True)
        self._thread.start()

    def _run(self, call: Callable[[], Value]) -> None:
        try:
            self._values.append(call())
        except Exception as error:  # noqa: BLE001  # handed to who waits for the result
            self._errors.append(error)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def result(self, seconds: float = 40.0) -> Value:
        """What it returned; raises what it raised."""
        self._thread.join(seconds)
        if self._errors:
            raise self._errors[0]
        if not self._values:
            raise TimeoutError(f"no answer in {seconds:.0f} s")
        return self._values[0]


class Stage:
    """One installation below ``home`` and one server over it. ``kills`` and ``seed`` are for the last row."""

    def __init__(self, home: Path, *, kills: int, seed: int) -> None:
        self.home, self.kills, self.seed = home, kills, seed
        self.installation = Installation(home / "data")
        self.settings = self.installation.settings()
        self.token = self.installation.owner_token
        self._superuser = self.installation.url.replace("overseer@", "postgres@", 1)
        self._client = httpx.Client(timeout=30)
        self.server = self._started()

    def close(self) -> None:
        self._client.close()
        self.server.stop()
        self.installation.postgres.stop()

    # -- the server -----------------------------------------------------------------------------------------------------------

    def _started(self, **settings: str) -> RunningServer:
        return RunningServer(self.settings | settings, self.home / "server.log")

    def start_server(self) -> None:
        """Again at the same address, after a kill; returns when it is ready."""
        self.server.stop()
        self.server = self._started()
        self.await_ready()

    def other_server(self, **settings: str) -> RunningServer:
        """A second one over the same database: a replica, or one whose ``settings`` let it refuse to start."""
        return RunningServer(self.installation.settings(**settings), self.home / "other.log")

    @contextmanager
    def replica(self) -> Iterator[RunningServer]:
        """A second server that is ready; it is stopped at the end, where it still runs."""
        server = self.other_server()
        try:
            server.wait_for("/health/ready", 200)
            yield server
        finally:
            server.stop()

    def ensure_serving(self) -> None:
        if not self.installation.postgres.owned:
            self.installation.postgres.start()
        if self.server.process.poll() is not None:
            self.start_server()
        self.await_ready()

    def await_ready(self, status: int = 200) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.http("GET", "/health/ready").status_code == status:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.03)
        raise TimeoutError(f"the server was never ready ({status}): {self.server.said()[-500:]}")

    def kill_server(self, server: RunningServer | None = None) -> None:
        """``kill -9`` of all its processes: the supervisor is stopped first, so that it cannot react."""
        victim = server or self.server
        os.kill(victim.process.pid, signal.SIGSTOP)
        for worker in victim.workers():
            os.kill(worker, signal.SIGKILL)
        victim.process.kill()
        victim.process.wait()

    def kill_database(self) -> None:
        """``kill -9`` of the postmaster, and a new start, as the supervisor of an embedded one does it."""
        postgres = self.installation.postgres
        if postgres.process_id is None:
            raise RuntimeError("the database is not ours")
        os.kill(postgres.process_id, signal.SIGKILL)
        postgres.stop()
        postgres.start()

    def use_database(self, url: str, superuser: str) -> None:
        """Servers started from now on get ``url``; the stage itself looks with ``superuser``."""
        self.settings = self.settings | {"OVERSEER_DATABASE_URL": url}
        self._superuser = superuser

    # -- requests -------------------------------------------------------------------------------------------------------------

    def http(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, key: str | None = None, **headers: str
    ) -> httpx.Response:
        """With the owner's token unless another is given; ``key`` is an idempotency key; ``if_match`` becomes If-Match."""
        sent = {name.replace("_", "-"): text for name, text in headers.items()}
        sent |= {"authorization": f"Bearer {token or self.token}"} | ({"idempotency-key": key} if key else {})
        return self._client.request(method, self.server.url + path, json=body, headers=sent)

    def create(self, name: str, value: str = "value", **more: Any) -> dict[str, Any]:
        answer = self.http("POST", "/api/secrets", {"name": name, "value": value, **more})
        if answer.status_code != 201:
            raise RuntimeError(f"a secret could not be created: {answer.text}")
        made: dict[str, Any] = answer.json()
        return made

    def reveal(self, secret_id: str, **more: Any) -> httpx.Response:
        return self.http("POST", f"/api/secrets/{secret_id}/value", more)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        """``overseer ARGUMENTS`` as the owner."""
        kept = {name: text for name, text in os.environ.items() if not name.startswith("OVERSEER_")}
        settings = {"OVERSEER_URL": self.server.url, "OVERSEER_TOKEN": self.token, "OVERSEER_DATA_DIR": str(self.home / "data")}
        command = [sys.executable, "-P", "-m", "overseer.cli.main", *arguments]
        return subprocess.run(command, env=kept | settings, capture_output=True, check=False, timeout=60)

    @staticmethod
    def name(prefix: str) -> str:
        """A name that no other row uses."""
        return f"{prefix}-{secrets.token_hex(4)}"

    # -- the database ---------------------------------------------------------------------------------------------------------

    def _psql(self) -> list[str | Path]:
        return [binaries() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", self._superuser]

    def sql(self, *statements: str) -> str:
        """As the superuser, each on its own; what they return as text."""
        commands = [part for statement in statements for part in ("-c", statement)]
        done = subprocess.run([*self._psql(), *commands], capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"psql: {done.stderr}")
        return done.stdout.strip()

    @contextmanager
    def holding(self, statement: str) -> Iterator[None]:
        """A transaction that did ``statement`` (which takes a lock) and stays open; rolled back at the end."""
        process = subprocess.Popen(self._psql(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            told, heard = _pipes(process)
            told.write(f"BEGIN;\n{statement};\n\\echo held\n")
            told.flush()
            while (line := heard.readline()).strip() != "held":
                if not line:
                    raise RuntimeError("the lock was not to be had")
            yield
        finally:
            _pipes(process)[0].close()
            process.wait(20)
            _pipes(process)[1].close()

    def wait_blocked(self) -> None:
        """Until a transaction of the server waits for a lock."""
        deadline = time.monotonic() + 10
        while self.sql("SELECT count(*) FROM pg_locks WHERE NOT granted") == "0":
            if time.monotonic() > deadline:
                raise TimeoutError("no transaction waits")
            time.sleep(0.02)

    def count(self, table: str, condition: str) -> int:
        return int(self.sql(f"SELECT count(*) FROM {table} WHERE {condition}"))

    def audit(self, condition: str) -> list[str]:
        """``action outcome code`` of the rows, in order."""
        return self.sql(f"SELECT action, outcome, code FROM audit WHERE {condition} ORDER BY xact, id").splitlines()

    def fingerprint(self) -> str:
        """A digest of every row of every table."""
        tables = self.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1").split()
        parts = [f"(SELECT md5(coalesce(string_agg(t::text, '' ORDER BY t::text), '')) FROM {table} t)" for table in tables]
        return self.sql(f"SELECT md5({' || '.join(parts)})")


def _pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    if process.stdin is None or process.stdout is None:
        raise RuntimeError("the process has no pipes")
    return process.stdin, process.stdout
