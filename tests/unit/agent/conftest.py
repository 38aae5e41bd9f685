"""A server for agents, and a node that joined it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from overseer.agent.enrolment import join
from overseer.agent.identity import Identity, load_identity
from tests.unit.agent.agent_server import AgentServer
from tests.unit.client.scripted_server import ScriptedServer, scripted_server


@pytest.fixture
def agent_server() -> AgentServer:
    return AgentServer()


@pytest.fixture
def http(agent_server: AgentServer) -> Iterator[ScriptedServer]:
    """The server, listening on loopback without TLS."""
    with scripted_server(agent_server.answer) as server:
        yield server


@pytest.fixture
def identity(agent_server: AgentServer, http: ScriptedServer, tmp_path: Path) -> Identity:
    """What a successful enrolment leaves."""
    join(agent_server.token(), http.url, tmp_path / "agent")
    found = load_identity(tmp_path / "agent")
    assert found is not None
    return found
