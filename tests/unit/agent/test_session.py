"""Short tokens from assertions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from overseer.agent.identity import Identity
from overseer.agent.session import TOLERATED_SKEW, Session
from overseer.core.errors import Unauthenticated
from overseer.wire.agent import PollAnswer, PollRequest
from tests.unit.agent.agent_server import AgentServer
from tests.unit.client.scripted_server import ScriptedServer


class Time:
    """A monotonic clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def session(identity: Identity, time: Time) -> Iterator[Session]:
    made = Session(identity, monotonic=time)
    yield made
    made.close()


def poll(session: Session) -> None:
    session.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer)


def test_one_token_serves_until_shortly_before_its_end(session: Session, agent_server: AgentServer, time: Time) -> None:
    poll(session)
    poll(session)
    assert len(agent_server.tokens) == 1
    time.now += agent_server.expires_in - 31
    poll(session)
    assert len(agent_server.tokens) == 1
    time.now += 2
    poll(session)
    assert len(agent_server.tokens) == 2


def test_a_short_lived_token_is_not_renewed_for_every_request(session: Session, agent_server: AgentServer) -> None:
    agent_server.expires_in = 10
    poll(session)
    poll(session)
    assert len(agent_server.tokens) == 1


def test_a_token_that_ended_early_is_replaced_once(session: Session, agent_server: AgentServer) -> None:
    poll(session)
    agent_server.tokens.clear()
    poll(session)
    assert len(agent_server.tokens) == 1


def test_a_revoked_node(session: Session, agent_server: AgentServer, http: ScriptedServer) -> None:
    poll(session)
    agent_server.tokens.clear()
    agent_server.active = False
    before = len(http.asked)
    with pytest.raises(Unauthenticated, match="revoked"):
        poll(session)
    assert len(http.asked) - before == 2  # the request, one new assertion, no more


def test_a_clock_that_is_an_hour_off_is_said(identity: Identity, agent_server: AgentServer) -> None:
    session = Session(identity, clock=lambda: datetime.now(UTC) + timedelta(hours=1))
    with pytest.raises(Unauthenticated, match=r"set the clocks \(NTP\)"):
        poll(session)
    session.close()
    assert agent_server.tokens == set()


def test_a_clock_that_is_a_little_off_is_known(identity: Identity, agent_server: AgentServer) -> None:
    agent_server.clock = timedelta(seconds=-25)
    session = Session(identity)
    poll(session)
    session.close()
    assert session.skew > TOLERATED_SKEW
