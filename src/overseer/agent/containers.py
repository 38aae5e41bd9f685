"""The containers of a project as the engine reports them, found by Compose's labels, never by name.

Guarantee: nothing of a container's configuration shows in a repr; only states leave this node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from overseer.agent.engine import Engine
from overseer.core.errors import NodeProblem
from overseer.wire.deployments import ServiceState

_PROJECT_LABEL: Final = "com.docker.compose.project"
_SERVICE_LABEL: Final = "com.docker.compose.service"
_ONE_OFF_LABEL: Final = "com.docker.compose.oneoff"
_SECONDS: Final = 60.0
_UNSETTLED: Final = frozenset({"created", "restarting"})


@dataclass(frozen=True, slots=True)
class Container:
    """One container; ``environment`` is the configured one; ``pid`` is 0 where it does not run; ``job``: it is not restarted."""

    id: str
    service: str
    state: str
    health: str
    exit_code: int
    pid: int
    started_at: str
    job: bool
    environment: tuple[str, ...] = field(repr=False)

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
    chosen = ["--filter", f"label={_PROJECT_LABEL}={project}"]
    listed = engine.run([*engine.docker, "ps", "--all", "--quiet", "--no-trunc", *chosen], seconds=_SECONDS)
    if listed.code != 0:
        raise NodeProblem("the Docker engine does not answer")
    ids = listed.stdout.decode("ascii", "replace").split()
    if not ids:
        return []
    # A container may go between the two commands: inspect then fails, but prints those that are left.
    inspected = engine.run([*engine.docker, "inspect", "--type", "container", *ids], seconds=_SECONDS)
    try:
        found = [_container(one) for one in msgspec.json.decode(inspected.stdout)]
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError):
        raise NodeProblem("the Docker engine's description of a container cannot be read") from None
    return sorted((one for one in found if one is not None), key=lambda one: (one.service, one.id))


def _container(described: dict[str, Any]) -> Container | None:
    labels = described["Config"].get("Labels") or {}
    if labels.get(_ONE_OFF_LABEL) == "True":
        return None
    state = described["State"]
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
