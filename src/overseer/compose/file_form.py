"""Where adoption lets an image read a file instead of its environment: ``POSTGRES_PASSWORD_FILE`` and a mount, for one variable.

Only for images and variables of ``file_variables``, whole values, and services that are written as ordinary blocks; where
anything stands against it (an anchor that others use, ``$POSTGRES_PASSWORD`` in a command or a healthcheck, a variable of the new
name, an end of line that images cut off), the value stays in the environment, as a reference. Text in, edits out; nothing is
proven here.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from overseer.compose.bundle import Bundle
from overseer.compose.document import Document, DocumentFault, span
from overseer.compose.edits import Edit
from overseer.compose.emit import double_quoted
from overseer.compose.file_variables import file_variable
from overseer.compose.nodes import Leaf, Node, Reader
from overseer.compose.walk import Walk

if TYPE_CHECKING:
    from overseer.compose.adoption import Finding
    from overseer.compose.bundle_reading import FileScan

RUN_SECRETS: Final = "/run/secrets"
_STARTS: Final = (yaml.MappingStartEvent, yaml.SequenceStartEvent)
_ENDS: Final = (yaml.MappingEndEvent, yaml.SequenceEndEvent)


@dataclass(frozen=True, slots=True)
class FileForm:
    """``service`` gets ``key`` with a path in the place of ``variable``, and the secret ``name`` mounted there."""

    service: str
    variable: str
    key: str
    name: str
    source: str

    @property
    def target(self) -> str:
        """Where the container finds the file."""
        return f"{RUN_SECRETS}/{self.name}"

    @property
    def mount(self) -> str:
        """The volume, as Compose's short form."""
        return f"{self.source}:{self.target}:ro"


def environment_leaves(node: Node) -> Iterator[tuple[str, Leaf, int]]:
    """Key, scalar, and where in its text the value begins, of an ``environment`` in either form."""
    if isinstance(node, dict):
        yield from ((key, leaf, 0) for key, leaf in node.items() if isinstance(leaf, Leaf))
    for item in node if isinstance(node, list) else []:
        if isinstance(item, Leaf) and "=" in item.text:
            yield item.text.partition("=")[0], item, item.text.index("=") + 1


def file_forms(bundle: Bundle, scans: Mapping[str, FileScan], found: Sequence[Finding]) -> dict[int, FileForm]:
    """By the position in ``found``: those that can become files."""
    documents = {path: scan.document for path, scan in scans.items() if scan.document is not None}
    images, uses, keys = _facts(documents)
    text = "\n".join(scan.document.text if scan.document else scan.text for scan in scans.values())
    forms = {}
    for position, one in enumerate(found):
        document = documents.get(one.file)
        known = images.get(one.owner, set())
        if document is None or len(known) != 1 or uses[one.file, one.event] != 1 or not _is_whole(document, one):
            continue
        form = file_variable(next(iter(known)), one.key)
        if form is None or form[0] in keys[one.owner] or re.search(rf"\$\{{?{re.escape(one.key)}\b", text):
            continue
        made = FileForm(one.owner, one.key, form[0], one.name, f"{bundle.secrets_root.rstrip('/')}/{one.name}")
        if _Service.of(document, one) is not None:
            forms[position] = made
    return forms


def file_edits(document: Document, found: Sequence[tuple[Finding, FileForm]]) -> list[Edit]:
    """The edits of one file, in no order: new keys with paths, and each service's mounts once."""
    edits: list[Edit] = []
    mounts: dict[str, dict[str, None]] = defaultdict(dict)
    services: dict[str, _Service] = {}
    for one, form in found:
        service = _Service.of(document, one)
        if service is None:
            continue
        services[form.service] = service
        mounts[form.service][form.mount] = None
        if one.span[0]:  # KEY=VALUE in a list
            edits.append((*span(document, one.event), _quoted_alike(document, one.event, f"{form.key}={form.target}")))
        else:
            edits.append((*span(document, one.event - 1), _quoted_alike(document, one.event - 1, form.key)))
            edits.append((*span(document, one.event), form.target))
    return edits + [services[name].mounting(document, list(lines)) for name, lines in mounts.items()]


@dataclass(frozen=True, slots=True)
class _Service:
    """The block of one service: the index of its ``image``'s event, and of its ``volumes`` (0: it has none)."""

    image: int
    volumes: int
    indent: int

    @classmethod
    def of(cls, document: Document, one: Finding) -> _Service | None:
        """None where it is not written as a block that can be added to."""
        events = document.events
        top = _start_of(events, yaml.DocumentStartEvent) + 1
        for name, services in _pairs(events, top):
            for service, start in _pairs(events, services) if name == "services" else ():
                if service != one.owner or not start < one.event < _behind(events, start) or events[start].flow_style:
                    continue
                parts = dict(_pairs(events, start))
                image, volumes = parts.get("image", 0), parts.get("volumes", 0)
                fits = type(events[volumes]) is yaml.SequenceStartEvent and type(events[volumes + 1]) not in _ENDS
                if not image or type(events[image]) is not yaml.ScalarEvent or "<<" in parts or (volumes and not fits):
                    return None
                return cls(image, volumes, events[start + 1].start_mark.column)
        return None

    def mounting(self, document: Document, lines: Sequence[str]) -> Edit:
        """Add ``lines`` in front of the volumes, or as new ones behind the line of the image."""
        events, text = document.events, document.text
        if self.volumes:
            mark = events[self.volumes].start_mark
            if events[self.volumes].flow_style:
                place = text.index("[", mark.index) + 1
                return place, place, "".join(f"{double_quoted(line)}, " for line in lines)
            place = text.rindex("-", 0, events[self.volumes + 1].start_mark.index)
            column = place - text.rfind("\n", 0, place) - 1
            return place, place, "".join(f"- {line}{_line_end(text, place)}{' ' * column}" for line in lines)
        place = text.find("\n", events[self.image].end_mark.index)
        place = len(text) if place < 0 else place
        end = _line_end(text, place)
        place -= text[:place].endswith("\r")
        head = f"{end}{' ' * self.indent}volumes:"
        return place, place, head + "".join(f"{end}{' ' * self.indent}  - {line}" for line in lines)


def _facts(
    documents: Mapping[str, Document],
) -> tuple[dict[str, set[str]], Counter[tuple[str, int]], dict[str, set[str]]]:
    """Images by service, how often each scalar of an environment is used, and the variables by service."""
    images: dict[str, set[str]] = defaultdict(set)
    uses: Counter[tuple[str, int]] = Counter()
    keys: dict[str, set[str]] = defaultdict(set)
    for path, document in documents.items():
        reader = Reader(document)
        try:
            for capture in Walk(document).run().captures:
                node = reader.node(capture.event) if capture.name in ("environment", "image") else None
                if capture.name == "image" and isinstance(node, Leaf):
                    images[capture.service].add(node.text)
                for key, leaf, _ in environment_leaves(node):
                    uses[path, leaf.index] += 1
                    keys[capture.service].add(key)
        except DocumentFault:
            continue
    return images, uses, keys


def _is_whole(document: Document, one: Finding) -> bool:
    """The value is all that stands there, and a shell that reads the file gives it back: it cuts off ends of lines, no more."""
    value, text = one.value.reveal(), document.events[one.event].value
    is_all = one.span[1] == len(text) and one.span[0] in (0, len(one.key) + 1)
    key = document.events[one.event - 1]
    named = one.span[0] > 0 or (type(key) is yaml.ScalarEvent and key.value == one.key)
    plain = document.events[one.event].anchor is None and b"\0" not in value and not value.endswith((b"\n", b"\r"))
    return is_all and named and plain and "URL" not in one.why


def _quoted_alike(document: Document, event: int, text: str) -> str:
    return double_quoted(text) if document.events[event].style in {'"', "'", "|", ">"} else text


def _line_end(text: str, place: int) -> str:
    line = text.find("\n", place)
    line = text.rfind("\n", 0, place) if line < 0 else line
    return "\r\n" if line > 0 and text[line - 1] == "\r" else "\n"


def _start_of(events: Sequence[Any], kind: type) -> int:
    return next((index for index, event in enumerate(events) if type(event) is kind), len(events))


def _behind(events: Sequence[Any], index: int) -> int:
    """The index of the first event behind the node that begins at ``index``."""
    depth = 0
    while index < len(events):
        depth += isinstance(events[index], _STARTS) - isinstance(events[index], _ENDS)
        index += 1
        if depth <= 0:
            break
    return index


def _pairs(events: Sequence[Any], start: int) -> Iterator[tuple[str, int]]:
    """Keys of the mapping that begins at ``start``, each with the index of its value; nothing where it is no mapping."""
    if start >= len(events) or type(events[start]) is not yaml.MappingStartEvent:
        return
    index = start + 1
    while index < len(events) and type(events[index]) is not yaml.MappingEndEvent:
        key = events[index]
        value = _behind(events, index)
        if type(key) is yaml.ScalarEvent:
            yield key.value, value
        index = _behind(events, value)
