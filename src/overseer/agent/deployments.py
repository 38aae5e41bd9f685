"""One deployment on this node, from work to report.

Guarantees: everything that can be wrong with a bundle or a value is found before a file or a container changes; the report is
about what the containers are, not about what a command said; a failed deployment leaves no file that nobody uses, and a container
that it did not replace keeps the files it had. What is interrupted is found in the journal and done again or wiped.

Volumes are kept, also by ``undeploy``. It does not bring back containers that ``up`` replaced before it failed: that needs the
values of the former deployment, which this node does not keep.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from overseer.agent import proof
from overseer.agent.containers import Container, containers_of, restart, settle
from overseer.agent.engine import Engine, Outcome
from overseer.agent.identity import Identity
from overseer.agent.injection.redaction import Redactor
from overseer.agent.journal import Entry, Journal, Phase, check_project
from overseer.agent.preparation import Preparation, Prepared
from overseer.agent.project_files import ProjectFiles, Publication
from overseer.agent.release import Server, fetch_payload
from overseer.compose.injection import SecretFile
from overseer.core.errors import Denied, InvalidInput, NodeProblem, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import DeploymentReport, Work

log = logging.getLogger("overseer.agent")
#: Pulling images and creating things is outside of Compose's own wait.
_UP_EXTRA_SECONDS: Final = 1800.0
_DOWN_SECONDS: Final = 300.0
#: A reader may be between the link and the file of the former set: it has this long.
_FORMER_SET_SECONDS: Final = 1.0
_LARGEST_WAIT: Final = 3600
#: What ``up --wait`` says when a container ended with 0, which a job does.
_ENDED_WELL: Final = re.compile(rb"container \S+ exited \(0\)")
_LOG_LINES: Final = "20"


class _Failed(Exception):
    """The deployment failed after it began to change things; ``output`` is redacted already."""

    def __init__(self, message: str, output: str) -> None:
        super().__init__(message)
        self.output = output


@dataclass(slots=True)
class Deployer:
    """Executes work on this node; one per agent, used by several threads, each with a project of its own."""

    engine: Engine
    root: Path
    identity: Identity
    journal: Journal
    secrets_root: str = "/etc/secrets"
    apps: frozenset[str] = frozenset()
    protected: tuple[Path, ...] = field(default=())
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    sleep: Callable[[float], None] = time.sleep
    _held: threading.local = field(default_factory=threading.local, repr=False)  # the project's lock of each thread

    def execute(self, work: Work, server: Server) -> DeploymentReport | None:
        """Do ``work`` and return what to report, or ``None`` where the agent's stop interrupted it: it will be done again."""
        try:
            check_project(work.project)
            if self.apps and work.app not in self.apps:
                raise Denied(f"this node does not take app {work.app}: its own OVERSEER_AGENT_APPS does not list it")
            if not 0 <= work.wait_timeout <= _LARGEST_WAIT:
                raise InvalidInput("wait_timeout is out of range")
            with self.journal.lock(work.project) as self._held.lock:
                if work.action == "deploy":
                    return self._deploy(work, server)
                if work.action == "undeploy":
                    return self._undeploy(work)
                raise InvalidInput("the server asks for an action that this agent does not know: upgrade it")
        except (OverseerError, _Failed) as error:
            if self.engine.interrupted:
                return None
            return DeploymentReport(state="failed", error=described(error))

    # -- deploy ---------------------------------------------------------------------------------------------------------------

    def _deploy(self, work: Work, server: Server) -> DeploymentReport:
        files = ProjectFiles(self.root, work.project)
        redactor = Redactor([])
        try:
            payload = fetch_payload(server, self.identity, work.deployment_id, self.clock)
            redactor = Redactor([SecretValue(one.value) for one in payload.values])
            files.make()
            preparation = Preparation(self.engine, work.project, files, self.secrets_root, (self.root, *self.protected))
            prepared = preparation.prepare(payload, redactor)
            return self._apply(work, files, prepared, HmacKey(payload.fingerprint_key), redactor)
        except (OverseerError, _Failed) as error:
            if self.engine.interrupted:
                raise
            self._conclude(files, work.project)
            said = error.output if isinstance(error, _Failed) else ""
            return self._failure(work, redactor.clean(described(error)), said)

    def _apply(
        self, work: Work, files: ProjectFiles, prepared: Prepared, key: HmacKey, redactor: Redactor
    ) -> DeploymentReport:
        before = containers_of(self.engine, work.project)
        self._enter(work, Phase.APPLYING, prepared)
        publication = files.publish(prepared.directories(), prepared.shipped)
        published = time.monotonic()
        try:
            output = self._up(work, prepared, redactor)
            found = self._verified(work, prepared, before, publication, redactor, output)
        except (OverseerError, _Failed):
            if not self.engine.interrupted:  # else all is done again, by this agent's next life
                self._retreat(work.project, prepared, publication, before)
            raise
        self.sleep(max(0.0, _FORMER_SET_SECONDS - (time.monotonic() - published)))
        publication.commit()
        files.forget_others(prepared.directories(), prepared.shipped)
        self._enter(work, Phase.RUNNING, prepared)
        return DeploymentReport(
            state="succeeded",
            output=redactor.clean(prepared.warnings + output),
            services=[one.report() for one in found],
            fingerprints=proof.collect(self.engine, prepared, found, key),
        )

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

    def _up(self, work: Work, prepared: Prepared, redactor: Redactor) -> str:
        command = [
            *self._compose(work.project, ProjectFiles(self.root, work.project).bundle),
            "--file", "-", "up", "--detach", "--wait", "--wait-timeout", str(work.wait_timeout),
            "--remove-orphans", "--quiet-pull",
        ]  # fmt: skip
        # A Compose that outlives a killed agent keeps the lock: the next agent waits for its end and does not run beside it.
        outcome = self.engine.run(
            command,
            seconds=work.wait_timeout + _UP_EXTRA_SECONDS,
            stdin=prepared.text.reveal(),
            directory=self.root,
            hold=(self._held.lock,),
        )
        output = redactor.clean(outcome.stderr + outcome.stdout)
        if outcome.code != 0 and not _ENDED_WELL.search(outcome.stderr):
            raise _Failed(_why("docker compose up", outcome), output + self._logs(work.project, redactor))
        return output

    def _verified(
        self, work: Work, prepared: Prepared, before: list[Container], publication: Publication, redactor: Redactor, output: str
    ) -> list[Container]:
        """The containers, once they are well; files that only a restart shows are shown."""
        stale = _stale(prepared, publication, before, containers_of(self.engine, work.project))
        if stale and not restart(self.engine, stale):
            raise _Failed("containers whose files changed could not be restarted", output)
        found = settle(self.engine, work.project, float(work.wait_timeout), self.sleep)
        ill = sorted({one.service for one in found if not one.is_well} | _absent(prepared, found))
        if ill:
            raise _Failed(f"not healthy: {', '.join(ill)}", output + self._logs(work.project, redactor))
        return found

    def _retreat(self, project: str, prepared: Prepared, publication: Publication, before: list[Container]) -> None:
        """After a failed ``up``: a service whose containers are still the old ones gets its old files back."""
        old = {one.id for one in before}
        replaced = {one.service for one in containers_of(self.engine, project) if one.id not in old}
        publication.commit({_segment(planned) for planned, _ in prepared.files if planned.service in replaced})
        if replaced:
            publication.replaced.clear()  # the new containers were made with the new files of the bundle
        publication.undo()

    def _conclude(self, files: ProjectFiles, project: str) -> None:
        """A failed deployment becomes a true state: the former deployment, or nothing at all where none ever succeeded."""
        entry = self.journal.find(project)
        if entry is not None and entry.running_id is not None:
            self.journal.write(msgspec.structs.replace(entry, phase=Phase.RUNNING, deployment_id=entry.running_id))
            return
        if entry is not None and self._down(project).code != 0:
            log.error("project %s: the failed deployment could not be taken down; its files stay until it can", project)
            return
        files.wipe()
        self.journal.remove(project)

    def _failure(self, work: Work, error: str, output: str) -> DeploymentReport:
        try:
            services = [one.report() for one in containers_of(self.engine, work.project)]
        except NodeProblem:
            services = []
        return DeploymentReport(state="failed", error=error, output=output, services=services)

    # -- undeploy -------------------------------------------------------------------------------------------------------------

    def _undeploy(self, work: Work) -> DeploymentReport:
        outcome = self._down(work.project)
        said = Redactor([]).clean(outcome.stderr)
        left = containers_of(self.engine, work.project)
        if outcome.code != 0 or left:
            if self.engine.interrupted:
                raise NodeProblem("the agent is stopping")
            why = _why("docker compose down", outcome) if outcome.code else "containers are left"
            return DeploymentReport(state="failed", error=why, output=said, services=[one.report() for one in left])
        ProjectFiles(self.root, work.project).wipe()
        self.journal.remove(work.project)
        return DeploymentReport(state="succeeded", output=said)

    def _down(self, project: str) -> Outcome:
        """By the project's name alone: Compose finds containers and networks by its labels. Volumes stay."""
        command = [*self._compose(project, self.root), "down", "--remove-orphans"]
        return self.engine.run(command, seconds=_DOWN_SECONDS, directory=self.root, hold=(self._held.lock,))

    # -- Compose --------------------------------------------------------------------------------------------------------------

    def _compose(self, project: str, directory: Path) -> list[str]:
        return [
            *self.engine.compose, "--ansi", "never", "--progress", "plain",
            "--project-directory", str(directory), "--project-name", project,
        ]  # fmt: skip

    def _logs(self, project: str, redactor: Redactor) -> str:
        """The end of what the containers said: why they are not well. It may hold values, like any log."""
        command = [*self._compose(project, self.root), "logs", "--no-color", "--tail", _LOG_LINES]
        outcome = self.engine.run(command, seconds=60.0, directory=self.root)
        return "\n" + redactor.clean(outcome.stdout) if outcome.stdout else ""


def described(error: Exception) -> str:
    """An error for a report: its message, and every problem on a line of its own."""
    if not isinstance(error, OverseerError):
        return str(error)
    return "\n".join([error.message, *map(str, error.problems)])


def _why(command: str, outcome: Outcome) -> str:
    return f"{command} did not end in time" if outcome.timed_out else f"{command} failed with exit code {outcome.code}"


def _segment(planned: SecretFile) -> str:
    """The service's directory below the project's services."""
    return planned.directory.partition("/")[0]


def _stale(prepared: Prepared, publication: Publication, before: list[Container], now: list[Container]) -> list[str]:
    """Running containers that ``up`` kept and that mount single files with a new content: they hold the old until a restart."""
    services = {
        planned.service
        for planned, _ in prepared.files
        if planned.mount == "single_file"
        and f"{planned.directory}/{planned.name}" in publication.changed.get(_segment(planned), set())
    }
    old = {(one.id, one.started_at) for one in before}
    return [one.id for one in now if one.service in services and (one.id, one.started_at) in old and one.state == "running"]


def _absent(prepared: Prepared, found: list[Container]) -> set[str]:
    """Services that should have a container and have none."""
    wanted = {
        name
        for name, one in (prepared.injection.model.get("services") or {}).items()
        if one.get("scale", (one.get("deploy") or {}).get("replicas", 1)) != 0 and "provider" not in one
    }
    return wanted - {one.service for one in found}
