"""A bundle: the files of one Compose project, as bytes, by path.

Paths are relative to the project directory, with ``/``. Which files Compose would read by default, and whether a path named in
a file stays inside the bundle. Nothing here touches a file system.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from overseer.core.errors import InvalidInput, Problem, TooLarge

MAX_BUNDLE_BYTES: Final = 5 * 1024 * 1024
MAX_FILES: Final = 1000
DEFAULT_FILES: Final = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
DEFAULT_OVERRIDES: Final = (
    "compose.override.yml", "compose.override.yaml", "docker-compose.override.yml", "docker-compose.override.yaml",
)  # fmt: skip
MAX_PATH: Final = 1024
SECRETS_ROOT: Final = "/etc/secrets"

_PATH_RULE: Final = f"a path in a bundle is relative, normal, without '..' and not longer than {MAX_PATH} characters"
_REMOTE: Final = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:|[^/@]+@[^/]*:|git@|github\.com/)", re.IGNORECASE)


@dataclass(frozen=True)
class Bundle:
    """``files`` by path; ``compose_files`` in the order of ``-f`` (empty: Compose's default names).

    ``base`` is the directory where relative paths begin (``None``: that of the first Compose file, as Compose has it).
    """

    files: Mapping[str, bytes]
    compose_files: Sequence[str] = ()
    secrets_root: str = SECRETS_ROOT
    base: str | None = None

    def __post_init__(self) -> None:
        """Refuse sizes and paths that no bundle has: :class:`TooLarge`, :class:`InvalidInput`."""
        if len(self.files) > MAX_FILES or sum(map(len, self.files.values())) > MAX_BUNDLE_BYTES:
            raise TooLarge(f"a bundle holds at most {MAX_FILES} files and {MAX_BUNDLE_BYTES} bytes")
        problems = [
            Problem(f"files[{number}]", _PATH_RULE, "bad_path")
            for number, path in enumerate(self.files)
            if len(path) > MAX_PATH or not is_inside(path) or posixpath.normpath(path) != path or "\0" in path or "\n" in path
        ]
        if problems:
            raise InvalidInput("the bundle's paths are refused", problems=problems)

    def main_files(self) -> tuple[str, ...]:
        """The files Compose starts from. Empty where the bundle has none of the default names."""
        if self.compose_files:
            return tuple(posixpath.normpath(path) for path in self.compose_files)
        main = next((name for name in DEFAULT_FILES if name in self.files), None)
        if main is None:
            return ()
        override = next((name for name in DEFAULT_OVERRIDES if name in self.files), None)
        return (main,) if override is None else (main, override)

    def find(self, base: str, path: str) -> list[str]:
        """The bundle's file that ``path`` means, as written in a file with the base directory ``base``: one or none."""
        joined = resolve(base, path)
        return [joined] if joined in self.files else []

    def project_directory(self) -> str:
        """Where relative paths begin, for the scan and for the Compose that runs; empty for the top of the bundle."""
        mains = self.main_files()
        if self.base is not None or not mains:
            return self.base or ""
        return mains[0].rpartition("/")[0]


def resolve(base: str, path: str) -> str:
    """``path`` below ``base``, normalised."""
    return posixpath.normpath(posixpath.join(base, path))


def is_inside(path: str) -> bool:
    """True where a relative path stays in the project directory."""
    normal = posixpath.normpath(path)
    return bool(path) and not normal.startswith(("/", "../", "~")) and normal not in {"..", "."}


def path_fault(base: str, path: str) -> tuple[str, str] | None:
    """Why a path that Compose itself opens while it loads a file is refused (rule, code), or ``None``.

    A path is judged as it is written: nothing may be left in it that Compose would replace (variables, ``~``) before it opens it.
    """
    if "$" in path:
        return "Compose opens this file itself: write its path out, without variables", "variable_path"
    if path.startswith("~"):
        return "the path leaves the project directory: '~' is a home directory", "path_escapes"
    if _REMOTE.match(path):
        return "remote files are refused: copy the file into the project directory", "remote_file"
    if not is_inside(resolve(base, path)):
        return "the path leaves the project directory; a bundle holds only files below it", "path_escapes"
    return None


def below_root(path: str, root: str) -> str | None:
    """How a path lies to the secrets root: ``"file"`` right below it, ``"bad"`` elsewhere in it or above it, ``None`` apart."""
    if not path.startswith("/"):
        return None
    normal, root = posixpath.normpath("/" + path.lstrip("/")), posixpath.normpath("/" + root.lstrip("/"))
    if normal in {root, "/"} or root.startswith(normal + "/"):
        return "bad"
    if not normal.startswith(root + "/"):
        return None
    return "file" if "/" not in normal[len(root) + 1 :] and ".." not in path.split("/") else "bad"
