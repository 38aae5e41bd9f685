"""One YAML file as the parser's events with their marks: where each scalar lies, what stands there, how to replace only it.

Guarantees: nothing is expanded (an alias is walked again at the place where it is used, within a budget, so an alias bomb ends
quickly and in bounded memory), nothing recurses on the depth of the file, and :func:`splice` leaves every byte outside the
replaced scalars as it was: comments, anchors, tags, merge keys, line ends, byte order mark.
It does not judge whether the file is a valid Compose file; that is Compose's job.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from overseer.compose.emit import double_quoted
from overseer.compose.positions import ROOT, Kind, Place

MAX_BYTES: Final = 5 * 1024 * 1024
MAX_DEPTH: Final = 200
MAX_STEPS: Final = 2_000_000
MAX_ALIAS_DEPTH: Final = 64
BOM: Final = "\ufeff"

_PROPERTY: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*\n|&[^\s]+(?=\s)|!<[^>]*>|![^\s]*(?=\s))")
_HEADER_COMMENT: Final = re.compile(r"[|>][0-9+-]*[ \t]+(#[^\r\n]*)")
_OURS: Final = re.compile(r"\$\{\s*secret\s*:(?![-?+])", re.IGNORECASE)


class DocumentFault(Exception):
    """The file cannot be walked. ``line`` and ``column`` count from one; ``rule`` never quotes the file."""

    def __init__(self, line: int, column: int, rule: str, code: str) -> None:
        super().__init__(rule)
        self.line, self.column, self.rule, self.code = line, column, rule, code


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar that holds a dollar, at one use: ``index`` is the event's, ``key`` the mapping key it stands under."""

    index: int
    value: str
    kind: Kind
    pair: bool
    service: str | None
    key: str


@dataclass(frozen=True, slots=True)
class Capture:
    """A node that the reader of bundles asked for (``positions.Place.capture``): its events begin at ``index``."""

    name: str
    service: str | None
    index: int


@dataclass(slots=True)
class Document:
    """The parsed file: ``text`` without its byte order mark, the events, and the fault that ended parsing early."""

    text: str
    bom: bool
    events: list[Any]
    fault: DocumentFault | None
    anchors: dict[int, int] = field(default_factory=dict)  # index of an alias event -> index of the anchored node

    @property
    def holds_reference_text(self) -> bool:
        """True where the raw text shows something that looks like a reference."""
        return _OURS.search(self.text) is not None


def decode(data: bytes) -> str:
    """The text of ``data``; :class:`DocumentFault` where it is no UTF-8 or longer than :data:`MAX_BYTES`."""
    if len(data) > MAX_BYTES:
        raise DocumentFault(1, 1, f"the file is longer than {MAX_BYTES} bytes", "too_large")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentFault(line, 1, "the file is not UTF-8 text; save it as UTF-8", "not_utf8") from None


def parse(data: bytes) -> Document:
    """Parse ``data`` as far as it is YAML. Broken YAML is not raised but kept as ``fault``; undecodable bytes are raised."""
    text = decode(data)
    bom = text.startswith(BOM)
    if bom:
        text = text[1:]
    document = Document(text, bom, [], None)
    append = document.events.append
    try:
        for event in yaml.parse(text, yaml.CSafeLoader):
            append(event)
    except yaml.MarkedYAMLError as error:
        document.fault = _fault(text, error)
    except yaml.YAMLError as error:
        offset = getattr(error, "position", 0) or 0
        head = text.encode("utf-8")[:offset].decode("utf-8", "ignore")
        rule = "the file holds a character that YAML does not allow"
        document.fault = DocumentFault(head.count("\n") + 1, len(head) - head.rfind("\n"), rule, "broken_yaml")
    return document


def _fault(text: str, error: yaml.MarkedYAMLError) -> DocumentFault:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return DocumentFault(1, 1, "the file is not YAML", "broken_yaml")
    for start in (mark.index, mark.index - 1):
        if start >= 0 and _OURS.match(text, start):
            rule = 'put the reference in quotes: in [...] and {...} an unquoted "${" ends the text'
            return DocumentFault(mark.line + 1, mark.column + 1 - (mark.index - start), rule, "quote_reference")
    if "mark" not in (problem := str(error.problem or "")) and re.fullmatch(r"[\w ,'\"<>:?\[\]{}-]*", problem):
        return DocumentFault(mark.line + 1, mark.column + 1, f"the file is not YAML here: {problem}", "broken_yaml")
    return DocumentFault(mark.line + 1, mark.column + 1, "the file is not YAML here", "broken_yaml")


class Walk:
    """Walk a document over the automaton of places; gathers scalars with a dollar and captured nodes, once per different use."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.scalars: list[Scalar] = []
        self.captures: list[Capture] = []
        self._steps = MAX_STEPS
        self._seen: set[tuple[int, int, str | None]] = set()

    def run(self, root: Place = ROOT) -> Walk:
        """Walk everything; :class:`DocumentFault` past the limits of depth and work."""
        _link(self.document)
        events = self.document.events
        for index, event in enumerate(events):
            if type(event) is yaml.DocumentStartEvent and index + 1 < len(events):
                self._node(index + 1, root, None, "", 0)
        return self

    def _node(self, start: int, place: Place, service: str | None, key: str, alias_depth: int) -> None:
        """Walk the node that begins at ``start`` and stop after it."""
        events, anchors = self.document.events, self.document.anchors
        # A frame: [is a mapping, place, key or None, service, place of list items or None]. ``head`` is the frame on top.
        stack: list[list[Any]] = [[False, place, key, service, place]]
        head = stack[0]
        scalars, captures = self.scalars.append, self.captures.append
        for index in range(start, len(events)):
            event = events[index]
            kind = type(event)
            if kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                stack.pop()
                head = stack[-1]
                if len(stack) == 1:
                    break
                if head[0]:
                    head[2] = None if head[2] is not None else ""
                continue
            is_mapping, here, under, owner, items = head
            if is_mapping and under is None:  # a key
                if kind is yaml.AliasEvent:
                    event = events[anchors.get(index, index)]
                    kind = type(event)
                if kind is yaml.ScalarEvent:
                    head[2] = value = event.value
                    if "$" in value:
                        scalars(Scalar(index, value, Kind.KEY, False, owner, value))
                    continue
                if kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                    frame = [kind is yaml.MappingStartEvent, _KEYS, None, owner, _KEYS]
                    stack.append(frame)
                    head = frame
                else:
                    head[2] = ""
                continue
            merge = False
            if not is_mapping:
                target = items
            elif under == "<<":
                target, merge = here, True
            else:
                target = here.child(under)
                if here.service_names:
                    owner = under
            if kind is yaml.ScalarEvent:
                if "$" in event.value:
                    scalars(Scalar(index, event.value, target.kind, target.pair, owner, under or ""))
                if target.capture:
                    captures(Capture(target.capture, owner, index))
            elif kind is yaml.AliasEvent:
                self._alias(index, target, owner, under or "", alias_depth)
            else:
                if target.capture and not merge:
                    captures(Capture(target.capture, owner, index))
                if len(stack) > MAX_DEPTH:
                    mark = event.start_mark
                    raise DocumentFault(mark.line + 1, mark.column + 1, f"nested more than {MAX_DEPTH} deep", "too_deep")
                # The items of a list below "<<" are mappings merged into this very place.
                inner = target if merge else target.item()
                frame = [kind is yaml.MappingStartEvent, target, None if kind is yaml.MappingStartEvent else under, owner, inner]
                stack.append(frame)
                head = frame
                continue
            if is_mapping:
                head[2] = None
            if len(stack) == 1:
                break
        self._steps -= index - start + 1
        if self._steps < 0:
            raise DocumentFault(1, 1, "the file's aliases expand to too much", "alias_bomb")

    def _alias(self, index: int, place: Place, service: str | None, key: str, depth: int) -> None:
        """Walk the anchored node again at the place where it is used."""
        target = self.document.anchors.get(index)
        if target is None or (target, id(place), service) in self._seen:
            return
        self._seen.add((target, id(place), service))
        if depth >= MAX_ALIAS_DEPTH:
            mark = self.document.events[index].start_mark
            raise DocumentFault(mark.line + 1, mark.column + 1, "aliases are nested too deeply", "alias_bomb")
        self._node(target, place, service, key, depth + 1)


_KEYS: Final = Place(Kind.KEY)
_KEYS.other = _KEYS.items = _KEYS


def _link(document: Document) -> None:
    """Resolve each alias to the node it names (the last anchor of that name before it, within its document)."""
    names: dict[str, int] = {}
    for index, event in enumerate(document.events):
        kind = type(event)
        if kind is yaml.DocumentStartEvent:
            names.clear()
        elif kind is yaml.AliasEvent:
            if event.anchor in names:
                document.anchors[index] = names[event.anchor]
        elif getattr(event, "anchor", None) is not None:
            names[event.anchor] = index


def span(document: Document, index: int) -> tuple[int, int]:
    """Where the scalar of event ``index`` lies in ``document.text``, without its anchor, its tag and trailing blank lines."""
    event, text = document.events[index], document.text
    start, end = event.start_mark.index, event.end_mark.index
    if event.anchor is not None or event.tag is not None:
        while found := _PROPERTY.match(text, start, end):
            start = found.end()
    if event.style in {"|", ">"}:
        end = start + len(text[start:end].rstrip(" \t\r\n"))
    return start, end


def splice(document: Document, values: dict[int, str]) -> bytes:
    """The file with the scalars of ``values`` (event index to new text) re-emitted in double quotes, all else untouched."""
    text, parts, cursor = document.text, [BOM] if document.bom else [], 0
    for index in sorted(values):
        start, end = span(document, index)
        parts += (text[cursor:start], double_quoted(values[index]))
        if document.events[index].style in {"|", ">"} and (comment := _HEADER_COMMENT.match(text, start, end)):
            parts += (" ", comment.group(1))
        cursor = end
    parts.append(text[cursor:])
    return "".join(parts).encode("utf-8")


_OPENING: Final = re.compile(r"\$\{")


def locate(document: Document, index: int, value: str, offsets: Sequence[int]) -> list[tuple[int, int]]:
    """Line and column (from one) in the file of each offset into the scalar's decoded ``value``; of the scalar where unsure."""
    start, end = span(document, index)
    text = document.text
    mark = document.events[index].start_mark
    line, line_start = mark.line + 1, mark.index - mark.column
    if start != mark.index:
        line += text.count("\n", mark.index, start)
        line_start = max(line_start, text.rfind("\n", 0, start) + 1)
    origin = (line, start - line_start + 1)
    raw = [found.start() for found in _OPENING.finditer(text, start, end)]
    decoded = [found.start() for found in _OPENING.finditer(value)]
    if len(raw) != len(decoded):
        return [origin] * len(offsets)
    at = dict(zip(decoded, raw, strict=True))
    places: list[tuple[int, int]] = []
    cursor = start
    for offset in offsets:
        position = at.get(offset)
        if position is None:
            places.append(origin)
            continue
        if position >= cursor:
            breaks = text.count("\n", cursor, position)
            if breaks:
                line, line_start = line + breaks, text.rfind("\n", cursor, position) + 1
            cursor = position
        places.append((line, position - line_start + 1))
    return places
