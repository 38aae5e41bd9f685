"""A whole Overseer as people run it: server and agent as processes of their own, and what everybody who talks to them sees.

Each answer, each line on a terminal and each exception's text is searched at once; only what is asked for a value may hold one.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.canary.processes import ProcessWatch
from tests.e2e.canary.search import Finding, Search
from tests.ports import free_port
from tests.postgres_server import binaries

READY_SECONDS = 90.0
#: As the package's console script, but the working directory is no place to import from.
OVERSEER = (sys.executable, "-P", "-m", "overseer.cli.main")
TABLES = "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'public'"


class System:
    """One installation below ``home`` (on disk), with an agent whose secrets lie below ``memory`` (tmpfs)."""

    def __init__(self, home: Path, memory: Path, search: Search, watch: ProcessWatch, **settings: str) -> None:
        self.home = home
        self.url = f"http://127.0.0.1:{free_port()}"
        self.leaks: list[Finding] = []
        self.answers = 0
        self._search, self._watch = search, watch
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token = ""
        self._client = httpx.Client(timeout=90)
        kept = {name: text for name, text in os.environ.items() if not name.startswith("OVERSEER_")}
        self._environment = kept | {
            "OVERSEER_DATA_DIR": str(home),
            "OVERSEER_LISTEN": self.url.removeprefix("http://"),
            "OVERSEER_TMPFS_ROOT": str(memory),
            "OVERSEER_TMPFS_ALLOW": "swap",
            "HOME": str(home),
        } | settings  # fmt: skip

    # -- processes ------------------------------------------------------------------------------------------------------------

    def start(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """``overseer ARGUMENTS`` in the background; all that it says goes to ``home/log/name.log``."""
        (self.home / "log").mkdir(exist_ok=True)
        with (self.home / "log" / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [*OVERSEER, *arguments], env=self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._processes[name] = process
        self._watch.include(process.pid)
        return process

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        process = self._processes.pop(name)
        process.send_signal(number)
        return process.wait(60)

    def stop_all(self) -> None:
        """Whatever still runs, the last one first; no more requests after that."""
        self._client.close()
        for name in reversed(list(self._processes)):
            self.stop(name)

    def await_health(self, path: str = "/health/ready", status: int = 200) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            try:
                if self.http("GET", path, token="").status_code == status:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise AssertionError(f"{path} never answered {status}: {(self.home / 'log' / 'server.log').read_text()[-2000:]}")

    def workers(self) -> list[int]:
        """Process ids of the server's workers."""
        children = Path(f"/proc/{self._processes['server'].pid}/task").glob("*/children")
        pids = [int(pid) for path in children for pid in path.read_text().split()]
        return [pid for pid in pids if b"overseer.server.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    # -- talking --------------------------------------------------------------------------------------------------------------

    def use_owner_token(self) -> str:
        self._token = (self.home / "owner-token").read_text().strip()
        return self._token

    def http(
        self, method: str, path: str, body: Any = None, *, token: str | None = None, shows: bool = False, **more: Any
    ) -> httpx.Response:
        """One request; the answer is searched, headers and all, unless it ``shows`` a value. ``body`` bytes go as they are."""
        content = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | more.pop("headers", {})
        if (used := self._token if token is None else token) and "authorization" not in headers:
            headers["authorization"] = f"Bearer {used}"
        try:
            answer = self._client.request(method, self.url + path, content=content, headers=headers, **more)
        except httpx.TransportError as error:
            self.leaks += self._search.in_text(f"{error} {error!r}", f"the exception of {method} {len(path)}")
            raise
        self.answers += 1
        said = b"\n".join(name + b": " + value for name, value in answer.headers.raw) + (b"" if shows else b"\n" + answer.content)
        self.leaks += self._search.in_bytes(said, f"the answer {answer.status_code} of {method} (number {self.answers})")
        return answer

    def cli(
        self, *arguments: str, stdin: bytes = b"", expect: int = 0, shows: bool = False, settings: dict[str, str] | None = None
    ) -> bytes:
        """What ``overseer ARGUMENTS`` prints on stdout. Only the command line's client gets the owner's token in a variable."""
        credentials = {"OVERSEER_URL": self.url, "OVERSEER_TOKEN": self._token} if self._token else {}
        done = subprocess.run(
            [*OVERSEER, *arguments],
            input=stdin,
            capture_output=True,
            env=self._environment | credentials | (settings or {}),
            check=False,
            timeout=120,
        )
        place = f"what 'overseer {' '.join(arguments[:2])}' printed"
        self.leaks += self._search.in_bytes(done.stderr, f"{place} on stderr")
        if not shows:
            self.leaks += self._search.in_bytes(done.stdout, f"{place} on stdout")
        if done.returncode != expect:
            said = "a canary" if self._search.in_bytes(done.stderr, place) else done.stderr.decode(errors="replace")
            raise AssertionError(f"{place}, exit code {done.returncode}: {said}")
        return done.stdout

    # -- the database ---------------------------------------------------------------------------------------------------------

    def sql(self, *statements: str) -> bytes:
        """As the embedded database's superuser, by the socket."""
        url = f"postgresql://postgres@/overseer?host={(self.home / 'postgres-socket').resolve()}"
        commands = [part for statement in statements for part in ("-c", statement)]
        return subprocess.run(
            [binaries() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url, *commands], check=True, capture_output=True
        ).stdout

    def tables(self) -> Iterator[tuple[str, bytes]]:
        """Every table's rows as text: what is compressed in the files is plain here."""
        for table in self.sql(TABLES).decode().split():
            yield table, self.sql(f"COPY (SELECT * FROM {table}) TO STDOUT")

    def kill_database(self) -> None:
        """As a power cut would; the server's supervisor starts it again."""
        os.kill(int((self.home / "postgres" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def docker(command: Sequence[str], *arguments: str) -> str:
    """What the Docker command prints."""
    return subprocess.run([*command, *arguments], check=True, capture_output=True, text=True, timeout=60).stdout.strip()
