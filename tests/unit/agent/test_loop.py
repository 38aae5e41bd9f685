"""The daemon's loop over real HTTP; what it executes is a double that waits where a test tells it to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from overseer.agent.deployments import Deployer
from overseer.agent.engine import Engine
from overseer.agent.identity import Identity
from overseer.agent.journal import Journal
from overseer.agent.loop import Agent, Pauses
from overseer.agent.release import Server
from overseer.agent.session import Session
from overseer.core.errors import NotReady, Unreachable
from overseer.wire.agent import DeploymentReport, Work
from tests.unit.agent.agent_server import AgentServer, work
from tests.unit.client.scripted_server import Reply, problem


class Double(Deployer):
    """Executes nothing; ``hold`` keeps work running until it is set."""

    def prepare(self) -> None:
        self.executed: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self.report: Callable[[Work], DeploymentReport | None] = lambda work: DeploymentReport(state="succeeded")

    def execute(self, work: Work, server: Server) -> DeploymentReport | None:
        self.executed.append(work.deployment_id)
        while not self.hold.wait(0.02):
            if self.engine.interrupted:
                return None
        return self.report(work)


class Daemon:
    def __init__(self, identity: Identity, directory: Path, **options: Any) -> None:
        engine = Engine(["docker"], ["docker-compose"], {})
        self.deployer = Double(engine, directory / "root", identity, Journal(directory / "agent"))
        self.deployer.prepare()
        self.agent = Agent(self.deployer, lambda: Session(identity), **options)
        self.thread = threading.Thread(target=self.agent.run)

    def __enter__(self) -> Daemon:
        self.thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.deployer.hold.set()
        self.agent.stop()
        self.thread.join(90)
        assert not self.thread.is_alive()
        for thread in threading.enumerate():
            if thread.name == "agent-poll":
                thread.join(90)


def wait_for(condition: Callable[[], object], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def states(server: AgentServer, deployment: dict[str, Any]) -> list[str]:
    return [body["state"] for identifier, body in server.reports if identifier == deployment["deployment_id"]]


def test_work_is_done_once_and_reported(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    one = work()
    with Daemon(identity, tmp_path) as daemon:
        daemon.deployer.hold.clear()
        agent_server.work.append(one)
        wait_for(lambda: daemon.deployer.executed)
        count = len(agent_server.polls)
        wait_for(lambda: len(agent_server.polls) > count)
        assert agent_server.polls[-1]["busy"] == [one["deployment_id"]]
        daemon.deployer.hold.set()
        wait_for(lambda: not agent_server.work)
        wait_for(lambda: agent_server.polls[-1]["busy"] == [])
    assert daemon.deployer.executed == [one["deployment_id"]]
    assert states(agent_server, one) == ["applying", "succeeded"]


def test_projects_run_at_once_within_the_limit(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    agent_server.work = [work(project=f"p{number}") for number in range(3)]
    with Daemon(identity, tmp_path, parallel=2) as daemon:
        daemon.deployer.hold.clear()
        wait_for(lambda: len(daemon.deployer.executed) == 2)
        time.sleep(0.2)
        assert len(daemon.deployer.executed) == 2
        daemon.deployer.hold.set()
        wait_for(lambda: not agent_server.work)
    assert len(daemon.deployer.executed) == 3


def test_a_server_that_is_away_is_asked_again(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    agent_server.failures["poll"] = [problem("store_unavailable", 503, retry_after=0), problem("internal", 500)]
    agent_server.work = [one := work()]
    with Daemon(identity, tmp_path):
        wait_for(lambda: not agent_server.work)
    assert states(agent_server, one) == ["applying", "succeeded"]


def test_nothing_that_a_server_says_ends_the_asking(
    identity: Identity,
    agent_server: AgentServer,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deep = b'{"work":[],"zz":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    agent_server.failures["poll"] = [
        Reply(200, deep),
        Reply(500, b'{"title":"\xff"}', media_type="application/problem+json"),
    ]
    agent_server.work = [one := work()]
    asked = Agent._ask_for_lost
    unforeseen = iter([ArithmeticError("its text could hold a value")])

    def ask(agent: Agent, session: Session) -> bool:
        for error in unforeseen:
            raise error
        return asked(agent, session)

    monkeypatch.setattr(Agent, "_ask_for_lost", ask)
    with Daemon(identity, tmp_path):
        wait_for(lambda: not agent_server.work)
    assert states(agent_server, one) == ["applying", "succeeded"]
    assert "ArithmeticError" in caplog.text
    assert "its text" not in caplog.text


def test_an_outcome_is_reported_until_the_server_has_it(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    agent_server.work = [one := work()]
    with Daemon(identity, tmp_path) as daemon:
        daemon.deployer.hold.clear()
        wait_for(lambda: states(agent_server, one) == ["applying"])
        agent_server.failures["report"] = [problem("store_unavailable", 503, retry_after=0)] * 2
        daemon.deployer.hold.set()
        wait_for(lambda: states(agent_server, one) == ["applying", "succeeded"])
    assert daemon.deployer.executed == [one["deployment_id"]]


def test_a_deployment_that_is_not_ours_any_more(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    agent_server.work = [one := work()]
    with Daemon(identity, tmp_path) as daemon:
        daemon.deployer.hold.clear()
        wait_for(lambda: states(agent_server, one) == ["applying"])
        agent_server.failures["report"] = [problem("conflict", 409)]
        agent_server.work = []
        daemon.deployer.hold.set()
        wait_for(lambda: agent_server.polls[-1]["busy"] == [])
    assert states(agent_server, one) == ["applying"]


def test_an_unforeseen_failure_ends_in_a_report(
    identity: Identity, agent_server: AgentServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(work: Work) -> DeploymentReport:
        raise RuntimeError("the-canary-value")

    agent_server.work = [one := work()]
    with Daemon(identity, tmp_path) as daemon:
        daemon.deployer.report = fail
        wait_for(lambda: not agent_server.work)
    assert states(agent_server, one) == ["applying", "failed"]
    assert "RuntimeError" in str(agent_server.reports[-1])
    assert "the-canary-value" not in str(agent_server.reports) + caplog.text


def test_stop_lets_running_work_end(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    agent_server.work = [one := work()]
    with Daemon(identity, tmp_path) as daemon:
        daemon.deployer.hold.clear()
        wait_for(lambda: daemon.deployer.executed)
        daemon.agent.stop()
        daemon.thread.join(0.3)
        assert daemon.thread.is_alive()
    assert states(agent_server, one) == ["applying", "succeeded"]


def test_stop_interrupts_what_does_not_end(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    agent_server.work = [one := work()]
    with Daemon(identity, tmp_path, stop_seconds=0.3) as daemon:
        daemon.deployer.hold.clear()
        wait_for(lambda: daemon.deployer.executed)
        daemon.agent.stop()
        daemon.thread.join(90)
        assert not daemon.thread.is_alive()
    assert states(agent_server, one) == ["applying"]  # neither done nor failed
    assert agent_server.work == [one]  # and handed out again


def test_pauses_grow_are_bounded_and_never_before_the_servers_time() -> None:
    most = Pauses(chance=lambda: 1.0)
    pauses = [most.next() for _ in range(12)]
    assert pauses[:3] == [1.5, 2.5, 4.5]
    assert max(pauses) == 60.5
    most.reset()
    assert most.next() == 1.5
    assert Pauses(chance=lambda: 0.0).next(NotReady("x", retry_after=20)) == 20.0
    assert Pauses(chance=lambda: 0.0).next(Unreachable("x")) >= 0.5
    assert Pauses(chance=lambda: 0.0).next(NotReady("x", retry_after=2**62)) == 3600.0
