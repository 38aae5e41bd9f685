"""Two servers of two workers each over one PostgreSQL: one is stopped, one is killed, and clients and agents go to the other."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import asyncpg
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

pytestmark = pytest.mark.postgres
Run = Callable[[dict[str, str]], RunningServer]
LOCK = "objid = (8102661214773306991 & 4294967295)::oid"
LEADERS = f"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted AND {LOCK}"

WRITES_WAITING = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO audit (%'"


@pytest.fixture
def replicas(installation: Installation, run: Run) -> tuple[RunningServer, RunningServer]:
    """Two servers that are ready."""
    pair = run(installation.settings(OVERSEER_WORKERS="2")), run(installation.settings(OVERSEER_WORKERS="2"))
    for server in pair:
        server.wait_for("/health/ready", 200)
    return pair


def both(*servers: RunningServer) -> str:
    return ",".join(server.url for server in servers)


def sql(installation: Installation, statement: str) -> int:
    async def ask() -> int:
        connection = await asyncpg.connect(installation.url.replace("overseer@", "postgres@", 1))
        try:
            return int(await connection.fetchval(statement))
        finally:
            await connection.close()

    return asyncio.run(ask())


def refused(server: RunningServer) -> bool:
    """Whether nobody accepts connections at its address."""
    with socket.socket() as late:
        host, port = server.address.split(":")
        return late.connect_ex((host, int(port))) != 0


def await_said(words: str, *servers: RunningServer) -> None:
    until(lambda: any(words in server.said() for server in servers))


class Held:
    """A transaction that keeps every audited request waiting, until :meth:`release`."""

    def __init__(self, installation: Installation) -> None:
        self._loop = asyncio.new_event_loop()
        self._connection = self._loop.run_until_complete(asyncpg.connect(installation.url.replace("overseer@", "postgres@", 1)))
        self._do("BEGIN")
        self._do("LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")

    def _do(self, statement: str) -> None:
        self._loop.run_until_complete(self._connection.execute(statement))

    def release(self) -> None:
        self._do("ROLLBACK")
        self._loop.run_until_complete(self._connection.close())
        self._loop.close()


def test_a_stopping_replica_ends_what_it_began_and_refuses_what_is_new(
    installation: Installation, replicas: tuple[RunningServer, RunningServer], tmp_path: Path
) -> None:
    first, second = replicas
    owner = SecretValue(installation.owner_token)
    with Client(both(first, second), owner) as client:
        node = client.nodes.create("draining-node")
        token = client.nodes.enrolment_token(node.name).token
    join(SecretValue(token), both(first, second), tmp_path / "node")
    identity = load_identity(tmp_path / "node")
    assert identity is not None
    assert identity.record.url == both(first, second)
    session = Session(identity)
    polled: list[object] = []

    def poll() -> None:
        try:
            polled.append(session.post("/api/agent/poll", PollRequest(wait_seconds=25), PollAnswer))
        except OverseerError as error:
            polled.append(error)

    polling = threading.Thread(target=poll)
    polling.start()
    until(lambda: sql(installation, "SELECT count(*) FROM node WHERE name = 'draining-node' AND last_seen_at IS NOT NULL"))
    held = Held(installation)
    answers: list[int] = []

    def write() -> None:
        answer = first.request("POST", "/api/secrets", installation.owner_token, json={"name": "while-stopping", "value": "v"})
        answers.append(answer.status_code)

    writing = threading.Thread(target=write)
    writing.start()
    try:
        until(lambda: sql(installation, WRITES_WAITING))
        first.process.send_signal(signal.SIGTERM)
        polling.join(60)
        assert isinstance(polled[0], NotReady), polled[0]  # at once: 25 seconds would have given it an answer
        until(lambda: refused(first))
        assert first.process.poll() is None  # a request is still under way
        assert answers == []
    finally:
        held.release()
    writing.join(60)
    assert answers == [201]
    assert first.process.wait(60) == 0
    # The agent's next question goes to the other replica, with the token that it has.
    assert session.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer).work == []
    session.close()


def test_a_killed_replica_loses_nothing_and_clients_go_on_at_the_other(
    installation: Installation, replicas: tuple[RunningServer, RunningServer]
) -> None:
    first, second = replicas
    ended = threading.Event()
    acknowledged: dict[tuple[str, int], str] = {}
    releases: Counter[str] = Counter()
    wrong: list[str] = []

    def work(number: int) -> None:
        policy = RetryPolicy(attempts=8, budget=30)
        addresses = both(first, second) if number % 2 else both(second, first)
        with Client(addresses, SecretValue(installation.owner_token), retry_policy=policy) as client:
            written = 0
            try:
                made = client.secrets.create(f"replicated-{number}", SecretValue("0"))
                while not ended.is_set():
                    written += 1
                    view = client.secrets.update(made.id, SecretValue(str(written)))
                    acknowledged[made.id, view.version] = str(written)
                    if client.secrets.reveal(made.id).value.reveal() != str(written).encode():
                        wrong.append("a client did not read its own acknowledged write")
                    releases[made.id] += 1
            except OverseerError as error:
                wrong.append(f"{type(error).__name__}: {error.message}")

    before = sql(installation, "SELECT count(*) FROM audit WHERE action = 'secret:reveal' AND outcome = 'allowed'")
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    try:
        until(lambda: len(acknowledged) > 20 or wrong)
        at_kill = len(acknowledged)
        first.kill()
        until(lambda: len(acknowledged) > at_kill + 20 or wrong)
    finally:
        ended.set()
    for thread in threads:
        thread.join(120)
    assert wrong == []
    with Client(second.url, SecretValue(installation.owner_token)) as client:
        for (secret_id, version), value in acknowledged.items():
            assert client.secrets.reveal(secret_id, version=version).value.reveal() == value.encode()
    after = sql(installation, "SELECT count(*) FROM audit WHERE action = 'secret:reveal' AND outcome = 'allowed'")
    assert after - before >= sum(releases.values()) + len(acknowledged)


def test_one_worker_of_all_leads_and_the_next_follows_a_kill(
    installation: Installation, replicas: tuple[RunningServer, RunningServer]
) -> None:
    first, second = replicas
    leading = "this process leads:"
    await_said(leading, first, second)
    for _ in range(5):
        assert sql(installation, LEADERS) == 1
        time.sleep(0.1)
    assert (first.said() + second.said()).count(leading) == 1
    leader, other = (first, second) if leading in first.said() else (second, first)
    leader.kill()
    await_said(leading, other)
    assert sql(installation, LEADERS) == 1
    assert other.stop() == 0  # and a stop gives the lock up
    until(lambda: sql(installation, LEADERS) == 0)  # PostgreSQL reads the end of the connection when it comes to it


def test_a_write_at_one_replica_is_read_at_the_other_at_once_and_a_revocation_holds(
    installation: Installation, replicas: tuple[RunningServer, RunningServer]
) -> None:
    first, second = replicas
    owner = installation.owner_token
    made = first.request("POST", "/api/secrets", owner, json={"name": "seen-by-both", "value": "1"}).json()
    account = first.request("POST", "/api/service-accounts", owner, json={"name": "reader"}).json()["name"]
    binding = {"principal": account, "role": "developer", "app": "*", "environment": "*", "node": "*", "name": "*"}
    assert first.request("POST", "/api/bindings", owner, json=binding).status_code == 201
    token = first.request("POST", "/api/tokens", owner, json={"principal": account}).json()
    headers = {"authorization": f"Bearer {token['token']}"}
    with httpx.Client(headers=headers, timeout=90) as reader:  # keeps its connection to the second
        for version in range(2, 12):
            written = first.request("PUT", f"/api/secrets/{made['id']}", owner, json={"value": str(version)})
            assert written.status_code == 200
            answer = reader.post(f"{second.url}/api/secrets/{made['id']}/value", json={})
            assert (answer.status_code, answer.json()["value"]) == (200, str(version))
        assert first.request("DELETE", f"/api/tokens/{token['id']}", owner).status_code == 204
        assert reader.post(f"{second.url}/api/secrets/{made['id']}/value", json={}).status_code == 401
