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
from typing import Any, Final

import yaml

from overseer.compose.bundle import DEFAULT_FILES, DEFAULT_OVERRIDES, MAX_BUNDLE_BYTES, MAX_FILES, is_inside, resolve
from overseer.core.errors import InvalidInput, TooLarge

_EXPRESSION: Final = re.compile(r"\$\{[^}]*\}?|\$\w+")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_DEEPEST_ALIAS: Final = 20


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
    while todo:
        path, base = todo.popleft()
        if (path, base) in seen:
            continue
        seen.add((path, base))
        for found, new_base in _named_files(collection, path, base, for_containers=for_containers):
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


def _named_files(collection: _Collection, path: str, base: str, *, for_containers: bool) -> Iterator[tuple[str, str | None]]:
    """What the Compose file ``path`` names: each file, with its base directory where it is a Compose file itself."""
    try:
        documents = list(yaml.compose_all(collection.files[path], Loader=_LOADER))
    except (yaml.YAMLError, UnicodeDecodeError):
        return  # the server says where it is broken
    for document in documents:
        for entry in _items(_get(document, "include")):
            yield from _included(collection, base, entry)
        for section in ("configs", "secrets") if for_containers else ():
            for _, definition in _pairs(_get(document, section)):
                for text in _texts(_get(definition, "file")):
                    yield from ((found, None) for found in collection.matches(base, text))
        for _, service in _pairs(_get(document, "services")):
            yield from _of_service(collection, base, service)
            if for_containers:
                yield from _for_containers(collection, base, service)


def _included(collection: _Collection, base: str, entry: Any) -> Iterator[tuple[str, str | None]]:
    paths = _texts(entry) if isinstance(entry, yaml.ScalarNode) else _texts(_get(entry, "path"))
    files = [found for text in paths for found in collection.matches(base, text)]
    directories = list(_texts(_get(entry, "project_directory")))
    own = resolve(base, directories[0]) if directories else files[0].rpartition("/")[0] if files else ""
    own = "" if own == "." else own
    yield from ((found, own) for found in files)
    env_files = list(_texts(_get(entry, "env_file")))
    yield from ((found, None) for text in env_files for found in collection.matches(base, text))
    yield resolve(own, ".env"), None


def _of_service(collection: _Collection, base: str, service: Any) -> Iterator[tuple[str, str | None]]:
    for text in _texts(_get(_get(service, "extends"), "file")):
        for found in collection.matches(base, text):
            yield found, found.rpartition("/")[0]
    for key in ("env_file", "label_file"):
        for item in _items(_get(service, key)):
            texts = _texts(item) if isinstance(item, yaml.ScalarNode) else _texts(_get(item, "path"))
            yield from ((found, None) for text in texts for found in collection.matches(base, text))


def _for_containers(collection: _Collection, base: str, service: Any) -> Iterator[tuple[str, str | None]]:
    for item in _items(_get(service, "volumes")):
        if isinstance(item, yaml.ScalarNode):
            source = item.value.partition(":")[0]
        else:
            kinds, sources = list(_texts(_get(item, "type"))), list(_texts(_get(item, "source")))
            source = sources[0] if sources and kinds == ["bind"] else ""
        if source.startswith("."):
            yield from ((found, None) for found in collection.matches(base, source))


def _get(node: Any, key: str, depth: int = 0) -> Any:
    """The value under ``key`` of a mapping, its merge keys included; None where there is none."""
    if not isinstance(node, yaml.MappingNode) or depth > _DEEPEST_ALIAS:
        return None
    for name, value in node.value:
        if isinstance(name, yaml.ScalarNode) and name.value == key:
            return value
    for name, value in node.value:
        if isinstance(name, yaml.ScalarNode) and name.value == "<<":
            for source in _items(value):
                found = _get(source, key, depth + 1)
                if found is not None:
                    return found
    return None


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return node.value if isinstance(node, yaml.MappingNode) else []


def _items(node: Any) -> list[Any]:
    """The items of a list, a single node as a list of one."""
    if node is None:
        return []
    return node.value if isinstance(node, yaml.SequenceNode) else [node]


def _texts(node: Any) -> Iterator[str]:
    """The text of a scalar, or of each scalar of a list."""
    for item in _items(node):
        if isinstance(item, yaml.ScalarNode):
            yield item.value


def _below(directory: Path, path: str) -> str:
    """``path``, as the caller wrote it (from where they stand, or from the project directory), below the directory."""
    root = directory.resolve()
    for place in (Path(path), directory / path):
        full = place.parent.resolve() / place.name
        if place.exists() and full.is_relative_to(root):
            return full.relative_to(root).as_posix()
    raise InvalidInput(f"{path} is no file below the project directory {directory}")
