"""A stack of the Swarm that this node's engine manages: the commands that change it, and what its tasks are.

Guarantees: the filled model goes to standard input; only what carries the stack's label is touched; a service counts as well once
as many tasks as it wants run with its newest specification, and have done so for a moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec

from overseer.agent.compose_project import StepFailed, why
from overseer.agent.containers import Container
from overseer.agent.engine import Engine
from overseer.agent.injection.redaction import Redactor
from overseer.core.errors import NodeProblem
from overseer.core.secret_value import SecretValue
from overseer.wire.deployments import ServiceState

_LABEL: Final = "com.docker.stack.namespace"
_SECONDS: Final = 60.0
_DEPLOY_SECONDS: Final = 600.0
_REMOVE_SECONDS: Final = 120.0
_LOOK_SECONDS: Final = 0.5
#: A task that ends at once runs for a moment, too.
_STEADY_SECONDS: Final = 2.0
#: What `docker service inspect` says of a service that sets no `stop_grace_period`; its tasks have none then.
_DEFAULT_GRACE_NANOSECONDS: Final = 10_000_000_000
_MOVING: Final = frozenset({"new", "pending", "assigned", "accepted", "ready", "preparing", "starting"})
_GIVEN_UP: Final = frozenset({"paused", "rollback_started", "rollback_paused", "rollback_completed"})


@dataclass(frozen=True, slots=True)
class Task:
    """One task of a service. ``current``: made from the service's newest specification."""

    id: str
    service: str
    state: str
    wanted: bool
    current: bool
    container: str
    exit_code: int
    error: str

    def report(self) -> ServiceState:
        exit_code = self.exit_code if self.state in {"complete", "failed"} else None
        return ServiceState(
            service=self.service, container_id=self.container, state=self.state, health="", exit_code=exit_code
        )


@dataclass(frozen=True, slots=True)
class Service:
    """``needed``: how many tasks have to run, or (``job``) to have completed. ``given_up``: Swarm stopped its update.

    ``secrets``: the names of those that its tasks are given.
    """

    name: str
    needed: int
    job: bool
    updating: bool
    given_up: bool
    tasks: tuple[Task, ...]
    secrets: frozenset[str] = frozenset()

    @property
    def running(self) -> int:
        """How many tasks run, of whatever specification."""
        return sum(one.wanted and one.state == "running" for one in self.tasks)

    @property
    def is_well(self) -> bool:
        done = [one for one in self.tasks if one.current and one.state == ("complete" if self.job else "running")]
        return not self.updating and not self.given_up and len(done) >= self.needed


def require_manager(engine: Engine) -> None:
    """Raises :class:`NodeProblem` where this node's engine cannot change a Swarm."""
    said = engine.run([*engine.docker, "info", "--format", "{{json .Swarm.ControlAvailable}}"], seconds=_SECONDS)
    if said.code != 0:
        raise NodeProblem("the Docker engine does not answer")
    if said.stdout.strip() != b"true":
        raise NodeProblem(
            "this node's engine is not a manager of a Swarm: run `docker swarm init` there, deploy on the node of a "
            "manager, or deploy without --target swarm"
        )


def lock_note(engine: Engine) -> str:
    """What people should know about the managers' disks; nothing where the Swarm is locked."""
    field = "{{json .Swarm.Cluster.Spec.EncryptionConfig.AutoLockManagers}}"
    said = engine.run([*engine.docker, "info", "--format", field], seconds=_SECONDS)
    if said.code == 0 and said.stdout.strip() == b"true":
        return ""
    return (
        "this Swarm is not locked: its secrets lie encrypted on the managers' disks, with the key beside them; "
        "lock it with `docker swarm update --autolock=true`\n"
    )


@dataclass(frozen=True, slots=True)
class SwarmStack:
    """``lock`` is a descriptor that holds the project for as long as a command that changes it runs; who only looks has none."""

    engine: Engine
    name: str
    root: Path
    lock: int = -1
    sleep: Callable[[float], None] = time.sleep

    def deploy(self, model: SecretValue, redactor: Redactor) -> str:
        """Make it so; services that the model lacks go. Returns what Docker said; :class:`StepFailed` with that."""
        command = ["stack", "deploy", "--prune", "--resolve-image", "changed", "--compose-file", "-", self.name]
        done = self.engine.run(
            [*self.engine.docker, *command],
            seconds=_DEPLOY_SECONDS, stdin=model.reveal(), directory=self.root, hold=(self.lock,),
        )  # fmt: skip
        said = redactor.clean(done.stderr + done.stdout)
        if done.code != 0:
            raise StepFailed(why("docker stack deploy", done), said)
        return said

    def settle(self, seconds: float) -> list[Service]:
        """The services once all are well and stay so, one of them was given up by Swarm, or ``seconds`` are over."""
        deadline = time.monotonic() + seconds
        well_since: float | None = None
        while True:
            found = self.services()
            now = time.monotonic()
            if not all(one.is_well for one in found):
                well_since = None
            elif well_since is None:
                well_since = now
            steady = well_since is not None and now - well_since >= _STEADY_SECONDS
            if steady or now >= deadline or any(one.given_up for one in found):
                return found
            self.sleep(_LOOK_SECONDS)

    def services(self) -> list[Service]:
        """Every service of the stack with its tasks."""
        listed = self._ids("service", "ls")
        if not listed:
            return []
        described = self._inspect("service", listed)
        tasks = self._tasks([one["ID"] for one in described])
        nodes = len(self._ids("node", "ls", filtered=False))
        return [self._service(one, tasks.get(one["ID"], []), nodes) for one in described]

    def local_containers(self) -> list[Container]:
        """Running containers of the stack on this node: what can be looked into from here."""
        found = self._ids("container", "ls")
        return [self._container(one) for one in self._inspect("container", found)] if found else []

    def remove(self) -> str:
        """Services and networks go; volumes stay. :class:`StepFailed` where something is left."""
        done = self.engine.run(
            [*self.engine.docker, "stack", "rm", self.name], seconds=_SECONDS, directory=self.root, hold=(self.lock,)
        )
        said = Redactor([]).clean(done.stderr + done.stdout)
        if done.code != 0:
            raise StepFailed(why("docker stack rm", done), said)
        deadline = time.monotonic() + _REMOVE_SECONDS
        while self._ids("service", "ls") or self._ids("network", "ls") or self._ids("container", "ls"):
            if time.monotonic() >= deadline:
                raise StepFailed("the stack's tasks do not end", said)
            self.sleep(_LOOK_SECONDS)
        return said

    # -- reading --------------------------------------------------------------------------------------------------------------

    def _service(self, described: dict[str, Any], tasks: list[dict[str, Any]], nodes: int) -> Service:
        spec = described["Spec"]
        name = spec["Name"].removeprefix(f"{self.name}_")
        kind, mode = next(iter(spec["Mode"].items()))
        wanted = _wanted(spec["TaskTemplate"])
        round_of = (described.get("JobStatus") or {}).get("JobIteration")
        found = tuple(
            _task(name, one, _wanted(one["Spec"]) == wanted and one.get("JobIteration") == round_of) for one in tasks
        )
        if kind == "Replicated":
            needed = int(mode.get("Replicas", 1))
        elif kind == "ReplicatedJob":
            needed = int(mode.get("TotalCompletions", mode.get("MaxConcurrent", 1)))
        else:  # one for each node that its constraints allow: as many as Swarm wants, and at least one if there is a node
            needed = max(sum(1 for one in found if one.wanted), min(nodes, 1))
        condition = (spec["TaskTemplate"].get("RestartPolicy") or {}).get("Condition", "any")
        job = kind.endswith("Job") or (condition != "any" and any(one.current and one.state == "complete" for one in found))
        update = (described.get("UpdateStatus") or {}).get("State", "")
        given = (spec["TaskTemplate"].get("ContainerSpec") or {}).get("Secrets") or []
        secrets = frozenset(str(one.get("SecretName", "")) for one in given)
        return Service(name, needed, job, update == "updating", update in _GIVEN_UP, found, secrets)

    def _tasks(self, services: list[str]) -> dict[str, list[dict[str, Any]]]:
        listed = self.engine.run([*self.engine.docker, "service", "ps", "--quiet", "--no-trunc", *services], seconds=_SECONDS)
        ids = listed.stdout.decode("ascii", "replace").split()
        found: dict[str, list[dict[str, Any]]] = {}
        for one in self._inspect("task", ids) if ids else []:
            found.setdefault(one["ServiceID"], []).append(one)
        return found

    def _container(self, described: dict[str, Any]) -> Container:
        labels, state = described["Config"].get("Labels") or {}, described["State"]
        return Container(
            id=described["Id"],
            service=labels.get("com.docker.swarm.service.name", "").removeprefix(f"{self.name}_"),
            state=state["Status"],
            health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
            exit_code=int(state.get("ExitCode", 0)),
            pid=int(state.get("Pid", 0)),
            started_at=state.get("StartedAt", ""),
            job=False,
            environment=tuple(described["Config"].get("Env") or ()),
        )

    def _ids(self, kind: str, verb: str, *, filtered: bool = True) -> list[str]:
        chosen = ["--filter", f"label={_LABEL}={self.name}"] if filtered else []
        listed = self.engine.run([*self.engine.docker, kind, verb, "--quiet", *chosen], seconds=_SECONDS)
        if listed.code != 0:
            raise NodeProblem("the Swarm does not answer: has this node's engine stopped being a manager?")
        return listed.stdout.decode("ascii", "replace").split()

    def _inspect(self, kind: str, ids: Iterable[str]) -> list[dict[str, Any]]:
        """What is gone meanwhile is left out: ``inspect`` then fails, but prints the others."""
        done = self.engine.run([*self.engine.docker, "inspect", "--type", kind, *ids], seconds=_SECONDS)
        try:
            return msgspec.json.decode(done.stdout, type=list[dict[str, Any]])
        except msgspec.MsgspecError:
            raise NodeProblem("the Docker engine's description of a stack cannot be read") from None


def _task(service: str, described: Mapping[str, Any], current: bool) -> Task:
    status = described["Status"]
    container = status.get("ContainerStatus") or {}
    return Task(
        id=described["ID"],
        service=service,
        state=status["State"],
        wanted=described["DesiredState"] in {"running", "complete"},
        current=current,
        container=container.get("ContainerID", ""),
        exit_code=int(container.get("ExitCode", 0)),
        error=status.get("Err", ""),
    )


def _wanted(template: Mapping[str, Any]) -> Any:
    """What of a specification makes a task another one; what is empty, false or a default is as good as absent."""
    container = dict(template.get("ContainerSpec") or {})
    if container.get("StopGracePeriod") == _DEFAULT_GRACE_NANOSECONDS:
        del container["StopGracePeriod"]
    return _without_empty({"ContainerSpec": container, "ForceUpdate": template.get("ForceUpdate")})


def _without_empty(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: kept for key, value in node.items() if (kept := _without_empty(value))}
    if isinstance(node, list):
        return [_without_empty(one) for one in node]
    return node
