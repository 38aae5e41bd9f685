"""The files of a Compose project that a deployment sends: what its Compose files name, and nothing else of the directory.

Taken are the Compose files (as Compose finds them, or as given), ``.env``, and the local files that they name in ``include``,
``extends``, ``env_file``, ``label_file``, ``configs.*.file``, ``secrets.*.file`` and as relative bind sources. Everything lies
below the project directory, links included: a path that leads out of it is not followed. What is named and missing is left out;
the server refuses it with file, line and column.

A file that holds a secret in plain text is sent like any other: ``overseer compose lint`` finds those.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from overseer.cli.named_files import NamedFiles, named_files
from overseer.compose.bundle import DEFAULT_FILES, DEFAULT_OVERRIDES, MAX_BUNDLE_BYTES, MAX_FILES, is_inside, resolve
from overseer.core.errors import InvalidInput, TooLarge

_EXPRESSION: Final = re.compile(r"\$\{[^}]*\}?|\$\w+")


def compose_files_of(directory: Path, given: Sequence[str]) -> list[str]:
    """The project's Compose files by their paths below ``directory``: the given ones, else as Compose finds them."""
    if given:
        return [_below(directory, path) for path in given]
    main = next((name for name in DEFAULT_FILES if (directory / name).is_file()), None)
    if main is None:
        raise InvalidInput(f"there is no Compose file in {directory}: it is called one of {', '.join(DEFAULT_FILES)}, or give -f")
    override = next((name for name in DEFAULT_OVERRIDES if (directory / name).is_file()), None)
    return [main] if override is None else [main, override]


def stack_files(
    directory: Path,
    compose_files: Sequence[str],
    more: Sequence[str] = (),
    *,
    base: str | None = None,
    for_containers: bool = True,
) -> dict[str, bytes]:
    """Content by path, the Compose files first. ``more`` are files or directories to take along whatever the Compose files say.

    ``base`` is where relative paths begin (default: the first Compose file's directory). Without ``for_containers`` only the text
    of the project is taken: what Compose reads itself, and not what containers get to see (binds, configs, secrets).

    Raises :class:`InvalidInput` for a Compose file or one of ``more`` that cannot be read, :class:`TooLarge` above the limits.
    """
    collection = _Collection(directory.resolve())
    for path in [*compose_files, *(_below(directory, path) for path in more)]:
        if not collection.take(path):
            raise InvalidInput(f"{path} is no readable file below {directory}")
    collection.take(".env")
    if base is None:
        base = compose_files[0].rpartition("/")[0] if compose_files else ""
    todo = deque((path, base) for path in compose_files)
    seen: set[tuple[str, str]] = set()
    named: dict[str, NamedFiles] = {}
    while todo:
        path, base = todo.popleft()
        if (path, base) in seen:
            continue
        seen.add((path, base))
        if path not in named:
            named[path] = named_files(collection.files[path])
        for found, new_base in _paths(collection, named[path], base, for_containers=for_containers):
            collection.take(found)
            if new_base is not None and found in collection.files:
                todo.append((found, new_base))
    return collection.files


class _Collection:
    """Files below ``root``, by path, within the limits of a bundle."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, bytes] = {}
        self._size = 0

    def take(self, path: str) -> bool:
        """Take a file, or a directory's files; False where there is none below the root."""
        place = (self.root / path).resolve()
        if not is_inside(path) or not place.is_relative_to(self.root):
            return False
        if place.is_dir() and place != self.root:
            for child in sorted(place.iterdir()):
                self.take(f"{path}/{child.name}")
            return True
        if path not in self.files:
            try:
                if not place.is_file():
                    return False
                content = self._read(place)
            except OSError:
                return False
            self.files[path] = content
        return True

    def matches(self, base: str, path: str) -> Iterator[str]:
        """What a path in a file with the base directory ``base`` means; with Compose's variables in it, all that fit."""
        joined = resolve(base, path)
        if not is_inside(joined):
            return
        if "$" not in joined:
            yield joined
            return
        pattern = _EXPRESSION.sub("*", re.sub(r"([*?\[])", r"[\1]", joined))
        for place in sorted(self.root.glob(pattern)):
            if place.is_file():
                yield place.relative_to(self.root).as_posix()

    def _read(self, place: Path) -> bytes:
        with place.open("rb") as file:
            content = file.read(MAX_BUNDLE_BYTES - self._size + 1)
        self._size += len(content)
        if self._size > MAX_BUNDLE_BYTES or len(self.files) >= MAX_FILES:
            raise TooLarge(
                f"the project's files are more than {MAX_FILES} or {MAX_BUNDLE_BYTES // 1024**2} MiB: "
                "what containers mount from the project directory is sent along; move large data to a volume"
            )
        return content


def _paths(collection: _Collection, named: NamedFiles, base: str, *, for_containers: bool) -> Iterator[tuple[str, str | None]]:
    """What a Compose file with the base directory ``base`` names: each file, with its own base where it is a Compose file."""
    for entry in named.includes:
        files = [found for text in entry.paths for found in collection.matches(base, text)]
        own = resolve(base, entry.project_directory) if entry.project_directory else files[0].rpartition("/")[0] if files else ""
        own = "" if own == "." else own
        yield from ((found, own) for found in files)
        yield from ((found, None) for text in entry.env_files for found in collection.matches(base, text))
        yield resolve(own, ".env"), None
    for text in named.extended:
        yield from ((found, found.rpartition("/")[0]) for found in collection.matches(base, text))
    for text in [*named.texts, *(named.contents if for_containers else ())]:
        yield from ((found, None) for found in collection.matches(base, text))


def _below(directory: Path, path: str) -> str:
    """``path``, as the caller wrote it (from where they stand, or from the project directory), below the directory."""
    root = directory.resolve()
    for place in (Path(path), directory / path):
        full = place.parent.resolve() / place.name
        if place.exists() and full.is_relative_to(root):
            return full.relative_to(root).as_posix()
    raise InvalidInput(f"{path} is no file below the project directory {directory}")
