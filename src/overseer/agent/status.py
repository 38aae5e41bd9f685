"""``overseer agent status``: what this node is and what it runs, by its own files and engine; the server only gives a token.

Guarantee: nothing changes, and no value is read.
"""

from __future__ import annotations

import fcntl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overseer import __version__
from overseer.agent.containers import Container, containers_by_project
from overseer.agent.engine import Engine
from overseer.agent.identity import Identity, load_identity
from overseer.agent.journal import Entry, Journal
from overseer.agent.key_rotation import open_session
from overseer.agent.session import TOLERATED_SKEW
from overseer.agent.settings import AgentSettings
from overseer.agent.swarm_stack import SwarmStack
from overseer.compose.swarm import COMPOSE, SWARM
from overseer.core.errors import OverseerError

LOCK: Final = ".agent.lock"


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project: its phase (``applying``, ``running``) and its containers as ``service: state``, with health where there is.

    Of a stack (``target`` swarm) the services, wherever their tasks run: ``service: 2 of 3 running``.
    """

    project: str
    app: str
    environment: str | None
    deployment_id: str
    phase: str
    containers: tuple[str, ...]
    target: str = COMPOSE


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """``node`` is None where this machine is not enrolled; ``server`` and ``engine`` say ``ok`` or what is wrong.

    ``agent``: does one run here. ``clock_off``: seconds by which this node's clock is ahead of the server's, None where unknown.
    """

    node: str | None
    node_id: str | None
    url: str | None
    server: str
    clock_off: float | None
    agent: str
    agent_version: str
    engine: str
    engine_version: str
    compose_version: str
    apps: tuple[str, ...]
    projects: tuple[ProjectStatus, ...]


def agent_status(settings: AgentSettings) -> AgentStatus:
    """What there is to say. Raises :class:`ConfigurationProblem` only where the agent's own files cannot be used."""
    identity = load_identity(settings.directory)
    server, clock_off = ("not enrolled", None) if identity is None else _server(identity, settings.directory)
    engine, said = _engine(settings)
    found: dict[str, list[Container]] = {}
    if engine is not None:
        try:
            found = containers_by_project(engine)
        except OverseerError as error:
            said = error.message
    entries = [] if identity is None else Journal(settings.directory).entries()
    return AgentStatus(
        node=identity.record.node if identity else None,
        node_id=str(identity.record.node_id) if identity else None,
        url=identity.record.url if identity else None,
        server=server,
        clock_off=clock_off,
        agent="runs" if _is_held(settings.directory / LOCK) else "does not run",
        agent_version=__version__,
        engine=said,
        engine_version=_version(engine, "docker") if engine else "",
        compose_version=_version(engine, "compose") if engine else "",
        apps=tuple(sorted(settings.apps)),
        projects=tuple(_project(engine, settings, entry, found.get(entry.project, [])) for entry in entries),
    )


def _server(identity: Identity, directory: Path) -> tuple[str, float | None]:
    session = open_session(identity, directory)
    try:
        session.authenticate()
    except OverseerError as error:
        return error.message, None
    finally:
        session.close()
    off = round(session.skew.total_seconds(), 1)
    return ("ok" if abs(session.skew) <= TOLERATED_SKEW else f"this node's clock is {off:.0f} s off: set it (NTP)"), off


def _engine(settings: AgentSettings) -> tuple[Engine | None, str]:
    try:
        engine = Engine.find(settings.docker, settings.compose, settings.docker_host, settings.docker_config)
    except OverseerError as error:
        return None, error.message
    return (engine, "ok") if engine.answers() else (None, "does not answer")


def _version(engine: Engine, which: str) -> str:
    command = (
        [*engine.docker, "version", "--format", "{{.Server.Version}}"]
        if which == "docker"
        else [*engine.compose, "version", "--short"]
    )
    return engine.run(command, seconds=20).stdout.decode("utf-8", "replace").strip().removeprefix("v")


def _is_held(lock: Path) -> bool:
    try:
        with lock.open("rb") as stream:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _project(engine: Engine | None, settings: AgentSettings, entry: Entry, found: list[Container]) -> ProjectStatus:
    if entry.target == SWARM:
        states = _stack(engine, settings, entry.project) if engine is not None else ()
    else:
        states = tuple(f"{one.service}: {one.state}" + (f" ({one.health})" if one.health else "") for one in found)
    return ProjectStatus(
        entry.project, entry.app, entry.environment, entry.deployment_id, entry.phase.value, states, entry.target
    )


def _stack(engine: Engine, settings: AgentSettings, project: str) -> tuple[str, ...]:
    try:
        services = SwarmStack(engine, project, settings.directory).services()
    except OverseerError as error:
        return (error.message,)
    return tuple(
        f"{one.name}: {one.needed} to complete" if one.job else f"{one.name}: {one.running} of {one.needed} running"
        for one in sorted(services, key=lambda one: one.name)
    )
