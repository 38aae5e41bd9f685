"""New keys for a node, over real HTTP: what is on disk at every moment, and agents that go on."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from overseer.agent.identity import Identity, load_identity, load_keys
from overseer.agent.key_rotation import open_session, rotate_keys
from overseer.core.errors import ConfigurationProblem, OverseerError, Unauthenticated
from overseer.crypto.node_keys import NodeKeys
from overseer.wire.agent import PollAnswer, PollRequest
from tests.unit.agent.agent_server import AgentServer
from tests.unit.client.scripted_server import Asked, problem


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir() if path.is_file()}


def test_new_keys_replace_the_old(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    directory = tmp_path / "agent"
    running = open_session(identity, directory)
    running.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer)
    assert rotate_keys(directory) == "n1"
    now = load_identity(directory)
    assert now is not None
    assert now.keys.public != identity.keys.public
    assert now.keys.public == agent_server.keys
    assert now.record == identity.record
    assert "node.keys.new" not in names(directory)
    assert stat.S_IMODE((directory / "node.keys").stat().st_mode) == 0o600
    # A session of the agent that runs since before goes on, with the new keys.
    running.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer)
    assert running.identity.keys.public == now.keys.public
    running.close()
    # Whoever has the old keys only is out.
    old = open_session(identity, tmp_path / "nowhere")
    with pytest.raises(Unauthenticated):
        old.authenticate()
    old.close()


@pytest.mark.parametrize("lost", ["keys", "confirm"])
def test_a_refusal_keeps_the_old_keys_and_can_be_repeated(
    identity: Identity, agent_server: AgentServer, tmp_path: Path, lost: str
) -> None:
    directory = tmp_path / "agent"
    agent_server.failures[lost] = [problem("store_unavailable", 503, retry_after=0)]
    with pytest.raises(OverseerError):
        rotate_keys(directory)
    waiting = load_keys(directory, pending=True)
    assert waiting is not None
    found = load_identity(directory)
    assert found is not None
    assert found.keys.public == identity.keys.public == agent_server.keys
    rotate_keys(directory)
    assert agent_server.keys == waiting.public  # the same new keys: the server may have heard of them
    assert load_keys(directory, pending=True) is None


def test_a_lost_answer_to_the_confirmation_is_found_out_by_itself(
    identity: Identity, agent_server: AgentServer, tmp_path: Path
) -> None:
    """The server has the new keys in force, the node does not know: its next session finds out."""
    directory = tmp_path / "agent"
    confirm = agent_server._confirm

    def lose(asked: Asked) -> object:
        confirm(asked)
        return problem("internal", 500)

    agent_server._confirm = lose  # type: ignore[assignment,method-assign]
    with pytest.raises(OverseerError):
        rotate_keys(directory)
    waiting = load_keys(directory, pending=True)
    assert waiting is not None
    assert agent_server.keys == waiting.public
    session = open_session(identity, directory)
    session.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer)
    session.close()
    kept, left = load_keys(directory), load_keys(directory, pending=True)
    assert kept is not None
    assert kept.public == waiting.public
    assert left is None


def test_a_challenge_for_other_keys_changes_nothing(identity: Identity, agent_server: AgentServer, tmp_path: Path) -> None:
    directory = tmp_path / "agent"
    answer = agent_server._keys

    def other(asked: Asked) -> object:
        reply = answer(asked)
        agent_server._next_keys = NodeKeys.generate().public
        reply.body["challenge"] = "AAAA"
        return reply

    agent_server._keys = other  # type: ignore[assignment,method-assign]
    with pytest.raises(OverseerError):
        rotate_keys(directory)
    found = load_identity(directory)
    assert found is not None
    assert found.keys.public == identity.keys.public


def test_a_machine_that_is_no_node(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationProblem, match="no node"):
        rotate_keys(tmp_path)
