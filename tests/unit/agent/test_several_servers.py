"""A node whose server has replicas: it enrols at whichever answers, keeps all addresses, and its work survives a change."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from overseer.agent.deployments import Deployer
from overseer.agent.engine import Engine
from overseer.agent.enrolment import join
from overseer.agent.identity import Identity, load_identity
from overseer.agent.journal import Journal
from overseer.agent.session import Session
from overseer.core.errors import Conflict, NotReady
from overseer.wire.agent import PAYLOAD_FORMAT, PayloadFile, PollAnswer, PollRequest, ReleasePayload
from tests.ports import free_port
from tests.unit.agent.agent_server import AgentServer
from tests.unit.client.scripted_server import Reply, ScriptedServer, problem, scripted_server

BUSY = problem("store_unavailable", 503)


def payload() -> ReleasePayload:
    return ReleasePayload(
        format=PAYLOAD_FORMAT, files=[PayloadFile(path="compose.yaml", content=b"services: {}")], compose_files=[], profiles=[],
        variables={}, values=[], fingerprint_key=bytes(32), allow_persisting=False,
    )  # fmt: skip


def deployer(identity: Identity, tmp_path: Path, pauses: list[float]) -> Deployer:
    made = Deployer(Engine(["docker"], [], {}), tmp_path, identity, Journal(tmp_path))
    made.sleep = pauses.append
    return made


def test_a_node_joins_at_the_replica_that_answers_and_keeps_all(agent_server: AgentServer, tmp_path: Path) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    with scripted_server(agent_server.answer) as one:
        join(agent_server.token(), f"{gone}, {one.url}", tmp_path / "agent")
        found = load_identity(tmp_path / "agent")
        assert found is not None
        assert found.record.url == f"{gone},{one.url}"
        session = Session(found)
        assert session.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer).work == []
        session.close()


def test_the_next_question_goes_to_the_other_replica_with_the_same_token(agent_server: AgentServer, tmp_path: Path) -> None:
    with scripted_server(agent_server.answer) as first, scripted_server(agent_server.answer) as second:
        join(agent_server.token(), f"{first.url},{second.url}", tmp_path / "agent")
        found = load_identity(tmp_path / "agent")
        assert found is not None
        session = Session(found)
        session.authenticate()
        agent_server.failures["poll"] = [BUSY]
        with pytest.raises(NotReady):
            session.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer)
        session.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer)
        session.close()
    assert [asked.path for asked in second.asked] == ["/api/agent/poll"]
    assert len(agent_server.tokens) == 1


def test_a_release_is_asked_for_again_until_a_server_answers(
    identity: Identity, agent_server: AgentServer, http: ScriptedServer, tmp_path: Path
) -> None:
    pauses: list[float] = []
    deployment, session = str(uuid4()), Session(identity)
    agent_server.payloads[deployment] = payload()
    agent_server.failures["release"] = [Reply(drop=True), BUSY, problem("sealed", 503)]
    fetched = deployer(identity, tmp_path, pauses).fetch(session, deployment)
    session.close()
    assert msgspec.to_builtins(fetched) == msgspec.to_builtins(payload())
    assert pauses == [0.2, 1.0, 3.0]
    nonces = [asked.json["nonce"] for asked in http.asked if asked.path.endswith("/release")]
    assert len(set(nonces)) == 4  # each is a release of its own


def test_a_refusal_is_not_repeated_and_waiting_is_bounded(
    identity: Identity, agent_server: AgentServer, http: ScriptedServer, tmp_path: Path
) -> None:
    pauses: list[float] = []
    deployment, session = str(uuid4()), Session(identity)
    agent_server.payloads[deployment] = payload()
    agent_server.failures["release"] = [problem("conflict", 409)]
    with pytest.raises(Conflict):
        deployer(identity, tmp_path, pauses).fetch(session, deployment)
    assert pauses == []
    agent_server.failures["release"] = [BUSY] * 9
    with pytest.raises(NotReady):
        deployer(identity, tmp_path, pauses).fetch(session, deployment)
    session.close()
    assert len(pauses) == 4
    assert len([asked for asked in http.asked if asked.path.endswith("/release")]) == 6
