"""``overseer agent status``: what this node is and what it runs, by its own files and engine; the server only gives a token.

Guarantee: nothing changes, and no value is read.
"""

from __future__ import annotations

from dataclasses import dataclass

from overseer.agent.containers import containers_of
from overseer.agent.engine import Engine
from overseer.agent.identity import load_identity
from overseer.agent.journal import Entry, Journal
from overseer.agent.session import Session
from overseer.agent.settings import AgentSettings
from overseer.core.errors import OverseerError


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """One project: its phase (``applying``, ``running``) and its containers as ``service: state``."""

    project: str
    app: str
    environment: str | None
    deployment_id: str
    phase: str
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """``node`` is None where this machine is not enrolled; ``server`` and ``engine`` say ``ok`` or what is wrong."""

    node: str | None
    url: str | None
    server: str
    engine: str
    projects: tuple[ProjectStatus, ...]


def agent_status(settings: AgentSettings) -> AgentStatus:
    """What there is to say. Raises :class:`ConfigurationProblem` only where the agent's own files cannot be used."""
    identity = load_identity(settings.directory)
    if identity is None:
        return AgentStatus(None, None, "not enrolled", "not asked", ())
    session = Session(identity)
    try:
        session.authenticate()
        server = "ok"
    except OverseerError as error:
        server = error.message
    finally:
        session.close()
    engine: Engine | None = None
    said = "ok"
    try:
        engine = Engine.find(settings.docker, settings.compose, settings.docker_host, settings.docker_config)
        if not engine.answers():
            engine, said = None, "does not answer"
    except OverseerError as error:
        said = error.message
    projects = tuple(_project(entry, engine) for entry in Journal(settings.directory).entries())
    return AgentStatus(identity.record.node, identity.record.url, server, said, projects)


def _project(entry: Entry, engine: Engine | None) -> ProjectStatus:
    found = containers_of(engine, entry.project) if engine is not None else []
    states = tuple(f"{one.service}: {one.state}" for one in found)
    return ProjectStatus(entry.project, entry.app, entry.environment, entry.deployment_id, entry.phase.value, states)
