"""One deployment to the Swarm that this node's engine manages, from work to report.

The way: the bundle is read as for plain Compose; each secret becomes one of the Swarm whose name tells its version; the stack is
deployed with these names, which makes Swarm replace, service by service as the file says, the tasks whose secrets have others;
once all tasks are well, secrets that nothing uses any more are removed.

Guarantees: what can be found wrong is found before a secret or a service changes; a failed deployment is followed by the former
model, or by nothing where none ever succeeded; no value is in a file, an argument or the environment of a command of this node.
A project of plain Compose is never turned into a stack under way, nor the other way round.

What it will not do: look into containers of other nodes (their references are reported as not looked at), keep a value that
stands in ``environment:`` out of the Raft log.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from overseer.agent import proof
from overseer.agent.compose_project import StepFailed
from overseer.agent.engine import Engine
from overseer.agent.held_deployment import FORMAT, HeldDeployment, HeldPlace, read_held, write_held
from overseer.agent.injection.docker_secrets import SwarmSecret, create, prune
from overseer.agent.injection.redaction import Redactor
from overseer.agent.journal import Entry, Journal, Phase
from overseer.agent.preparation import Preparation, Prepared
from overseer.agent.project_files import ProjectFiles
from overseer.agent.swarm_model import stack_model
from overseer.agent.swarm_stack import Service, SwarmStack, lock_note, require_manager
from overseer.compose.grammar import Reference
from overseer.compose.injection import Injection
from overseer.compose.swarm import SWARM
from overseer.core.errors import Conflict, NodeProblem, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import DeploymentReport, ReleasePayload, Work

_HELD: Final = "held-stack"


def held_stack(files: ProjectFiles) -> Path:
    """What is kept of the stack that runs; beside it nothing of a stack is in memory."""
    return files.project_directory / _HELD


def concerns(journal: Journal, work: Work) -> bool:
    """True where ``work`` is about a stack. Raises :class:`Conflict` where the project runs here in the other way."""
    entry = journal.find(work.project)
    if work.action != "deploy":
        return entry is not None and entry.target == SWARM
    if entry is not None and entry.running_id is not None and entry.target != work.target:
        runs, asked = (f"with --target {one}" for one in (entry.target, work.target))
        raise Conflict(f"this project runs {runs} on this node: undeploy it before it is deployed {asked}")
    return work.target == SWARM


@dataclass(frozen=True, slots=True)
class SwarmDeployments:
    """Executes work on stacks; ``fetch`` asks the server for a deployment's payload, ``lock`` holds the project."""

    engine: Engine
    root: Path
    journal: Journal
    secrets_root: str
    protected: tuple[Path, ...]
    fetch: Callable[[str], ReleasePayload]
    lock: int
    sleep: Callable[[float], None] = time.sleep

    def execute(self, work: Work) -> DeploymentReport:
        """Do it. Raises :class:`OverseerError` and :class:`StepFailed`, whose output is redacted, for a failed deployment."""
        require_manager(self.engine)
        stack = SwarmStack(self.engine, work.project, self.root, self.lock, self.sleep)
        files = ProjectFiles(self.root, work.project)
        if work.action != "deploy":
            output = self._take_down(stack, files)
            return DeploymentReport(state="succeeded", output=output)
        payload = self.fetch(work.deployment_id)
        former = read_held(held_stack(files))
        known = [one.value for one in payload.values] + (former.values if former else [])
        redactor = Redactor([SecretValue(one) for one in known])
        files.make()
        secrets = {one.reference: _swarm_secret(work, one.name, one.version, one.secret_id) for one in payload.values}
        try:
            prepared = self._prepare(work.project, files, payload, redactor, secrets)
        except OverseerError:
            if self.journal.find(work.project) is None:
                files.wipe()
            raise
        return self._apply(work, stack, files, payload, prepared, former, redactor, secrets)

    def _prepare(
        self, project: str, files: ProjectFiles, payload: ReleasePayload, redactor: Redactor, secrets: dict[str, SwarmSecret]
    ) -> Prepared:
        def name_of(reference: Reference) -> str:
            found = secrets.get(str(reference))
            return found.name if found is not None else "missing"  # has no value either: `deliver` refuses it with its place

        def reshape(injection: Injection) -> Injection:
            return stack_model(injection, name_of, str(files.services), str(files.bundle))

        preparation = Preparation(
            self.engine, project, files, self.secrets_root, (self.root, *self.protected), reshape=reshape
        )
        return preparation.prepare(payload, redactor)

    def _apply(
        self,
        work: Work,
        stack: SwarmStack,
        files: ProjectFiles,
        payload: ReleasePayload,
        prepared: Prepared,
        former: HeldDeployment | None,
        redactor: Redactor,
        secrets: dict[str, SwarmSecret],
    ) -> DeploymentReport:
        used = {secrets[str(one.reference)]: held for one, held in prepared.files}
        self._enter(work, Phase.APPLYING)
        output = ""
        try:
            create(self.engine, used)
            output = stack.deploy(prepared.text, redactor)
            found = stack.settle(float(work.wait_timeout))
            if ill := [one for one in found if not one.is_well]:
                raise StepFailed(f"not well: {', '.join(one.name for one in ill)}", redactor.clean(_why(ill)))
        except (OverseerError, StepFailed) as error:
            if self.engine.interrupted:  # all is done again, by this agent's next life
                raise NodeProblem("the agent is stopping") from None
            said = output + (error.output if isinstance(error, StepFailed) else "")
            outcome = self._go_back(work, stack, files, former, redactor)
            message = error.message if isinstance(error, OverseerError) else str(error)
            raise StepFailed(f"{message}\n{outcome}", said) from None
        key = HmacKey(payload.fingerprint_key)
        places = proof.places(prepared, key)
        write_held(held_stack(files), _held(work.deployment_id, payload, prepared, places, secrets))
        self._enter(work, Phase.RUNNING)
        prune(self.engine, work.project, {one.name for one in used})
        return DeploymentReport(
            state="succeeded",
            output=redactor.clean(prepared.warnings + output + lock_note(self.engine)),
            services=[task.report() for service in found for task in service.tasks if task.wanted],
            fingerprints=proof.collect(self.engine, places, stack.local_containers(), key),
        )

    def _go_back(
        self, work: Work, stack: SwarmStack, files: ProjectFiles, former: HeldDeployment | None, redactor: Redactor
    ) -> str:
        """After a failure; returns in a sentence what is so now."""
        entry = self.journal.find(work.project)
        try:
            if entry is None or entry.running_id is None:
                self._take_down(stack, files)
                return "nothing is left of it"
            if former is None:
                return "what ran before is not known any more (the machine was restarted since): the stack is left as it is"
            stack.deploy(former.text, redactor)
            self.journal.write(msgspec.structs.replace(entry, phase=Phase.RUNNING, deployment_id=entry.running_id))
            found = stack.settle(float(work.wait_timeout))
            prune(self.engine, work.project, former.directories)
        except StepFailed as failed:
            return f"the former deployment could not be restored: {failed}"
        except OverseerError as error:
            return f"the former deployment could not be restored: {error.message}"
        ill = [one.name for one in found if not one.is_well]
        return f"the former deployment is back, but these are not well: {', '.join(ill)}" if ill else "the former one is back"

    def _take_down(self, stack: SwarmStack, files: ProjectFiles) -> str:
        output = stack.remove()
        if left := prune(self.engine, stack.name):
            raise StepFailed(f"the Swarm still uses secrets of this project: {', '.join(left)}", output)
        files.wipe()
        self.journal.remove(stack.name)
        return output

    def _enter(self, work: Work, phase: Phase) -> None:
        former = self.journal.find(work.project)
        self.journal.write(
            Entry(
                project=work.project,
                app=work.app,
                environment=work.environment,
                deployment_id=work.deployment_id,
                phase=phase,
                running_id=work.deployment_id if phase is Phase.RUNNING else former.running_id if former else None,
                target=SWARM,
            )
        )


def _swarm_secret(work: Work, name: str, version: int, secret_id: str) -> SwarmSecret:
    return SwarmSecret(work.project, work.app, work.environment, name, version, secret_id)


def _why(ill: list[Service]) -> str:
    """What Swarm says about the tasks of services that are not well."""
    lines = [
        f"{service.name}: {task.state}{f': {task.error}' if task.error else ''}"
        for service in ill
        for task in service.tasks
        if task.current
    ]
    return "\n".join(dict.fromkeys(lines)) + "\n"


def _held(
    deployment_id: str,
    payload: ReleasePayload,
    prepared: Prepared,
    places: list[HeldPlace],
    secrets: dict[str, SwarmSecret],
) -> HeldDeployment:
    """``directories`` holds the names of the secrets that the stack uses."""
    granted: dict[str, dict[str, str]] = {}
    for one, _ in prepared.files:
        granted.setdefault(one.service, {})[str(one.reference)] = secrets[str(one.reference)].name
    names = [str(one["name"]) for one in (prepared.injection.model.get("secrets") or {}).values()]
    return HeldDeployment(
        format=FORMAT,
        deployment_id=deployment_id,
        model=prepared.text.reveal(),
        values=[one.value for one in payload.values],
        shipped={},
        directories=names,
        reloads={},
        fingerprint_key=payload.fingerprint_key,
        places=places,
        granted=granted,
    )
