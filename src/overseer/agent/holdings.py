"""What the containers of this node hold now, looked at and told to the server now and then, so that drift shows.

Guarantees: fingerprints under each deployment's own key leave the node, nothing else; a project that is being changed is left
out; one look asks the engine two questions, however many projects there are, and a few more for each stack of a Swarm. What
cannot be looked at now is looked at next time.

Of a stack the services are seen wherever their tasks run, and which secrets they are given; containers are looked into on this
node alone.
"""

from __future__ import annotations

import base64
import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overseer.agent import proof
from overseer.agent.containers import Container, containers_by_project
from overseer.agent.engine import Engine
from overseer.agent.held_deployment import HeldDeployment, read_held
from overseer.agent.journal import Entry, Journal, Phase
from overseer.agent.project_files import ProjectFiles
from overseer.agent.session import Session
from overseer.agent.swarm_deployments import held_stack
from overseer.agent.swarm_stack import SwarmStack
from overseer.compose.swarm import SWARM
from overseer.core.errors import NodeProblem, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import fingerprint
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import DeploymentHolding, FingerprintReport, HoldingsAnswer, HoldingsReport

log = logging.getLogger("overseer.agent")
#: As the message allows.
_MOST_HOLDINGS: Final = 200


@dataclass(frozen=True, slots=True)
class Holdings:
    """Looks below ``root`` and into the engine."""

    engine: Engine
    root: Path
    journal: Journal

    def look(self) -> list[DeploymentHolding]:
        """One holding for each deployment that runs. :class:`NodeProblem` where the engine does not answer."""
        deployed = list(self._deployed())
        composed = any(entry.target != SWARM for entry, _ in deployed)
        found = containers_by_project(self.engine) if composed else {}
        holdings = []
        for entry, held in deployed:
            seen = self._stack(entry, held) if entry.target == SWARM else self._containers(held, found.get(entry.project, []))
            # What was changed while it was looked at says nothing about either deployment.
            if seen is not None and not self.journal.is_locked(entry.project) and self._held(entry) == seen.deployment_id:
                holdings.append(seen)
        return holdings

    def _containers(self, held: HeldDeployment, containers: list[Container]) -> DeploymentHolding:
        prints = proof.collect(self.engine, held.places, containers, HmacKey(held.fingerprint_key))
        services = [one.report() for one in containers]
        return DeploymentHolding(deployment_id=held.deployment_id, fingerprints=prints, services=services)

    def _stack(self, entry: Entry, held: HeldDeployment) -> DeploymentHolding | None:
        """None where the Swarm does not answer: other projects of this node are looked at all the same."""
        stack, key = SwarmStack(self.engine, entry.project, self.root), HmacKey(held.fingerprint_key)
        try:
            services = stack.services()
            prints = proof.collect(self.engine, held.places, stack.local_containers(), key)
        except NodeProblem as problem:
            log.info("stack %s was not looked at: %s", entry.project, problem.message)
            return None
        for service in services:
            for reference, name in held.granted.get(service.name, {}).items():
                if name not in service.secrets:  # nothing: no secret of a Swarm is empty, so this matches none
                    nothing = base64.b64encode(fingerprint(key, reference, SecretValue(b""))).decode("ascii")
                    prints.append(FingerprintReport(reference=reference, service=service.name, fingerprint=nothing))
        states = [task.report() for service in services for task in service.tasks if task.wanted]
        return DeploymentHolding(deployment_id=held.deployment_id, fingerprints=prints, services=states)

    def _deployed(self) -> Iterator[tuple[Entry, HeldDeployment]]:
        for entry in self.journal.entries():
            if entry.phase is Phase.RUNNING and not self.journal.is_locked(entry.project):
                held = self._kept(entry)
                if held is not None:
                    yield entry, held

    def _held(self, entry: Entry) -> str | None:
        held = self._kept(entry)
        return None if held is None else held.deployment_id

    def _kept(self, entry: Entry) -> HeldDeployment | None:
        files = ProjectFiles(self.root, entry.project)
        return read_held(held_stack(files) if entry.target == SWARM else files.held)


def report_forever(
    holdings: Holdings, open_session: Callable[[], Session], seconds: float, stopping: threading.Event
) -> None:
    """Every ``seconds``, give or take a fifth so that a fleet does not speak at once, until ``stopping``."""
    session = open_session()
    said = ""
    try:
        while not stopping.wait(seconds * random.uniform(0.8, 1.2)):  # noqa: S311 - spreads load, hides nothing
            try:
                _report(session, holdings.look())
                said = ""
            except OverseerError as error:
                if error.message != said:  # the same every minute would bury the rest of the log
                    log.warning("the server was not told what containers hold: %s", error.message)
                said = error.message
            except Exception as error:  # noqa: BLE001 - this thread goes on as long as the agent
                log.error("telling what containers hold failed unexpectedly: %s", type(error).__name__)
    finally:
        session.close()


def _report(session: Session, found: list[DeploymentHolding]) -> None:
    for start in range(0, len(found), _MOST_HOLDINGS):
        report = HoldingsReport(holdings=found[start : start + _MOST_HOLDINGS])
        answer = session.post("/api/agent/holdings", report, HoldingsAnswer)
        if answer.stale:
            log.info("%d deployments that run here are not current for the server", len(answer.stale))
