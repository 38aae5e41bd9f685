"""One deployment on this node, from work to report.

Guarantees: everything that can be wrong with a bundle or a value is found before a file or a container changes; the report is
about what the containers are, not about what a command said; a failed deployment leaves what ran before as it was, as far as this
node can (the report says how far), and nothing where nothing ran. What is interrupted is found in the journal and done again or
wiped.

Volumes are kept, also by ``undeploy``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from overseer.agent import proof
from overseer.agent.compose_project import ComposeProject, StepFailed, why
from overseer.agent.containers import containers_of, restart
from overseer.agent.engine import Engine
from overseer.agent.held_deployment import FORMAT, HeldDeployment, read_held, write_held
from overseer.agent.identity import Identity
from overseer.agent.injection.redaction import Redactor
from overseer.agent.journal import Entry, Journal, Phase, check_project
from overseer.agent.preparation import Preparation, Prepared
from overseer.agent.project_files import ProjectFiles
from overseer.agent.project_update import ProjectUpdate
from overseer.agent.release import Server, fetch_payload
from overseer.agent.swarm_deployments import SwarmDeployments, concerns
from overseer.compose.swarm import COMPOSE
from overseer.core.errors import DecryptionFailed, Denied, InvalidInput, NodeProblem, NotReady, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import DeploymentReport, ReleasePayload, Work

log = logging.getLogger("overseer.agent")
_LARGEST_WAIT: Final = 3600
_RELEASE_PAUSES: Final = (0.2, 1.0, 3.0, 8.0)


@dataclass(slots=True)
class Deployer:
    """Executes work on this node; one per agent, used by several threads, each with a project of its own.

    ``identity_again`` reads the identity anew where the server sealed to other keys: the node's keys may have been rotated.
    """

    engine: Engine
    root: Path
    identity: Identity
    journal: Journal
    secrets_root: str = "/etc/secrets"
    apps: frozenset[str] = frozenset()
    protected: tuple[Path, ...] = field(default=())
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    identity_again: Callable[[], Identity | None] = lambda: None

    def execute(self, work: Work, server: Server) -> DeploymentReport | None:
        """Do ``work`` and return what to report, or ``None`` where the agent's stop interrupted it: it will be done again."""
        try:
            self._check(work)
            with self.hold(work.project) as compose:
                if concerns(self.journal, work):
                    return self._stacks(server, compose.lock).execute(work)
                if work.action == "deploy":
                    return self._deploy(work, server, compose)
                if work.action == "undeploy":
                    return self._undeploy(work, compose)
                raise InvalidInput("the server asks for an action that this agent does not know: upgrade it")
        except (OverseerError, StepFailed) as error:
            if self.engine.interrupted:
                return None
            output = error.output if isinstance(error, StepFailed) else ""
            return DeploymentReport(state="failed", error=described(error), output=output)

    def lost(self) -> list[str]:
        """Deployments that run here and whose files memory has lost."""
        return [
            entry.running_id
            for entry in self.journal.entries()
            if entry.running_id and is_lost(entry, ProjectFiles(self.root, entry.project))
        ]

    def refill(self, work: Work, server: Server) -> bool:
        """Bring the files of the deployment that runs back, after a restart of the machine, and start what could not start.

        False where that is not needed any more. Raises :class:`OverseerError` and :class:`StepFailed`; it can be tried again.
        """
        self._check(work)
        with self.hold(work.project) as compose:
            entry, files = self.journal.find(work.project), ProjectFiles(self.root, work.project)
            if not is_lost(entry, files) or entry is None or entry.running_id != work.deployment_id:
                return False
            payload = self.fetch(server, work.deployment_id)
            redactor = Redactor([SecretValue(one.value) for one in payload.values])
            prepared = self._prepare(work.project, files, payload, redactor)
            files.publish(prepared.directories(), prepared.shipped).commit()
            self._start(compose, prepared, redactor, work.wait_timeout)
            write_held(files.held, _held(work.deployment_id, payload, prepared))
            return True

    @contextmanager
    def hold(self, project: str) -> Iterator[ComposeProject]:
        """The project, locked for as long as this lasts; waits for whoever has it."""
        with self.journal.lock(project) as lock:
            yield ComposeProject(self.engine, project, ProjectFiles(self.root, project).bundle, self.root, lock)

    def fetch(self, server: Server, deployment_id: str) -> ReleasePayload:
        """The payload. A server that is away is asked again for some seconds, as another replica may answer: a release may be
        repeated, and each one is audited."""
        for pause in _RELEASE_PAUSES:
            try:
                return self._fetch(server, deployment_id)
            except NotReady:
                if self.engine.interrupted:
                    raise
            self.sleep(pause)
        return self._fetch(server, deployment_id)

    def _fetch(self, server: Server, deployment_id: str) -> ReleasePayload:
        """With the keys as they are on disk now where those in memory do not open it."""
        try:
            return fetch_payload(server, self.identity, deployment_id, self.clock)
        except DecryptionFailed:
            again = self.identity_again()
            if again is None or again.keys.public == self.identity.keys.public:
                raise
            self.identity = again
            return fetch_payload(server, self.identity, deployment_id, self.clock)

    def _stacks(self, server: Server, lock: int) -> SwarmDeployments:
        fetch = partial(self.fetch, server)
        return SwarmDeployments(
            self.engine, self.root, self.journal, self.secrets_root, self.protected, fetch, lock, self.sleep
        )

    def _check(self, work: Work) -> None:
        check_project(work.project)
        if self.apps and work.app not in self.apps:
            raise Denied(f"this node does not take app {work.app}: its own OVERSEER_AGENT_APPS does not list it")
        if not 0 <= work.wait_timeout <= _LARGEST_WAIT:
            raise InvalidInput("wait_timeout is out of range")

    # -- deploy ---------------------------------------------------------------------------------------------------------------

    def _deploy(self, work: Work, server: Server, compose: ComposeProject) -> DeploymentReport:
        files = ProjectFiles(self.root, work.project)
        redactor = Redactor([])
        said = ""
        try:
            payload = self.fetch(server, work.deployment_id)
            former = read_held(files.held)
            if former is not None and former.deployment_id == work.deployment_id:
                files.decide()  # it went well before the agent was killed: there is no way back from it to what was before
            known = [one.value for one in payload.values] + (former.values if former else [])
            redactor = Redactor([SecretValue(one) for one in known])
            prepared = self._prepare(work.project, files, payload, redactor)
            update = ProjectUpdate(
                compose, files, prepared, former, redactor, work.wait_timeout, again=work.attempt > 1, sleep=self.sleep
            )
            return self._apply(work, update, payload)
        except (OverseerError, StepFailed) as error:
            if self.engine.interrupted:
                raise
            said = error.output if isinstance(error, StepFailed) else said
            self._conclude(files, compose)
            return self._failure(work, redactor.clean(described(error)), said)
        except Exception as error:  # noqa: BLE001 - whatever it is: no plaintext and no undecided journal may stay
            if self.engine.interrupted:
                raise NodeProblem("the agent is stopping") from None
            log.error("deployment %s failed unexpectedly: %s", work.deployment_id, type(error).__name__)
            self._conclude(files, compose)
            return self._failure(work, described(error), said)

    def _prepare(self, project: str, files: ProjectFiles, payload: ReleasePayload, redactor: Redactor) -> Prepared:
        files.make()
        preparation = Preparation(self.engine, project, files, self.secrets_root, (self.root, *self.protected))
        return preparation.prepare(payload, redactor)

    def _apply(self, work: Work, update: ProjectUpdate, payload: ReleasePayload) -> DeploymentReport:
        prepared, key = update.prepared, HmacKey(payload.fingerprint_key)
        self._enter(work, Phase.APPLYING, prepared)
        try:
            found = update.apply()
            held = _held(work.deployment_id, payload, prepared)
            write_held(update.files.held, held)
        except Exception as error:  # noqa: BLE001 - whatever it is: the way back is gone before anything else is
            if self.engine.interrupted:  # all is done again, by this agent's next life
                raise NodeProblem("the agent is stopping") from None
            said = update.output + (error.output if isinstance(error, StepFailed) else "")
            outcome = update.revert() if self._runs(work.project) else ""
            if self.engine.interrupted:
                raise NodeProblem("the agent is stopping") from None
            message = f"the agent's memory is full: {error.strerror}" if isinstance(error, OSError) else described(error)
            raise StepFailed(f"{message}\n{outcome}".strip(), update.redactor.clean(said)) from None
        try:
            update.keep()
        except OSError as error:  # it runs; what is left over goes with the next deployment
            log.warning("project %s: former files could not be removed: %s", work.project, error.strerror)
        self._enter(work, Phase.RUNNING, prepared)
        return DeploymentReport(
            state="succeeded",
            output=update.redactor.clean(prepared.warnings + update.output),
            services=[one.report() for one in found],
            fingerprints=proof.collect(self.engine, held.places, found, key),
        )

    def _runs(self, project: str) -> bool:
        """False where no deployment of the project ever succeeded: there is nothing to go back to."""
        entry = self.journal.find(project)
        return entry is not None and entry.running_id is not None

    def _enter(self, work: Work, phase: Phase, prepared: Prepared) -> None:
        """Into the journal."""
        former = self.journal.find(work.project)
        entry = Entry(
            project=work.project,
            app=work.app,
            environment=work.environment,
            deployment_id=work.deployment_id,
            phase=phase,
            running_id=work.deployment_id if phase is Phase.RUNNING else former.running_id if former else None,
            files=bool(prepared.files or prepared.shipped),
        )
        self.journal.write(entry)

    def _conclude(self, files: ProjectFiles, compose: ComposeProject) -> None:
        """A failed deployment becomes a true state: the former deployment, or nothing at all where none ever succeeded."""
        entry = self.journal.find(compose.name)
        if entry is not None and entry.running_id is not None:
            self.journal.write(msgspec.structs.replace(entry, phase=Phase.RUNNING, deployment_id=entry.running_id))
            return
        if entry is not None and compose.down().code != 0:
            log.error("project %s: the failed deployment could not be taken down; its files stay until it can", compose.name)
            return
        files.wipe()
        self.journal.remove(compose.name)

    def _failure(self, work: Work, error: str, output: str) -> DeploymentReport:
        try:
            services = [one.report() for one in containers_of(self.engine, work.project)]
        except NodeProblem:
            services = []
        return DeploymentReport(state="failed", error=error, output=output, services=services)

    # -- after a restart of the machine ---------------------------------------------------------------------------------------

    def _start(self, compose: ComposeProject, prepared: Prepared, redactor: Redactor, wait: int) -> None:
        """What runs holds directories that are gone, so it is restarted; what Docker would start by itself is started."""
        ours = {planned.service for planned, _ in prepared.files}
        found = containers_of(self.engine, compose.name)
        stale = [one.id for one in found if one.state in {"running", "restarting"} and one.service in ours]
        down = sorted({one.service for one in found if one.id not in stale and one.starts_itself and one.state != "running"})
        if stale and not restart(self.engine, stale):
            raise StepFailed("containers that hold files from before could not be restarted", "")
        if down:
            compose.up(prepared.text, redactor, wait, down)

    # -- undeploy -------------------------------------------------------------------------------------------------------------

    def _undeploy(self, work: Work, compose: ComposeProject) -> DeploymentReport:
        outcome = compose.down()
        said = Redactor([]).clean(outcome.stderr)
        left = containers_of(self.engine, work.project)
        if outcome.code != 0 or left:
            if self.engine.interrupted:
                raise NodeProblem("the agent is stopping")
            reason = why("docker compose down", outcome) if outcome.code else "containers are left"
            return DeploymentReport(state="failed", error=reason, output=said, services=[one.report() for one in left])
        ProjectFiles(self.root, work.project).wipe()
        self.journal.remove(work.project)
        return DeploymentReport(state="succeeded", output=said)


def is_lost(entry: Entry | None, files: ProjectFiles) -> bool:
    """True where a deployment runs and memory has lost what belongs to it: the machine was restarted."""
    return entry is not None and entry.phase is Phase.RUNNING and entry.target == COMPOSE and not files.held.is_file()


def described(error: Exception) -> str:
    """An error for a report: its message, and every problem on a line of its own."""
    if isinstance(error, StepFailed):
        return str(error)
    if not isinstance(error, OverseerError):  # its own words could hold a value
        return f"the agent failed unexpectedly: {type(error).__name__}"
    return "\n".join([error.message, *map(str, error.problems)])


def _held(deployment_id: str, payload: ReleasePayload, prepared: Prepared) -> HeldDeployment:
    return HeldDeployment(
        format=FORMAT,
        deployment_id=deployment_id,
        model=prepared.text.reveal(),
        values=[one.value for one in payload.values],
        shipped=dict(prepared.shipped),
        directories=list(prepared.directories()),
        reloads=dict(prepared.reloads),
        fingerprint_key=payload.fingerprint_key,
        places=proof.places(prepared, HmacKey(payload.fingerprint_key)),
    )
