"""Linting and mending the projects that paths on a command line stand for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from overseer.cli.compose_project import Project, is_env_file, project_of
from overseer.cli.output import printable, say
from overseer.compose.bundle import DEFAULT_FILES
from overseer.compose.lines import by_place
from overseer.compose.lint import lint_bundle

if TYPE_CHECKING:
    from overseer.client.api import Client
    from overseer.compose.findings import Finding
    from overseer.core.scopes import Scope


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
    return in_order(found)


def unavailable_secrets(client: Client, projects: Iterable[Project], scope: Scope[str]) -> list[Finding]:
    """A finding for each use of a secret that a deployment at ``scope`` would not get. Needs the right to list secrets there."""
    from overseer.cli.version_diff import unavailable
    from overseer.compose.findings import Finding
    from overseer.compose.references import find_references

    found = []
    for project in projects:
        for problem in unavailable(client, find_references(project.bundle, allow_persisting=True), scope):
            file, line, column = by_place(problem.place)
            found.append(Finding("OVS013", project.label(file), line, column, problem.rule))
    return found


def in_order(findings: Iterable[Finding]) -> list[Finding]:
    """Each once, by file and from the top to the bottom."""
    return sorted(dict.fromkeys(findings), key=lambda one: (one.file, one.line, one.column, one.rule))


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
