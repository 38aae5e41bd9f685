"""What a Compose file includes, extends, reads and mounts: the captured nodes of one file, understood.

Follows Compose's rules for relative paths: ``env_file`` and ``include`` from the base directory, an extended file from its own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Protocol

from overseer.compose.bundle import Bundle, below_root, path_fault, resolve
from overseer.compose.document import Document, locate
from overseer.compose.grammar import Reference, Token, scan
from overseer.compose.nodes import Budget, Leaf, Node, Reader
from overseer.compose.positions import Kind
from overseer.compose.walk import Capture
from overseer.core.identifiers import NAME_RULE, is_name

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BAD_BIND = (
    "a bind inside, above or around the secrets root is refused: bind one file right below it, by its plain path",
    "secrets_root_bind",
)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where something was found: the file, the kind of place, the service's name in that file, the tokens and their places."""

    file: str
    kind: Kind
    service: str
    key: str
    places: tuple[tuple[int, int], ...]
    tokens: tuple[Token, ...] = ()
    owner: str = ""  # the Compose file that gives ``service`` its meaning (differs from ``file`` for env_files)


@dataclass(frozen=True, slots=True)
class Delivered:
    """A secret that arrives as a file: from an external secret or a path below the secrets root."""

    reference: Reference
    external: bool
    origin: Origin


class Register(Protocol):
    """Where findings go: the reading of the whole bundle."""

    bundle: Bundle
    main: set[str]
    delivered: list[Delivered]
    extends: dict[tuple[str, str], set[tuple[str, str]]]
    variables: dict[str, None]
    own_variables: set[str]
    nodes: Budget

    def problem(self, file: str, place: tuple[int, int], rule: str, code: str) -> None:
        """Note a problem."""

    def queue(self, path: str, base: str, *, main: bool, chain: tuple[str, ...]) -> None:
        """Read another Compose file."""

    def dotenv(self, path: str, service: str, owner: str, kind: Kind = Kind.ENV_FILE) -> None:
        """Read an env_file, or a label_file: their grammar is one."""

    def define(self, key: str, external: bool, name: str, file: str, origin: Origin) -> None:
        """A top-level secret."""

    def use(self, key: str, origin: Origin) -> None:
        """A service's use of a top-level secret."""


class Captures:
    """Understands the captured nodes of one file: what it includes, extends, reads and mounts."""

    def __init__(self, reading: Register, document: Document, path: str, base: str, chain: tuple[str, ...]) -> None:
        self.reading, self.document, self.path, self.base, self.chain = reading, document, path, base, chain
        self.reader = Reader(document, reading.nodes)

    def read(self, captures: list[Capture]) -> None:
        """Every capture, by its name."""
        handlers = {
            "configs": self.configs,
            "env_file": self.env_file,
            "extends": self.extends,
            "include": self.include,
            "label_file": self.label_file,
            "secrets": self.secrets,
            "service_secrets": self.service_secrets,
            "service_volumes": self.service_volumes,
            "volumes": self.volumes,
        }
        for capture in captures:
            handler = handlers.get(capture.name)
            if handler is not None:
                handler(self.reader.node(capture.event), capture.service)

    def place(self, leaf: Leaf) -> tuple[int, int]:
        return locate(self.document, leaf.index, leaf.text, [-1])[0]

    def origin(self, leaf: Leaf, service: str, key: str = "") -> Origin:
        return Origin(self.path, Kind.STRUCTURE, service, key, (self.place(leaf),), (), self.path)

    def files(self, leaf: Node, *, required: bool = True) -> list[str]:
        """The bundle's files that a written path means; a problem where it is refused or missing."""
        if not isinstance(leaf, Leaf) or scan(leaf.text).tokens:
            return []  # a reference in a path is refused as such
        fault = path_fault(self.base, leaf.text)
        if fault is not None:
            self.reading.problem(self.path, self.place(leaf), *fault)
            return []
        found = self.reading.bundle.find(self.base, leaf.text)
        if not found and required:
            self.reading.problem(self.path, self.place(leaf), "this file is not in the bundle", "missing_file")
        return found

    def env_file(self, node: Node, service: str) -> None:
        for item in node if isinstance(node, list) else [node]:
            path, required, raw = item, True, False
            if isinstance(item, dict):
                path = item.get("path")
                switch, form = item.get("required"), item.get("format")
                required = not (isinstance(switch, Leaf) and switch.text.lower() in {"false", "no", "off", "n"})
                raw = isinstance(form, Leaf) and form.text == "raw"
            for name in self.files(path, required=required):
                if not raw:  # a raw file is not interpolated: "${" is text there
                    self.reading.dotenv(name, service, self.path)

    def label_file(self, node: Node, service: str) -> None:
        for item in node if isinstance(node, list) else [node]:
            for name in self.files(item):
                self.reading.dotenv(name, service, self.path, Kind.LABEL)

    def extends(self, node: Node, service: str) -> None:
        target = node.get("service") if isinstance(node, dict) else node
        if not isinstance(target, Leaf) or not service:
            return
        files = [self.path]
        if isinstance(node, dict) and node.get("file") is not None:
            files = self.files(node["file"])
        for name in files:
            self.reading.extends.setdefault((self.path, service), set()).add((name, target.text))
            if name != self.path:
                self.reading.queue(name, name.rpartition("/")[0], main=False, chain=())

    def include(self, node: Node, _service: str) -> None:
        for item in node if isinstance(node, list) else []:
            entry = item if isinstance(item, dict) else {"path": item}
            paths = entry.get("path")
            names = [name for path in (paths if isinstance(paths, list) else [paths]) for name in self.files(path)]
            directory = entry.get("project_directory")
            base = names[0].rpartition("/")[0] if names else ""
            if isinstance(directory, Leaf):
                fault = path_fault(self.base, (directory.text or ".") + "/x")
                if fault is not None:
                    self.reading.problem(self.path, self.place(directory), *fault)
                    continue
                base = resolve(self.base, directory.text)
            own = entry.get("env_file") is not None or (resolve(base, ".env") in self.reading.bundle.files and base != self.base)
            for name in names:
                if own:
                    self.reading.own_variables.add(name)
                if name in self.chain:
                    first = paths[0] if isinstance(paths, list) else paths
                    place = self.place(first) if isinstance(first, Leaf) else (1, 1)
                    self.reading.problem(self.path, place, "the file includes itself in a circle", "include_cycle")
                else:
                    self.reading.queue(name, "" if base == "." else base, main=True, chain=self.chain)
            env = entry.get("env_file")
            for path in env if isinstance(env, list) else [env] if env is not None else []:
                for name in self.files(path):
                    self.reading.dotenv(name, "", "")
            if env is None:
                self.reading.dotenv(resolve(base, ".env"), "", "")

    def secrets(self, node: Node, _service: str) -> None:
        for key, entry in node.items() if isinstance(node, dict) else ():
            if not isinstance(entry, dict):
                continue
            self._variable(entry)
            external, name, file = entry.get("external"), entry.get("name"), entry.get("file")
            if isinstance(external, dict):  # the form of old Compose files: external: {name: …}
                name, is_external = external.get("name", name), True
            else:
                is_external = isinstance(external, Leaf) and external.is_true
            leaf = next((one for one in (name, external, file) if isinstance(one, Leaf)), None)
            if leaf is None or self.path not in self.reading.main:
                continue
            origin = self.origin(leaf, "", key)
            self.reading.define(key, is_external, name.text if isinstance(name, Leaf) else key, _text(file), origin)
            if isinstance(file, Leaf) and below_root(file.text, self.reading.bundle.secrets_root) == "bad":
                self.reading.problem(self.path, self.place(file), *_BAD_BIND)

    def configs(self, node: Node, _service: str) -> None:
        for entry in node.values() if isinstance(node, dict) else ():
            if isinstance(entry, dict):
                self._variable(entry)

    def _variable(self, entry: dict[str, Node]) -> None:
        """``environment: NAME`` of a top-level secret or config: Compose would write it into the container's disk layer."""
        leaf = entry.get("environment")
        if not isinstance(leaf, Leaf):
            return
        if self.path in self.reading.own_variables:
            rule = "a secret from a variable of an included file is not supported; use ${SECRET:name} or a file"
            self.reading.problem(self.path, self.place(leaf), rule, "included_variable")
        elif not _VARIABLE.fullmatch(leaf.text):
            rule = "write the variable's name out: letters, digits and '_'"
            self.reading.problem(self.path, self.place(leaf), rule, "bad_variable")
        elif self.path in self.reading.main:
            self.reading.variables[leaf.text] = None

    def service_secrets(self, node: Node, service: str) -> None:
        for item in node if isinstance(node, list) else []:
            source = item.get("source") if isinstance(item, dict) else item
            if isinstance(source, Leaf):
                self.reading.use(source.text, self.origin(source, service, source.text))

    def service_volumes(self, node: Node, service: str) -> None:
        for item in node if isinstance(node, list) else []:
            if isinstance(item, dict):
                kind = _text(item.get("type"))
                leaf, source = item.get("source"), _text(item.get("source"))
                if kind not in {"", "bind"}:
                    continue
            else:
                leaf, source = item, _text(item).partition(":")[0]
            if isinstance(leaf, Leaf):
                self._bind(leaf, source, service)

    def _bind(self, leaf: Leaf, source: str, service: str) -> None:
        relation = below_root(source, self.reading.bundle.secrets_root)
        if relation == "bad":
            self.reading.problem(self.path, self.place(leaf), *_BAD_BIND)
        if relation != "file":
            return
        name = source.rstrip("/").rpartition("/")[2]
        if is_name(name):
            self.reading.delivered.append(Delivered(Reference(name), False, self.origin(leaf, service, name)))
        else:
            rule = f"the last part of a path below the secrets root names a secret and is written out; {NAME_RULE}"
            self.reading.problem(self.path, self.place(leaf), rule, "bad_name")

    def volumes(self, node: Node, _service: str) -> None:
        for entry in node.values() if isinstance(node, dict) else ():
            options = entry.get("driver_opts") if isinstance(entry, dict) else None
            device = options.get("device") if isinstance(options, dict) else None
            if isinstance(device, Leaf) and below_root(device.text, self.reading.bundle.secrets_root) is not None:
                self.reading.problem(self.path, self.place(device), *_BAD_BIND)


def _text(node: Node) -> str:
    return node.text if isinstance(node, Leaf) else ""
