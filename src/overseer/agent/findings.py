"""What `overseer doctor` sees of an agent on its node: files, engine, Compose, memory, clock, server. Nothing is changed."""

from __future__ import annotations

import stat
from collections.abc import Iterator

from overseer.agent.injection.memory_root import is_memory
from overseer.agent.settings import AgentSettings
from overseer.agent.status import AgentStatus, agent_status
from overseer.core.errors import OverseerError
from overseer.core.findings import Finding, ok, problem, warning


def agent_findings(settings: AgentSettings) -> list[Finding]:
    """Nothing where this machine is not enrolled as a node."""
    if not settings.directory.exists():
        return []
    try:
        status = agent_status(settings)
    except OverseerError as error:
        return [problem("agent files", error.message, "mend the files, or enrol the node again")]
    if status.node is None:
        return []
    return [*_server(status), *_files(settings), *_engine(status), *_memory(settings), *_apps(settings)]


def _server(status: AgentStatus) -> Iterator[Finding]:
    if status.server == "ok":
        yield ok("agent's server", f"node {status.node} is known at {status.url}, and the clocks agree")
    else:
        yield problem("agent's server", f"{status.url}: {status.server}", "see `overseer agent status` and the server's log")
    if status.agent == "runs":
        yield ok("agent", f"the agent of node {status.node} runs, version {status.agent_version}")
    else:
        yield warning("agent", f"no agent runs for node {status.node}", "start it: `overseer agent run`, or its service")


def _files(settings: AgentSettings) -> Iterator[Finding]:
    mode = stat.S_IMODE(settings.directory.lstat().st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield problem("node keys", f"{settings.directory} has mode {mode:04o}", f"chmod 0700 {settings.directory}")
    else:
        text = f"the node's keys lie in files below {settings.directory}, for their owner alone; root can read them"
        yield ok("node keys", text)


def _engine(status: AgentStatus) -> Iterator[Finding]:
    if status.engine != "ok":
        yield problem("engine", f"the Docker engine: {status.engine}", "start it, or set OVERSEER_DOCKER and DOCKER_HOST")
        return
    yield ok("engine", f"the Docker engine answers, version {status.engine_version or 'unknown'}")
    if status.compose_version:
        yield ok("compose", f"Docker Compose {status.compose_version}")
    else:
        yield problem("compose", "Docker Compose v2 does not answer", "install the plug-in, or set OVERSEER_COMPOSE")


def _memory(settings: AgentSettings) -> Iterator[Finding]:
    root = settings.tmpfs_root
    if settings.tmpfs_allow.value == "disk":
        text = "secret files may lie on a disk (OVERSEER_TMPFS_ALLOW=disk): what is removed can be found there"
        yield warning("secret files", text, "use a directory in memory")
    elif root is not None and root.exists() and not is_memory(root):
        yield problem("secret files", f"{root} is not in memory", "set OVERSEER_TMPFS_ROOT to a directory on tmpfs")
    elif settings.tmpfs_allow.value == "swap":
        text = "secret files lie in memory that may be swapped out (OVERSEER_TMPFS_ALLOW=swap)"
        yield warning("secret files", text, "encrypt the swap or switch it off")
    else:
        yield ok("secret files", "secret files lie in memory that is not swapped out")


def _apps(settings: AgentSettings) -> Iterator[Finding]:
    if settings.apps:
        yield ok("allowed apps", "this node deploys only " + ", ".join(sorted(settings.apps)))
    else:
        text = "this node deploys every app: whoever may deploy here acts with the engine's rights, which are root's"
        yield warning("allowed apps", text, "name the apps of this node in OVERSEER_AGENT_APPS")
