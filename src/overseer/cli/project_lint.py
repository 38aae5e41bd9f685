"""Linting and mending the projects that paths on a command line stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from overseer.cli.compose_project import Project, is_env_file, project_of
from overseer.cli.output import printable, say
from overseer.compose.bundle import DEFAULT_FILES
from overseer.compose.lint import lint_bundle

if TYPE_CHECKING:
    from overseer.compose.findings import Finding


def open_projects(paths: Sequence[Path], compose_files: Sequence[str] = ()) -> list[Project]:
    """The projects of ``paths``, each once: a commit hook names every changed file of a project.

    An env file without a Compose file beside it tells no project: it is left out, and that is said.
    """
    found: dict[tuple[Path, tuple[str, ...]], Project] = {}
    for path in paths:
        if is_env_file(path) and not any((path.parent / name).is_file() for name in DEFAULT_FILES):
            say(f"{printable(str(path))}: not checked: there is no Compose file beside it")
            continue
        project = project_of(path, compose_files)
        found.setdefault((project.directory.resolve(), project.bundle.main_files()), project)
    return list(found.values())


def lint_projects(projects: Iterable[Project]) -> list[Finding]:
    """Every finding, its file as it is found from where the caller stands, sorted by place."""
    found: dict[Finding, None] = {}
    for project in projects:
        for one in lint_bundle(project.bundle):
            found[replace(one, file=project.label(one.file))] = None
    return sorted(found, key=lambda one: (one.file, one.line, one.column, one.rule))


def fix_projects(projects: Iterable[Project]) -> bool:
    """Mend the Compose files in place, included and extended ones too; True where one changed."""
    from overseer.compose.fixes import fix_file

    changed = False
    for project in projects:
        for name, data in project.bundle.files.items():
            if name not in project.bundle.main_files() and not name.endswith((".yaml", ".yml")):
                continue
            fixed = fix_file(data)
            if fixed != data:
                (project.directory / name).write_bytes(fixed)
                say(f"mended {printable(project.label(name))}")
                changed = True
    return changed
