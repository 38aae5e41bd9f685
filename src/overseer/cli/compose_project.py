"""A Compose project on this machine as ``overseer compose`` sees it: its text, and its places as people write them.

Only what Compose itself reads is taken (Compose files, what they include and extend, env and label files): what containers mount
from the directory, however large, is not looked at.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from overseer.core.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from overseer.compose.bundle import Bundle


@dataclass(frozen=True)
class Project:
    """``directory`` as the caller wrote it, and the project's text."""

    directory: Path
    bundle: Bundle

    def label(self, place: str) -> str:
        """A path (with a place behind it, or without) as it is found from where the caller stands."""
        return str(self.directory / place) if place else str(self.directory)

    def labelled(self, problem: Problem) -> Problem:
        """The problem of a file of the bundle with its path from where the caller stands."""
        return replace(problem, place=self.label(problem.place))


def open_project(files: Sequence[str | Path] = (), directory: Path | None = None, *, base: str | None = None) -> Project:
    """The project of ``files``, the Compose files in their order; without any, what Compose finds in ``directory``.

    ``directory`` is the project's, by default the first file's. ``base`` is where relative paths begin, below the directory; by
    default, as Compose has it, where the first file lies. :class:`InvalidInput` for what cannot be read.
    """
    from overseer.cli.stack_files import compose_files_of, stack_files
    from overseer.compose.bundle import Bundle

    root = directory if directory is not None else Path(files[0]).parent if files else Path()
    names = compose_files_of(root, [str(path) for path in files])
    return Project(root, Bundle(stack_files(root, names, base=base, for_containers=False), names, base=base))


def project_of(path: Path, more: Sequence[str] = ()) -> Project:
    """The project that ``path`` stands for: a directory, a Compose file, or an env file beside one.

    A file with one of Compose's own names brings its override along, and an override its main file.
    """
    from overseer.compose.bundle import DEFAULT_FILES, DEFAULT_OVERRIDES

    if path.is_dir():
        return open_project(more, path)
    directory, name = path.parent, path.name
    if is_env_file(path):
        return open_project(more, directory)
    beside = [path]
    if name in DEFAULT_FILES and not more:
        beside += [directory / one for one in DEFAULT_OVERRIDES if (directory / one).is_file()][:1]
    elif name in DEFAULT_OVERRIDES and not more:
        beside = [directory / one for one in DEFAULT_FILES if (directory / one).is_file()][:1] + beside
    return open_project([*beside, *more], directory)


def is_env_file(path: Path) -> bool:
    """True for the names of env files: ``.env``, ``.env.local``, ``app.env``."""
    return path.name == ".env" or path.name.startswith(".env.") or path.suffix == ".env"


def read_bytes(path: Path) -> bytes:
    """The file's content. :class:`InvalidInput` where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {(error.strerror or '').lower()}") from None
