"""A node without an engine: it joins and talks as an agent does, and says of containers what a test tells it to."""

from __future__ import annotations

import base64
import threading
from dataclasses import dataclass, field
from pathlib import Path

from overseer.agent.enrolment import join
from overseer.agent.identity import load_identity
from overseer.agent.release import fetch_payload
from overseer.agent.session import Session
from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import fingerprint
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import DeploymentReport, FingerprintReport, PollAnswer, PollRequest, Work
from overseer.wire.deployments import DeploymentView
from tests.e2e.cli.conftest import Overseer


@dataclass
class HandAgent:
    """``ends`` is the state that each deployment gets; ``holds`` are values that containers hold instead of the right ones."""

    overseer: Overseer
    node: str
    home: Path
    ends: str = "succeeded"
    holds: dict[str, str] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> HandAgent:
        token = self.overseer("node", "enrol-token", self.node).stdout.decode().strip().splitlines()[-1]
        self.home.mkdir(mode=0o700)
        join(SecretValue(token), self.overseer.url, self.home)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join(30)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        identity = load_identity(self.home)
        assert identity is not None
        session = Session(identity)
        while not self._stop.is_set():
            for work in session.post("/api/agent/poll", PollRequest(wait_seconds=1), PollAnswer).work:
                self._carry_out(session, work)
                self.done.append(work.deployment_id)
        session.close()

    def _carry_out(self, session: Session, work: Work) -> None:
        path = f"/api/agent/deployments/{work.deployment_id}/report"
        reports = []
        if work.action == "deploy":
            payload = fetch_payload(session, session.identity, work.deployment_id)
            key = HmacKey(payload.fingerprint_key)
            held = {one.reference: one.value for one in payload.values}
            held |= {name: text.encode() for name, text in self.holds.items() if name in held}
            seen = {name: fingerprint(key, name, SecretValue(value)) for name, value in held.items()}
            reports = [
                FingerprintReport(reference=name, service="web", fingerprint=base64.b64encode(mark).decode())
                for name, mark in seen.items()
            ]
        session.post(path, DeploymentReport(state="applying", output="Container web Starting\n"), DeploymentView)
        error = "" if self.ends == "succeeded" else "not healthy: web"
        output = "Container web Starting\nContainer web Started\n"
        report = DeploymentReport(state=self.ends, output=output, error=error, fingerprints=reports)
        session.post(path, report, DeploymentView)
