"""The containers of a project as the engine reports them, found by Compose's labels, never by name.

Guarantee: nothing of a container's configuration shows in a repr; only states leave this node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from overseer.agent.engine import Engine, Outcome
from overseer.core.errors import NodeProblem
from overseer.wire.deployments import ServiceState

_PROJECT_LABEL: Final = "com.docker.compose.project"
_SERVICE_LABEL: Final = "com.docker.compose.service"
_ONE_OFF_LABEL: Final = "com.docker.compose.oneoff"
_HASH_LABEL: Final = "com.docker.compose.config-hash"
_SECONDS: Final = 60.0
_UNSETTLED: Final = frozenset({"created", "restarting"})


@dataclass(frozen=True, slots=True)
class Container:
    """One container; ``environment`` is the configured one; ``pid`` is 0 where it does not run; ``job``: it is not restarted.

    ``model_hash`` is Compose's digest of the service that the container was made from; ``probed_at`` is when the last health
    check that has ended began, and ``probe_passed`` what it said.
    """

    id: str
    service: str
    state: str
    health: str
    exit_code: int
    pid: int
    started_at: str
    job: bool
    environment: tuple[str, ...] = field(repr=False)
    model_hash: str = field(default="", repr=False)
    probed_at: datetime | None = None
    probe_passed: bool = False
    starts_itself: bool = False

    @property
    def is_well(self) -> bool:
        """Runs and is not unhealthy, or has ended with 0 and was not meant to be restarted."""
        if self.state == "running":
            return self.health in {"", "healthy"}
        return self.state == "exited" and self.exit_code == 0 and self.job

    @property
    def is_settled(self) -> bool:
        """False while waiting may still change :attr:`is_well`."""
        return not (self.state in _UNSETTLED or (self.state == "running" and self.health == "starting"))

    def report(self) -> ServiceState:
        exit_code = self.exit_code if self.state in {"exited", "dead"} else None
        return ServiceState(
            service=self.service, container_id=self.id, state=self.state, health=self.health, exit_code=exit_code
        )


def containers_of(engine: Engine, project: str) -> list[Container]:
    """All containers of the services of ``project``, also ended ones. :class:`NodeProblem`: the engine does not answer."""
    return containers_by_project(engine, project).get(project, [])


def containers_by_project(engine: Engine, project: str | None = None) -> dict[str, list[Container]]:
    """The containers of one project, or of every project of the engine, with two questions to it in all."""
    chosen = ["--filter", f"label={_PROJECT_LABEL}={project}" if project else f"label={_PROJECT_LABEL}"]
    listed = engine.run([*engine.docker, "ps", "--all", "--quiet", "--no-trunc", *chosen], seconds=_SECONDS)
    if listed.code != 0:
        raise NodeProblem("the Docker engine does not answer")
    ids = listed.stdout.decode("ascii", "replace").split()
    if not ids:
        return {}
    # A container may go between the two commands: inspect then fails, but prints those that are left.
    inspected = engine.run([*engine.docker, "inspect", "--type", "container", *ids], seconds=_SECONDS)
    try:
        found: dict[str, list[Container]] = {}
        for described in msgspec.json.decode(inspected.stdout):
            container = _container(described)
            if container is not None:
                found.setdefault(described["Config"]["Labels"][_PROJECT_LABEL], []).append(container)
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError):
        raise NodeProblem("the Docker engine's description of a container cannot be read") from None
    return {name: sorted(those, key=lambda one: (one.service, one.id)) for name, those in found.items()}


def _container(described: dict[str, Any]) -> Container | None:
    labels = described["Config"].get("Labels") or {}
    if labels.get(_ONE_OFF_LABEL) == "True":
        return None
    state = described["State"]
    probes = (state.get("Health") or {}).get("Log") or []
    restart = (described["HostConfig"].get("RestartPolicy") or {}).get("Name", "")
    return Container(
        id=described["Id"],
        service=labels.get(_SERVICE_LABEL, ""),
        state=state["Status"],
        health=(state.get("Health") or {}).get("Status", "").replace("none", ""),
        exit_code=int(state.get("ExitCode", 0)),
        pid=int(state.get("Pid", 0)),
        started_at=state.get("StartedAt", ""),
        job=restart in {"", "no", "on-failure"},
        environment=tuple(described["Config"].get("Env") or ()),
        model_hash=labels.get(_HASH_LABEL, ""),
        probed_at=datetime.fromisoformat(probes[-1]["Start"]).astimezone(UTC) if probes else None,
        probe_passed=bool(probes) and probes[-1]["ExitCode"] == 0,
        starts_itself=restart in {"always", "unless-stopped"},
    )


def settle(
    engine: Engine, project: str, seconds: float, sleep: Callable[[float], None] = time.sleep
) -> list[Container]:
    """The containers once none of them is starting any more, at most ``seconds`` later."""
    deadline = time.monotonic() + seconds
    while True:
        found = containers_of(engine, project)
        if all(one.is_settled for one in found) or time.monotonic() >= deadline:
            return found
        sleep(0.5)


def restart(engine: Engine, ids: Sequence[str]) -> bool:
    """Restart containers (same ids): a single-file mount shows its new file only then."""
    return engine.run([*engine.docker, "restart", *ids], seconds=_SECONDS + 30.0 * len(ids)).code == 0


def signal(engine: Engine, ids: Sequence[str], name: str) -> bool:
    """Send a signal to the first process of each container; False where one does not run."""
    return engine.run([*engine.docker, "kill", "--signal", name, *ids], seconds=_SECONDS).code == 0


def execute(engine: Engine, container: str, argv: Sequence[str], seconds: float) -> Outcome:
    """Run a program in a container as its own user. One that outlives ``seconds`` counts as failed; it may run on in there."""
    return engine.run([*engine.docker, "exec", container, *argv], seconds=seconds)
