"""What a former life of the agent left behind, looked at once at start.

Guarantees: placeholders of unfinished deployments go, and so does what was written in part only; files that no container uses and
no work will come back for are wiped; files of containers are never touched. A project that a Compose of the former life still
works on is left alone.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from overseer.agent.containers import containers_of
from overseer.agent.engine import Engine
from overseer.agent.journal import Entry, Journal, Phase
from overseer.agent.project_files import ProjectFiles
from overseer.compose.swarm import SWARM


def heal(engine: Engine, root: Path, journal: Journal) -> list[str]:
    """Do it; returns what people should know, as sentences. :class:`NodeProblem` where the engine has to be asked and is away."""
    shutil.rmtree(root / "work", ignore_errors=True)
    for half in (root / "apps").glob("*/.*.*"):  # what `write_held` of an agent that was killed did not come to name
        half.unlink(missing_ok=True)
    known = {entry.project: entry for entry in journal.entries()}
    notes = []
    for project in sorted({path.name for path in (root / "apps").glob("*")} - known.keys()):
        if not containers_of(engine, project):
            ProjectFiles(root, project).wipe()
            notes.append(f"project {project}: wiped files that no container uses")
    for entry in known.values():
        notes += _heal_project(engine, root, journal, entry)
    return notes


def _heal_project(engine: Engine, root: Path, journal: Journal, entry: Entry) -> list[str]:
    files = ProjectFiles(root, entry.project)
    if entry.phase is Phase.RUNNING:
        return []
    decided = entry.running_id is not None or entry.target == SWARM  # a stack's containers may be on any node
    if not decided and not journal.is_locked(entry.project) and not containers_of(engine, entry.project):
        files.wipe()
        journal.remove(entry.project)
    return [f"project {entry.project}: deployment {entry.deployment_id} was interrupted; it comes again"]
