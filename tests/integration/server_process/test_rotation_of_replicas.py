"""A rotation of the key-encryption key on two servers that write all the time, one of them killed meanwhile."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import asyncpg
import httpx
import pytest

from tests.integration.server_process.installation import Installation, RunningServer, until

pytestmark = pytest.mark.postgres
Run = Callable[[dict[str, str]], RunningServer]


class Writer:
    """Makes secrets at one server until it is told to stop; keeps what was acknowledged."""

    def __init__(self, server: RunningServer, token: str) -> None:
        self.made: dict[str, str] = {}
        self._server, self._token = server, token
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            value = f"value {number}"
            body = {"name": f"w-{self._server.address.rpartition(':')[2]}-{number}", "value": value}
            try:
                answer = self._server.request("POST", "/api/secrets", self._token, json=body)
            except httpx.TransportError:
                time.sleep(0.1)
                continue
            if answer.status_code == 201:
                self.made[answer.json()["id"]] = value
            time.sleep(0.05)

    def stop(self) -> dict[str, str]:
        self._stop.set()
        self._thread.join(120)
        return self.made


async def terms(url: str) -> Counter[int]:
    connection = await asyncpg.connect(url)
    try:
        return Counter({row["kek_term"]: row["rows"] for row in await connection.fetch(TERMS)})
    finally:
        await connection.close()


TERMS = "SELECT kek_term, count(*) AS rows FROM secret_version GROUP BY kek_term"


def test_it_ends_with_nothing_under_the_old_term_and_loses_nothing(installation: Installation, run: Run) -> None:
    token = installation.owner_token
    servers = [run(installation.settings()) for _ in range(2)]
    for server in servers:
        server.wait_for("/health/ready", 200)
    writers = [Writer(server, token) for server in servers]
    until(lambda: sum(len(writer.made) for writer in writers) > 30)
    began = servers[0].request("POST", "/api/keys/rotate", token)
    assert began.status_code == 202
    assert servers[1].request("POST", "/api/keys/rotate", token).status_code == 409
    before = len(writers[0].made)
    until(lambda: len(writers[0].made) > before + 10)  # the rotation is under way, and new rows come
    servers[0].kill()
    finished = wait_finished(servers[1], token)
    assert finished["unreadable"] == 0
    written = writers[0].stop() | writers[1].stop()
    assert len(written) > 50
    found = asyncio.run(terms(installation.url))
    assert set(found) == {began.json()["term"]}
    assert found.total() >= len(written)
    for secret_id, value in list(written.items())[:: max(1, len(written) // 40)]:
        answer = servers[1].request("POST", f"/api/secrets/{secret_id}/value", token, json={})
        assert answer.json()["value"] == value
    answer = servers[1].request("POST", "/api/keys/verify", token, json={}).json()
    assert (answer["unreadable"], answer["checked"] >= len(written)) == ([], True)


def wait_finished(server: RunningServer, token: str) -> dict[str, Any]:
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        rotation: dict[str, Any] = server.get("/api/keys", token).json()["rotation"]
        if rotation["state"] == "finished":
            return rotation
        time.sleep(0.5)
    raise AssertionError(f"it never ended: {rotation}")
