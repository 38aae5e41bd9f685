"""What the containers of this node hold now, looked at and told to the server now and then, so that drift shows.

Guarantees: fingerprints under each deployment's own key leave the node, nothing else; a project that is being changed is left
out; one look asks the engine two questions, however many projects there are. What cannot be looked at now is looked at next time.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overseer.agent import proof
from overseer.agent.containers import containers_by_project
from overseer.agent.engine import Engine
from overseer.agent.held_deployment import HeldDeployment, read_held
from overseer.agent.journal import Journal, Phase
from overseer.agent.project_files import ProjectFiles
from overseer.agent.session import Session
from overseer.core.errors import OverseerError
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import DeploymentHolding, HoldingsAnswer, HoldingsReport

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
        deployed = dict(self._deployed())
        if not deployed:
            return []
        found = containers_by_project(self.engine)
        holdings = []
        for project, held in deployed.items():
            containers = found.get(project, [])
            prints = proof.collect(self.engine, held.places, containers, HmacKey(held.fingerprint_key))
            # What was changed while it was looked at says nothing about either deployment.
            if not self.journal.is_locked(project) and self._held(project) == held.deployment_id:
                services = [one.report() for one in containers]
                holdings.append(DeploymentHolding(deployment_id=held.deployment_id, fingerprints=prints, services=services))
        return holdings

    def _deployed(self) -> Iterator[tuple[str, HeldDeployment]]:
        for entry in self.journal.entries():
            if entry.phase is Phase.RUNNING and not self.journal.is_locked(entry.project):
                held = read_held(ProjectFiles(self.root, entry.project).held)
                if held is not None:
                    yield entry.project, held

    def _held(self, project: str) -> str | None:
        held = read_held(ProjectFiles(self.root, project).held)
        return None if held is None else held.deployment_id


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
