"""Faults between server and node. The node speaks with the agent's own code, without an engine behind it."""

from __future__ import annotations

import base64
import shutil
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from overseer.agent.enrolment import Joined, join
from overseer.agent.identity import Identity, load_identity
from overseer.agent.release import fetch_payload
from overseer.agent.session import Session
from overseer.core.errors import Conflict, OverseerError, RateLimited, Unauthenticated, Unavailable
from overseer.core.secret_value import SecretValue
from overseer.crypto.node_assertions import make_assertion
from overseer.wire.agent import DeploymentReport, PollAnswer, PollRequest, ReleaseAnswer
from overseer.wire.deployments import DeploymentView
from tests.faults.stage import Stage
from tests.faults.table import fault, require

COMPOSE = "services:\n  web:\n    image: shop\n    environment: {V: '${SECRET:value}'}\n"


def _patiently(call: Callable[[], Joined]) -> Joined:
    """What it answers once the limit on refused requests, which the flood above has used up, lets it through."""
    for _ in range(60):
        try:
            return call()
        except RateLimited:
            time.sleep(1)
    return call()


class Node:
    """An enrolled node and an app that is deployed on it."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.name, self.app = stage, stage.name("node"), stage.name("app")
        self.value = stage.name("value-of-the-node")
        self.directory = stage.home / self.name
        for path, body in (("/api/nodes", {"name": self.name}), ("/api/apps", {"name": self.app})):
            require(stage.http("POST", path, body).status_code == 201, path)
        self.token = stage.http("POST", "/api/enrolment-tokens", {"node": self.name}).json()["token"]
        _patiently(lambda: join(SecretValue(self.token), stage.server.url, self.directory))
        identity = load_identity(self.directory)
        if identity is None:
            raise RuntimeError("the node is not enrolled")
        self.identity: Identity = identity
        stage.create("value", self.value, app=self.app)
        bundle = {"files": [{"path": "compose.yaml", "content": COMPOSE}]}
        self.digest = stage.http("POST", f"/api/apps/{self.app}/bundles", bundle).json()["digest"]

    def session(self, ahead: timedelta = timedelta(0)) -> Session:
        """As the agent opens one; ``ahead`` is how much its clock is."""
        return Session(self.identity, clock=lambda: datetime.now(UTC) + ahead)

    def deploy(self) -> str:
        """Order a deployment; its id."""
        made = self.stage.http("POST", "/api/deployments", {"app": self.app, "node": self.name, "bundle": self.digest})
        require(made.status_code == 201, made.text)
        return str(made.json()["id"])

    def take(self, session: Session, deployment: str) -> None:
        work = session.post("/api/agent/poll", PollRequest(wait_seconds=0), PollAnswer).work
        require(deployment in {one.deployment_id for one in work}, "the work was not handed out")

    def report(self, session: Session, deployment: str, state: str) -> DeploymentView:
        return session.post(f"/api/agent/deployments/{deployment}/report", DeploymentReport(state=state), DeploymentView)

    def state(self, deployment: str) -> str:
        return str(self.stage.http("GET", f"/api/deployments/{deployment}").json()["state"])

    def rows(self, action: str) -> list[str]:
        return self.stage.audit(f"action = '{action}' AND (node = '{self.name}' OR actor_name = '{self.name}')")


class Recorder:
    """A server that remembers its answers, and says one again when it is told to: somebody between agent and server."""

    def __init__(self, session: Session) -> None:
        self.session, self.answers, self.again = session, list[Any](), False

    def post(self, path: str, body: msgspec.Struct, returns: type[Any], timeout: float = 30.0) -> Any:
        if self.again:
            return self.answers[-1]
        self.answers.append(self.session.post(path, body, returns, timeout))
        return self.answers[-1]


def refusal(call: Callable[[], object], *kinds: type[OverseerError]) -> OverseerError:
    """The error of one of ``kinds`` that the call raises."""
    try:
        call()
    except kinds as error:
        return error
    raise RuntimeError("it was not refused")


@fault("node revoked during a deployment", "nothing more for it, audited; the deployment ends as failed")
def revoked(stage: Stage) -> str:
    node = Node(stage)
    session, deployment = node.session(), node.deploy()
    node.take(session, deployment)
    require(stage.http("POST", f"/api/nodes/{node.name}/revoke").status_code == 200, "the revocation failed")
    released = stage.count("audit", "action = 'deployment:release' AND outcome = 'allowed'")
    refusal(lambda: fetch_payload(session, node.identity, deployment), Unauthenticated)
    refusal(lambda: node.report(session, deployment, "succeeded"), Unauthenticated)
    refusal(lambda: node.session().authenticate(), Unauthenticated)
    require(stage.count("audit", "action = 'deployment:release' AND outcome = 'allowed'") == released, "it was released")
    denied = stage.count("audit", "action IN ('deployment:release', 'node:authenticate') AND outcome = 'denied'")
    require(denied >= 2 and node.state(deployment) == "failed", f"{denied} denials, the state is {node.state(deployment)}")
    return f"release, report and a new token: 401; {denied} denials in the log; the deployment is failed"


@fault("replayed assertion", "refused, audited")
def replayed_assertion(stage: Stage) -> str:
    node = Node(stage)
    record = node.identity.record
    text = make_assertion(record.node_id, record.instance_id, node.identity.keys.signing, datetime.now(UTC))
    first, second = (stage.http("POST", "/api/agent/token", {"assertion": text}) for _ in range(2))
    require((first.status_code, second.status_code) == (200, 401), f"{first.status_code}, {second.status_code}")
    require("access_token" not in second.text, second.text)
    row = node.rows("node:authenticate")[-1]
    require(row == "node:authenticate|denied|assertion_replayed", row)
    return "200, then 401; audit: denied, assertion_replayed"


@fault("replayed release, release for another node", "the agent refuses it; the server hides and audits it")
def replayed_release(stage: Stage) -> str:
    node, other = Node(stage), Node(stage)
    session, deployment = node.session(), node.deploy()
    node.take(session, deployment)
    recorder = Recorder(session)
    payload = fetch_payload(recorder, node.identity, deployment)
    require(payload.values[0].value == node.value.encode(), "another value")
    recorder.again = True
    refused = refusal(lambda: fetch_payload(recorder, node.identity, deployment), OverseerError)
    sealed = base64.b64decode(msgspec.convert(recorder.answers[-1], ReleaseAnswer).sealed)
    require(node.value.encode() not in sealed, "the release is not sealed")
    refusal(lambda: fetch_payload(recorder, other.identity, deployment), OverseerError)
    refusal(lambda: fetch_payload(other.session(), other.identity, deployment), Unavailable)
    row = stage.audit(f"action = 'deployment:release' AND resource_id = '{deployment}'")[-1]
    require(row == "deployment:release|denied|other_node", row)
    return f"{refused.code} for the old nonce and for other keys; another node: 404, audit other_node"


@fault("clock an hour off", "refused with both times, audited")
def clock(stage: Stage) -> str:
    node = Node(stage)
    for ahead in (timedelta(hours=1), timedelta(hours=-1)):
        error = refusal(node.session(ahead).authenticate, Unauthenticated)
        require("NTP" in error.message and error.message.count("Z") >= 2, error.message)
        row = node.rows("node:authenticate")[-1]
        require(row == "node:authenticate|denied|clock_skew", row)
    node.session(timedelta(seconds=20)).authenticate()
    return "ahead and behind: 401 that names both clocks; audit: clock_skew; 20 s off: accepted"


@fault("enrolment token used by a second machine", "refused, audited; the same keys may repeat a lost answer")
def second_machine(stage: Stage) -> str:
    node = Node(stage)
    thief = stage.home / f"{node.name}-thief"
    refusal(lambda: _patiently(lambda: join(SecretValue(node.token), stage.server.url, thief)), Unauthenticated)
    row = node.rows("node:enrol")[-1]
    require(row == "node:enrol|denied|token_reused", row)
    again = stage.home / f"{node.name}-again"
    again.mkdir(mode=0o700)
    shutil.copy(node.directory / "node.keys", again / "node.keys")  # what a crash before the answer leaves
    joined = _patiently(lambda: join(SecretValue(node.token), stage.server.url, again))
    require(joined.node_id == node.identity.record.node_id, "another node")
    node.session().authenticate()
    return "other keys: 401, audit token_reused; the same keys: the same node"


@fault("server killed in the middle of a deployment", "the work goes on and ends in a true state, once")
def server_dies(stage: Stage) -> str:
    node = Node(stage)
    session, deployment = node.session(), node.deploy()
    node.take(session, deployment)
    fetch_payload(session, node.identity, deployment)
    stage.kill_server()
    stage.start_server()
    later = node.session()
    require(node.state(deployment) in {"released", "applying"}, node.state(deployment))
    node.take(later, deployment)  # an agent that was restarted, too, gets it again
    require(node.report(later, deployment, "succeeded").state == "succeeded", "the report was not taken")
    refusal(lambda: node.report(later, deployment, "failed"), Conflict)
    # What runs there now may be fetched again, for a node that lost its memory; nothing else changes.
    fetch_payload(later, node.identity, deployment)
    require(node.state(deployment) == "succeeded", node.state(deployment))
    return "handed out again, succeeded; a late report: 409"
