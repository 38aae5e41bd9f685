"""Which files a Compose file names: what Compose reads itself, and what containers get to see of the project directory.

Read with the Compose language's own bounded reader: whatever the file holds, the work and the memory have an end. Of a broken
file what was understood counts; the server says where it is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from overseer.compose.document import DocumentFault, parse
from overseer.compose.nodes import Leaf, Node, Reader
from overseer.compose.walk import Walk


@dataclass(frozen=True, slots=True)
class Include:
    """One entry of ``include``; ``project_directory`` is empty where the first file's own counts."""

    paths: tuple[str, ...]
    project_directory: str
    env_files: tuple[str, ...]


@dataclass(slots=True)
class NamedFiles:
    """Paths as they are written. ``extended`` are Compose files, ``texts`` env and label files, ``contents`` for containers."""

    includes: list[Include] = field(default_factory=list)
    extended: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    contents: list[str] = field(default_factory=list)


def named_files(data: bytes) -> NamedFiles:
    """What the Compose file ``data`` names; nothing where it cannot be read at all."""
    found = NamedFiles()
    try:
        document = parse(data)
        captures = Walk(document).run().captures
        reader = Reader(document)
        for capture in captures:
            handler = _HANDLERS.get(capture.name)
            if handler is not None:
                handler(found, reader.node(capture.event))
    except DocumentFault:
        pass
    return found


def _include(found: NamedFiles, node: Node) -> None:
    for entry in _items(node):
        if isinstance(entry, dict):
            directory = next(_texts(entry.get("project_directory")), "")
            found.includes.append(Include(tuple(_texts(entry.get("path"))), directory, tuple(_texts(entry.get("env_file")))))
        elif isinstance(entry, Leaf):
            found.includes.append(Include((entry.text,), "", ()))


def _extends(found: NamedFiles, node: Node) -> None:
    if isinstance(node, dict):
        found.extended += _texts(node.get("file"))


def _text_files(found: NamedFiles, node: Node) -> None:
    for item in _items(node):
        found.texts += _texts(item.get("path") if isinstance(item, dict) else item)


def _definitions(found: NamedFiles, node: Node) -> None:
    for entry in node.values() if isinstance(node, dict) else ():
        if isinstance(entry, dict):
            found.contents += _texts(entry.get("file"))


def _binds(found: NamedFiles, node: Node) -> None:
    for item in _items(node):
        if isinstance(item, dict):
            source = next(_texts(item.get("source")), "") if [*_texts(item.get("type"))] == ["bind"] else ""
        else:
            source = item.text.partition(":")[0] if isinstance(item, Leaf) else ""
        if source.startswith("."):
            found.contents.append(source)


_HANDLERS: Final[dict[str, Callable[[NamedFiles, Node], None]]] = {
    "configs": _definitions,
    "env_file": _text_files,
    "extends": _extends,
    "include": _include,
    "label_file": _text_files,
    "secrets": _definitions,
    "service_volumes": _binds,
}


def _items(node: Node) -> list[Node]:
    """The items of a list, a single node as a list of one."""
    if node is None:
        return []
    return node if isinstance(node, list) else [node]


def _texts(node: Node) -> Iterator[str]:
    """The text of a scalar, or of each scalar of a list."""
    return (item.text for item in _items(node) if isinstance(item, Leaf))
