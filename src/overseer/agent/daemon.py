"""The agent as a process: one for its directory, hardened, healed after its former life, told to stop by SIGTERM or SIGINT.

Guarantee: what it leaves when it ends is what containers use; where nothing is deployed, memory is empty and unmounted.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from overseer.agent.deployments import Deployer
from overseer.agent.engine import Engine
from overseer.agent.hardening import harden_process
from overseer.agent.identity import Identity, load_identity
from overseer.agent.injection.memory_root import open_root
from overseer.agent.journal import Journal
from overseer.agent.key_rotation import open_session
from overseer.agent.leftovers import heal
from overseer.agent.loop import Agent
from overseer.agent.private_files import private_directory
from overseer.agent.session import Session
from overseer.agent.settings import AgentSettings
from overseer.agent.status import LOCK
from overseer.core.errors import ConfigurationProblem, OverseerError

log = logging.getLogger("overseer.agent")


def prepare_memory(settings: AgentSettings) -> tuple[Path, list[str]]:
    """Make the directory in memory where the agent will look for it; returns it and what people should know.

    For service managers that run the agent in a mount namespace of its own: what is mounted there, the engine does not see.
    Raises :class:`ConfigurationProblem` as the agent would.
    """
    root = open_root(settings.tmpfs_root, settings.tmpfs_allow)
    return root.path, list(root.notes)


def run_agent(settings: AgentSettings) -> int:
    """Run until SIGTERM or SIGINT; returns the exit code. Call it from the main thread.

    Raises :class:`ConfigurationProblem` where the node is not enrolled, an agent runs already, or memory or Docker is missing.
    """
    notes = harden_process()
    identity = load_identity(settings.directory)
    if identity is None:
        raise ConfigurationProblem("this machine is no node yet: run `overseer agent join --url URL` first")
    with _alone(settings.directory):
        root = open_root(settings.tmpfs_root, settings.tmpfs_allow)
        place = root.path / str(identity.record.node_id)  # several agents of one machine share the root
        with _alone(place):
            for note in [*notes, *root.notes]:
                log.warning("%s", note)
            agent = _assemble(settings, identity, place)
            _heal(agent.deployer)
            log.info("node %s: asking %s for work", identity.record.node, identity.record.url)
            with _signals(agent):
                agent.run()
            _tidy(place)
        root.release()
    log.info("stopped")
    return 0


def _heal(deployer: Deployer) -> None:
    try:
        for note in heal(deployer.engine, deployer.root, deployer.journal):
            log.warning("%s", note)
    except OverseerError as error:  # an engine that is still starting must not keep the agent from polling
        log.warning("leftovers were not looked at: %s", error.message)


def _assemble(settings: AgentSettings, identity: Identity, root: Path) -> Agent:
    engine = Engine.find(settings.docker, settings.compose, settings.docker_host, settings.docker_config)
    if not engine.answers():
        log.warning("the Docker engine does not answer yet; deployments will fail until it does")
    deployer = Deployer(
        engine=engine,
        root=root,
        identity=identity,
        journal=Journal(settings.directory),
        secrets_root=settings.secrets_root,
        apps=settings.apps,
        protected=(settings.directory, root.parent),
        identity_again=lambda: load_identity(settings.directory),
    )

    def session() -> Session:
        # As the keys are now: they may have been rotated since the agent started.
        return open_session(load_identity(settings.directory) or identity, settings.directory)

    return Agent(deployer, session, settings.parallel, settings.stop_seconds, settings.holdings_seconds)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """One agent per directory; the kernel drops the lock with the process."""
    private_directory(directory)
    lock = directory / LOCK
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError:
        raise ConfigurationProblem(f"another agent uses {directory}") from None
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _signals(agent: Agent) -> Iterator[None]:
    def handle(_number: int, _frame: FrameType | None) -> None:
        agent.stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _tidy(root: Path) -> None:
    """Leave nothing where nothing is deployed, so that the mount can go."""
    with contextlib.suppress(OSError):
        for name in ("work", "apps"):
            if (root / name).is_dir():
                (root / name).rmdir()
        (root / LOCK).unlink(missing_ok=True)
        root.rmdir()
