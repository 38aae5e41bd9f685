"""Lint: what in a bundle endangers secrets, or will not work. Findings with stable rule ids (``findings.RULES``).

Guarantees: no message holds a value; findings are sorted by place and each stands once; broken files give findings, not errors.
It reads the bundle only: what an image or a node does is not seen here.
"""

from __future__ import annotations

from collections.abc import Iterator

from overseer.compose import plaintext
from overseer.compose.bundle import Bundle
from overseer.compose.bundle_reading import FileScan
from overseer.compose.document import Document, DocumentFault, locate
from overseer.compose.file_variables import file_variable
from overseer.compose.findings import RULES, Finding
from overseer.compose.grammar import scan
from overseer.compose.lines import Lines
from overseer.compose.mounts import OWN_DIRECTORIES
from overseer.compose.nodes import Leaf, Node, Reader
from overseer.compose.positions import EXPOSED, METADATA, Kind
from overseer.compose.references import BundleScan, Form, Occurrence, find_references
from overseer.compose.walk import Walk

_FIXABLE = frozenset({"malformed_reference", "quote_reference"})


def lint_bundle(bundle: Bundle) -> tuple[Finding, ...]:
    """Every finding of ``bundle``, sorted by place."""
    result = find_references(bundle, allow_persisting=True)
    found: list[Finding] = list(_problems(result))
    mentions: dict[str, set[str]] = {}
    images: dict[str, str] = {}
    for file in result.scans.values():
        if file.document is not None:
            found += _File(bundle, file, file.document, mentions, images).findings()
        else:
            found += _env_file(file)
    found += _occurrences(result, mentions, images)
    return tuple(sorted(dict.fromkeys(found), key=lambda one: (one.file, one.line, one.column, one.rule)))


def _problems(result: BundleScan) -> Iterator[Finding]:
    for problem in result.problems:
        file, _, rest = problem.place.partition(":")
        line, _, column = rest.partition(":")
        place = (int(line), int(column)) if column else (1, 1)
        yield Finding("OVS009", file, *place, problem.rule, fixable=problem.code in _FIXABLE)


def _occurrences(result: BundleScan, mentions: dict[str, set[str]], images: dict[str, str]) -> Iterator[Finding]:
    for one in result.occurrences:
        said = f'secret "{one.reference}"'
        place = (one.file, one.line, one.column)
        service = one.services[0] if len(one.services) == 1 else ""
        if one.kind in METADATA:
            yield Finding("OVS002", *place, f"{said} would be kept in metadata ({one.kind.value})", service)
        elif one.kind in EXPOSED:
            yield Finding("OVS003", *place, f"{said} would be kept with the container ({one.kind.value})", service)
        elif one.kind in {Kind.ENVIRONMENT, Kind.ENV_FILE} and one.form is Form.INLINE and one.services:
            yield from _environment(one, said, mentions, images)


def _environment(one: Occurrence, said: str, mentions: dict[str, set[str]], images: dict[str, str]) -> Iterator[Finding]:
    place = (one.file, one.line, one.column)
    service = one.services[0] if len(one.services) == 1 else ""
    if one.kind is Kind.ENV_FILE:
        yield Finding("OVS007", *place, f"{said} goes to every service that reads this file: {', '.join(one.services)}", service)
    for name in one.services:
        form = file_variable(images.get(name, ""), one.key)
        if form is not None:
            yield Finding("OVS005", *place, f'{said}: the image of "{name}" reads {form[0]} from a file ({form[1]})', name)
        else:
            message = f'{said} in the environment of "{name}" is kept on the node\'s disk with the container'
            yield Finding("OVS010", *place, message, name)
    if len(one.services) > 1:
        for name in one.services:
            if str(one.reference.name) not in mentions.get(name, set()):
                message = f'service "{name}" receives {said} through a shared file or anchor and never mentions it'
                yield Finding("OVS004", *place, message, name)


class _File:
    """The findings of one Compose file; fills ``mentions`` (service: names in its own text) and ``images``."""

    def __init__(
        self, bundle: Bundle, file: FileScan, document: Document, mentions: dict[str, set[str]], images: dict[str, str]
    ) -> None:
        self.bundle, self.path, self.document = bundle, file.path, document
        self.mentions, self.images = mentions, images
        self.reader = Reader(document)
        self.told: set[int] = set()  # lines with a known form of token: what its variable is called adds nothing

    def findings(self) -> Iterator[Finding]:
        try:
            walk = Walk(self.document).run()
            yield from self._tokens()
            for scalar in walk.scalars:
                scanned = scan(scalar.value)
                if scanned.plain_variables:
                    offsets = scanned.plain_variables
                    yield from self._at(scalar.event, scalar.value, offsets, "OVS008", RULES["OVS008"].summary, scalar.service)
                if scalar.splits and scanned.tokens:
                    offsets = tuple(token.start for token in scanned.tokens)
                    yield from self._at(scalar.event, scalar.value, offsets, "OVS012", RULES["OVS012"].summary, scalar.service)
                if scalar.service and not scalar.by_alias:
                    self.mentions.setdefault(scalar.service, set()).update(token.reference.name for token in scanned.tokens)
            for capture in walk.captures:
                node = self.reader.node(capture.event)
                if capture.name == "environment":
                    yield from self._environment(node, capture.service)
                elif capture.name == "image" and isinstance(node, Leaf):
                    self.images[capture.service] = node.text
                elif capture.name == "env_file":
                    yield from self._raw_files(node, capture.service)
                elif capture.name == "service_volumes":
                    yield from self._volumes(node, capture.service)
        except DocumentFault:
            return  # find_references has told

    def _at(self, event: int, value: str, offsets: tuple[int, ...], rule: str, message: str, service: str) -> Iterator[Finding]:
        for line, column in locate(self.document, event, value, offsets):
            yield Finding(rule, self.path, line, column, message, service, fixable=rule == "OVS012")

    def _tokens(self) -> Iterator[Finding]:
        """Known forms of tokens anywhere in the text, comments too: whoever reads the file reads them."""
        text = self.document.text
        lines = Lines(text)
        for start, _, message in plaintext.tokens(text):
            line, column = lines.at(start)
            self.told.add(line)
            yield Finding("OVS001", self.path, line, column, message)

    def _environment(self, node: Node, service: str) -> Iterator[Finding]:
        pairs: list[tuple[str, str, Leaf]] = []
        if isinstance(node, dict):
            pairs = [(key, leaf.text, leaf) for key, leaf in node.items() if isinstance(leaf, Leaf)]
        elif isinstance(node, list):
            leaves = [leaf for leaf in node if isinstance(leaf, Leaf) and "=" in leaf.text]
            pairs = [(leaf.text.partition("=")[0], leaf.text.partition("=")[2], leaf) for leaf in leaves]
        for key, value, leaf in pairs:
            why = plaintext.in_variable(key, value)
            if why is not None:
                found = self._at(leaf.index, leaf.text, (-1,), "OVS001", why, service)
                yield from (one for one in found if one.line not in self.told)

    def _raw_files(self, node: Node, service: str) -> Iterator[Finding]:
        for item in node if isinstance(node, list) else []:
            path = item.get("path") if isinstance(item, dict) and _text(item.get("format")) == "raw" else None
            if isinstance(path, Leaf) and any(
                b"${SECRET:" in self.bundle.files[name] for name in self.bundle.find(self.path.rpartition("/")[0], path.text)
            ):
                message = "a raw env_file is not interpolated: the reference in it is plain text"
                yield from self._at(path.index, path.text, (-1,), "OVS011", message, service)

    def _volumes(self, node: Node, service: str) -> Iterator[Finding]:
        for item in node if isinstance(node, list) else []:
            if isinstance(item, dict):
                leaf, target = item.get("source"), item.get("target")
                source, inside = _text(leaf), _text(target)
            else:
                leaf = item
                source, _, rest = _text(item).partition(":")
                inside = rest.partition(":")[0]
            if not isinstance(leaf, Leaf) or not source.startswith(self.bundle.secrets_root.rstrip("/") + "/"):
                continue
            if not any(inside.startswith(own + "/") for own in OWN_DIRECTORIES):
                yield from self._at(leaf.index, leaf.text, (-1,), "OVS006", RULES["OVS006"].summary, service)


def _text(node: Node) -> str:
    return node.text if isinstance(node, Leaf) else ""


def _env_file(file: FileScan) -> Iterator[Finding]:
    lines = Lines(file.text)
    told: set[int] = set()
    for start, _, message in plaintext.tokens(file.text):
        line, column = lines.at(start)
        told.add(line)
        yield Finding("OVS001", file.path, line, column, message)
    for entry in file.entries:
        line, column = lines.at(entry.start)
        why = plaintext.in_variable(entry.key, entry.text)
        if why is not None and line not in told:
            yield Finding("OVS001", file.path, line, column, why)
        scanned = scan(entry.text)
        if entry.quote == "'" and scanned.tokens:
            yield Finding("OVS011", file.path, line, column, "in single quotes the reference is plain text; use double quotes")
        elif scanned.plain_variables:
            yield Finding("OVS008", file.path, line, column, RULES["OVS008"].summary)
