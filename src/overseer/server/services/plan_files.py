"""The Compose files of a bundle as plain structures, as far as that goes without Compose.

Anchors and merge keys are resolved, included files are followed; variables and ``extends`` are left to whoever compares. Text
stays text, references too, so that two bundles can be compared without a value.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from overseer.compose.bundle import Bundle, resolve
from overseer.compose.document import DocumentFault
from overseer.compose.nodes import Leaf, Node, Reader
from overseer.compose.references import BundleScan
from overseer.core.errors import TooLarge

SECTIONS: Final = ("configs", "networks", "secrets", "volumes")
MAX_TEXT: Final = 32 * 1024 * 1024
"""Characters of all definitions together, with every alias and every extended service written out."""
_TOO_MUCH: Final = "the bundle's aliases, extended services or env_files come to too much text to be planned"
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_VARIABLE: Final = re.compile(r"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_REFERENCE_HEAD: Final = re.compile(r"\$\{SECRET:(?![-?+])")


@dataclass(frozen=True, slots=True)
class Definition:
    """A service or a top-level entry as one file defines it; ``base`` is the directory that its relative paths are of."""

    path: str
    base: str
    body: Any = field(repr=False)
    included: bool = False


@dataclass(repr=False)
class StackFiles:
    """``services`` and ``sections`` by name, each with its definitions in the order in which Compose merges them."""

    bundle: Bundle
    scan: BundleScan
    services: dict[str, list[Definition]] = field(default_factory=dict)
    sections: dict[str, dict[str, list[Definition]]] = field(default_factory=lambda: {name: {} for name in SECTIONS})
    _roots: dict[str, dict[str, Any]] = field(default_factory=dict)
    _left: int = MAX_TEXT

    def root(self, path: str) -> dict[str, Any]:
        """The top level of one file of the bundle that Compose reads, the documents of it merged; empty where it is broken."""
        if path not in self._roots:
            self._roots[path] = self._root(path)
        return self._roots[path]

    def spend(self, value: Any) -> None:
        """Count what is about to be written out, before it is. :class:`TooLarge` past :data:`MAX_TEXT`."""
        self._left -= _weight(value)
        if self._left < 0:
            raise TooLarge(_TOO_MUCH)

    def _root(self, path: str) -> dict[str, Any]:
        file = self.scan.scans.get(path)
        merged: dict[str, Any] = {}
        if file is None or file.document is None:
            return merged
        try:
            reader = Reader(file.document)
            starts = [i for i, event in enumerate(file.document.events) if type(event).__name__ == "DocumentStartEvent"]
            for start in starts:
                found = unmarked(reader.node(start + 1))
                merged |= found if isinstance(found, dict) else {}
        except DocumentFault:
            raise TooLarge(_TOO_MUCH) from None  # what is broken was refused before
        return merged

    def text_files(self, base: str, paths: Any) -> list[tuple[str, str]]:
        """The files that a service reads lines from (``env_file``, ``label_file``), each with its content."""
        found = []
        for item in paths if isinstance(paths, list) else [paths]:
            path = item.get("path") if isinstance(item, dict) else item
            if isinstance(path, str):
                found += [(name, self.content(name)) for name in self.bundle.find(base, path)]
        return found

    def content(self, path: str) -> str:
        """A file as text; what is no UTF-8 is only compared."""
        return self.bundle.files[path].decode("utf-8", "replace")

    def shipped(self, base: str, path: str) -> dict[str, str]:
        """The digests of the bundle's files at or below a path that a container mounts."""
        if path.startswith(("/", "~")):
            return {}
        place = resolve(base, path)
        below = "" if place == "." else place + "/"
        return {
            name: hashlib.sha256(data).hexdigest()
            for name, data in self.bundle.files.items()
            if name == place or name.startswith(below)
        }


def read_stack(bundle: Bundle, scan: BundleScan) -> StackFiles:
    """Every definition of the files that Compose starts from, and of what they include."""
    stack = StackFiles(bundle, scan)
    mains = bundle.main_files()
    base = mains[0].rpartition("/")[0] if mains else ""
    for path in mains:
        _read(stack, path, base, (), included=False)
    return stack


def _read(stack: StackFiles, path: str, base: str, chain: tuple[str, ...], *, included: bool) -> None:
    if path in chain:
        return
    root = stack.root(path)
    for target, project in _includes(stack.bundle, base, root.get("include")):
        _read(stack, target, project, (*chain, path), included=True)
    for name, body in _entries(root.get("services")):
        stack.services.setdefault(name, []).append(Definition(path, base, body, included))
    for section in SECTIONS:
        for name, body in _entries(root.get(section)):
            stack.sections[section].setdefault(name, []).append(Definition(path, base, body, included))


def _includes(bundle: Bundle, base: str, entries: Any) -> Iterator[tuple[str, str]]:
    for item in entries if isinstance(entries, list) else []:
        entry = item if isinstance(item, dict) else {"path": item}
        paths = entry.get("path")
        names = [
            name
            for path in (paths if isinstance(paths, list) else [paths])
            if isinstance(path, str)
            for name in bundle.find(base, path)
        ]
        directory = entry.get("project_directory")
        own = names[0].rpartition("/")[0] if names else ""
        if isinstance(directory, str):
            own = resolve(base, directory)
        for name in names:
            yield name, "" if own == "." else own


def _entries(node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict):
        yield from node.items()


def unmarked(node: Node) -> Any:
    """A node as dictionaries, lists, texts and None."""
    if isinstance(node, Leaf):
        return None if node.plain and node.text in _NULLS else node.text
    if isinstance(node, list):
        return [unmarked(item) for item in node]
    if isinstance(node, dict):
        return {key: unmarked(value) for key, value in node.items()}
    return None


def texts_in(value: Any) -> Iterator[str]:
    """Every text of a structure, keys not."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from texts_in(item)


def mapping(node: Any) -> Any:
    """``environment``, ``labels`` and the like as a mapping, whether they are written as one or as a list of KEY=VALUE."""
    if not isinstance(node, list) or not all(isinstance(item, str) for item in node):
        return node
    return {key: value if equals else None for key, equals, value in (item.partition("=") for item in node)}


def canonical(value: Any) -> str:
    """One text for one content."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def variables_in(text: str) -> set[str]:
    """The names of Compose's own variables in a text."""
    return set(_VARIABLE.findall(_REFERENCE_HEAD.sub("", text.replace("$$", ""))))


def _weight(value: Any) -> int:
    if isinstance(value, dict):
        return sum(len(key) + 4 + _weight(item) for key, item in value.items())
    if isinstance(value, list | tuple):
        return sum(2 + _weight(item) for item in value)
    return len(value) if isinstance(value, str) else 4
