"""What the agent remembers of each project on this node, so that a restart finds the truth. No value and no file content.

Guarantees: an entry is durable before the step it announces; one deployment per project at a time, across processes (a file lock
that the kernel drops when its holder dies).

Evolution rule: readers ignore fields that they do not know; an unreadable entry counts as an interrupted deployment.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from overseer.agent.private_files import private_directory, read_private, write_private
from overseer.compose.swarm import COMPOSE
from overseer.core.errors import NodeProblem

#: Compose's rule for the name of a project; also what makes it safe as a file name.
PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")


class Phase(StrEnum):
    """Where a project stands."""

    APPLYING = "applying"  # begun; an agent that finds it after a restart was interrupted
    RUNNING = "running"


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """``deployment_id`` is the one of the phase; ``running_id`` the last that succeeded; ``files``: containers mount ours;
    ``target``: a project of plain Compose, or a stack of a Swarm, of which memory holds nothing that a task needs."""

    project: str
    app: str
    environment: str | None
    deployment_id: str
    phase: Phase
    running_id: str | None = None
    files: bool = False
    target: str = COMPOSE


class Journal:
    """The entries below ``directory`` (the agent's own)."""

    def __init__(self, directory: Path) -> None:
        self._entries = private_directory(directory / "projects")
        self._locks = private_directory(directory / "locks")

    def entries(self) -> list[Entry]:
        """Every project that this node knows, by name."""
        return [entry for path in sorted(self._entries.glob("*.json")) if (entry := self._read(path)) is not None]

    def find(self, project: str) -> Entry | None:
        return self._read(self._path(project))

    def write(self, entry: Entry) -> None:
        """Durable when it returns."""
        write_private(self._path(entry.project), msgspec.json.encode(entry))

    def remove(self, project: str) -> None:
        """The project is gone from this node."""
        self._path(project).unlink(missing_ok=True)

    @contextlib.contextmanager
    def lock(self, project: str) -> Iterator[int]:
        """Hold the project; waits for whoever holds it. The lock lasts as long as anyone has the descriptor that is yielded."""
        descriptor = os.open(
            self._locks / f"{check_project(project)}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
        )
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)

    def is_locked(self, project: str) -> bool:
        """True while someone holds the project: a Compose that outlived its agent, or another agent."""
        try:
            with (self._locks / f"{check_project(project)}.lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def _path(self, project: str) -> Path:
        return self._entries / f"{check_project(project)}.json"

    @staticmethod
    def _read(path: Path) -> Entry | None:
        raw = read_private(path)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw, type=Entry)
        except msgspec.MsgspecError:
            return Entry(project=path.stem, app="", environment=None, deployment_id="", phase=Phase.APPLYING)


def check_project(project: str) -> str:
    """``project`` itself, or :class:`NodeProblem`: it becomes part of paths and arguments."""
    if PROJECT.fullmatch(project) is None:
        raise NodeProblem("the server named a project that Compose would refuse")
    return project
