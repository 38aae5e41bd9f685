"""The files of one project below the memory root, and what a deployment changes in them until it is decided.

::

    <root>/work/…                                  bundles with placeholders, for seconds
    <root>/apps/<project>/services/<service>/…     one directory per mount of a service
    <root>/apps/<project>/bundle/…                 files of the bundle that the model mounts
    <root>/apps/<project>/former                   files of the bundle as they were, while a deployment is undecided
    <root>/apps/<project>/held                     what is kept of the deployment that runs

Guarantees: the paths of a project never change, so that an unchanged model stays unchanged for Compose; directories that may be
mounted are kept and filled anew, never replaced; a change is committed or undone per service, for a service whose old container
still runs must keep what it had. A wiped project leaves nothing.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from overseer.agent.injection.files import Change, SecretFile, decide, publish
from overseer.agent.shipped_files import Replaced, ShippedFiles
from overseer.core.errors import NodeProblem


@dataclass(slots=True)
class Publication:
    """What one deployment wrote. ``changed``: files of a service that had another content before, as ``directory/name``."""

    files: ProjectFiles
    changes: dict[str, list[Change]] = field(default_factory=dict)
    changed: dict[str, set[str]] = field(default_factory=dict)
    replaced: list[Replaced] = field(default_factory=list)

    def commit(self, services: Iterable[str] | None = None) -> None:
        """The new files stay (of ``services``, or all)."""
        for service in list(self.changes) if services is None else services:
            for change in self.changes.pop(service, []):
                change.commit()
        if services is None:
            self.files.shipped.forget_former()

    def undo(self) -> None:
        """Whatever is not committed becomes what it was."""
        for service, changes in self.changes.items():
            for change in changes:
                change.undo()
            with contextlib.suppress(OSError):
                (self.files.services / service).rmdir()
        self.changes.clear()
        for replaced in self.replaced:
            self.files.shipped.undo(replaced)
        self.replaced.clear()
        self.files.shipped.forget_former()


class ProjectFiles:
    """Places below ``root``, which fulfils the guarantees of ``memory_root``."""

    def __init__(self, root: Path, project: str) -> None:
        self.staging = root / "work"
        self.project_directory = root / "apps" / project
        self.services = self.project_directory / "services"
        self.bundle = self.project_directory / "bundle"
        self.held = self.project_directory / "held"
        self.shipped = ShippedFiles(self.bundle, self.project_directory / "former")

    def make(self) -> None:
        """The directories in which a deployment writes."""
        for path in (self.staging, self.project_directory.parent, self.project_directory, self.services):
            path.mkdir(mode=0o700, exist_ok=True)
        self.shipped.make()

    def exist(self) -> bool:
        """True where there is anything of the project."""
        return self.project_directory.is_dir()

    def publish(self, directories: Mapping[str, Mapping[str, SecretFile]], shipped: Mapping[str, bytes]) -> Publication:
        """Write everything; with an error everything is as before. Each directory changes at once."""
        publication = Publication(self)
        try:
            for directory, files in directories.items():
                service = directory.partition("/")[0]
                (self.services / service).mkdir(mode=0o700, exist_ok=True)
                change = publish(self.services / directory, files)
                publication.changes.setdefault(service, []).append(change)
                publication.changed.setdefault(service, set()).update(f"{directory}/{name}" for name in change.changed)
            for path, content in shipped.items():
                self._ship(path, content, publication)
        except OSError as error:
            publication.undo()
            raise NodeProblem(f"the project's files could not be written: {error.strerror}") from None
        except BaseException:
            publication.undo()
            raise
        return publication

    def _ship(self, path: str, content: bytes, publication: Publication) -> None:
        replaced = self.shipped.write(path, content)
        if replaced is not None:
            publication.replaced.append(replaced)

    def decide(self) -> None:
        """What is published stays; for a process that cannot ask the one that published."""
        for directory in self.services.glob("*/*"):
            decide(directory)

    def restore_shipped(self, shipped: Mapping[str, bytes]) -> None:
        """The bundle's files as they were, whoever changed them."""
        try:
            for path, content in shipped.items():
                self.shipped.write(path, content)
            self.shipped.forget_former()
        except OSError as error:
            raise NodeProblem(f"the bundle's files could not be written: {error.strerror}") from None

    def forget_others(self, directories: Iterable[str], shipped: Iterable[str]) -> None:
        """Remove what belongs to no service of the model any more. Only after ``up`` removed the containers that had it."""
        kept, kept_services = set(directories), {one.partition("/")[0] for one in directories}
        for service in self.services.iterdir():
            if service.name not in kept_services:
                shutil.rmtree(service)
                continue
            for one in service.iterdir():
                if f"{service.name}/{one.name}" not in kept:
                    shutil.rmtree(one)
        self.shipped.keep_only(shipped)

    def wipe(self) -> None:
        """Everything of the project goes."""
        if self.project_directory.exists():
            self.shipped.wipe()  # first, and by its own means: containers wrote there
            shutil.rmtree(self.project_directory)
