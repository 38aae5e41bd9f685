"""One YAML file as the parser's events with their marks: where each scalar lies, what stands there, how to replace only it.

Guarantees: aliases are not expanded, nothing recurses on the depth of the file, and :func:`splice` leaves every byte outside the
replaced scalars as it was: comments, anchors, tags, merge keys, line ends, byte order mark.
It does not judge whether the file is a valid Compose file; that is Compose's job.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

import yaml

from overseer.compose.edits import Edit, replaced
from overseer.compose.emit import double_quoted

MAX_BYTES: Final = 5 * 1024 * 1024
MAX_EVENTS: Final = 250_000  # about 200 bytes of memory each
MAX_DEPTH: Final = 200
MAX_DIRECTIVES: Final = 64
MAX_FAULTS: Final = 200
MAX_REPARSED: Final = 4 * MAX_BYTES  # characters of one file that are looked at again behind a fault
_CHUNK: Final = 4096
_DEEPER: Final = {
    yaml.MappingStartEvent: 1,
    yaml.SequenceStartEvent: 1,
    yaml.MappingEndEvent: -1,
    yaml.SequenceEndEvent: -1,
}
_BINARY: Final = "tag:yaml.org,2002:binary"
BOM: Final = "\ufeff"

_PROPERTY: Final = re.compile(r"(?:[ \t\r\n]+|#[^\n]*\n|&[^\s]+(?=\s)|!<[^>]*>|![^\s]*(?=\s))")
_HEADER_COMMENT: Final = re.compile(r"[|>][0-9+-]*[ \t]+(#[^\r\n]*)")
_OPENED: Final = re.compile(r"\$\{\s*secret\b[^}]*\Z", re.IGNORECASE)
_CLOSED: Final = re.compile(r"\$\{[^}\r\n]*\}")
_OURS: Final = re.compile(r"\$\{\s*secret\s*:(?![-?+])", re.IGNORECASE)


class DocumentFault(Exception):
    """The file cannot be read as it stands. ``line`` and ``column`` count from one; ``rule`` never quotes the file.

    ``reference`` is where in the text the reference lies that YAML stumbled over, if it was one.
    """

    def __init__(self, line: int, column: int, rule: str, code: str, reference: tuple[int, int] | None = None) -> None:
        super().__init__(rule)
        self.line, self.column, self.rule, self.code, self.reference = line, column, rule, code, reference


@dataclass(slots=True)
class Document:
    """The parsed file: ``text`` without its byte order mark, the events, and every fault in the order of the text.

    With a fault the events are good for finding further problems only: where YAML stumbled over a reference they hold a word of
    the same length in its place, and where it could not go on they end early.
    """

    source: bytes
    text: str
    bom: bool
    events: list[Any]
    faults: list[DocumentFault] = field(default_factory=list)
    anchors: dict[int, int] = field(default_factory=dict)  # index of an alias event -> index of the anchored node

    @property
    def fault(self) -> DocumentFault | None:
        """The first fault, ``None`` where the file is YAML."""
        return self.faults[0] if self.faults else None

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


def too_many_directives(text: str) -> bool:
    """Whether libyaml would be kept busy before it says anything: it compares each directive with all before it."""
    return text.count("%TAG") > MAX_DIRECTIVES


def parse(data: bytes, max_events: int = MAX_EVENTS) -> Document:
    """Parse ``data`` as far as it is YAML. Broken YAML is not raised but kept in ``faults``; undecodable bytes are raised.

    An unquoted or misspelled reference does not hide what follows it: parsing goes on behind it, :data:`MAX_FAULTS` times.
    """
    text = decode(data)
    if too_many_directives(text):
        raise DocumentFault(1, 1, f"the file has more than {MAX_DIRECTIVES} %TAG directives", "too_large")
    bom = text.startswith(BOM)
    if bom:
        text = text[1:]
    document = Document(data, text, bom, [])
    masked, work = text, 0
    while (fault := _parse_once(document, masked, max_events)) is not None:
        document.faults.append(fault)
        work += len(text)
        if fault.reference is None or len(document.faults) >= MAX_FAULTS or work > MAX_REPARSED:
            break
        start, end = fault.reference
        masked = f"{masked[:start]}{'x' * (end - start)}{masked[end:]}"
        document.events.clear()
    if "*" in text:
        _link(document)
    if "!" in text:
        document.faults += _encoded(document)
    return document


def _encoded(document: Document) -> Iterator[DocumentFault]:
    """Text that Compose decodes from base64 before it uses it: what is read here would be another text than Compose's."""
    for event in document.events:
        if getattr(event, "tag", None) == _BINARY:
            mark = event.start_mark
            yield DocumentFault(mark.line + 1, mark.column + 1, "write the text out: !!binary is refused", "binary_text")


def _parse_once(document: Document, text: str, max_events: int) -> DocumentFault | None:
    """Fill ``document.events`` from ``text``; what ended it early."""
    try:
        _read(document, iter(yaml.CSafeLoader(text).get_event, None), max_events)
    except DocumentFault as fault:
        return fault
    except yaml.MarkedYAMLError as error:
        return _fault(text, error)
    except yaml.YAMLError as error:
        offset = getattr(error, "position", 0) or 0
        head = text.encode("utf-8")[:offset].decode("utf-8", "ignore")
        rule = "the file holds a character that YAML does not allow"
        return DocumentFault(head.count("\n") + 1, len(head) - head.rfind("\n"), rule, "broken_yaml")
    return None


def _read(document: Document, events: Iterator[Any], max_events: int) -> None:
    """Read all events, looking at the limits only now and then: an ordinary file is one chunk."""
    depth = 0
    while True:
        before = len(document.events)
        document.events.extend(islice(events, _CHUNK))  # what comes before an error stays
        chunk = document.events[before:]
        if len(chunk) < _CHUNK:
            return
        depth += sum(_DEEPER.get(type(event), 0) for event in chunk)
        too_many = len(document.events) > max_events
        if depth > MAX_DEPTH or too_many:
            mark = chunk[-1].start_mark
            rule = f"the file has more than {max_events} parts" if too_many else f"nested more than {MAX_DEPTH} deep"
            raise DocumentFault(mark.line + 1, mark.column + 1, rule, "too_large" if too_many else "too_deep")


def _fault(text: str, error: yaml.MarkedYAMLError) -> DocumentFault:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return DocumentFault(1, 1, "the file is not YAML", "broken_yaml")
    for start in (mark.index, mark.index - 1):
        if start >= 0 and _OURS.match(text, start):
            rule = 'put the reference in quotes: in [...] and {...} an unquoted "${" ends the text'
            column = mark.column + 1 - (mark.index - start)
            return DocumentFault(mark.line + 1, column, rule, "quote_reference", _reference_span(text, start))
    opened = _OPENED.search(text, text.rfind("\n", 0, mark.index) + 1, mark.index)
    if opened is not None:
        rule = 'write a reference as "${SECRET:name}": no blanks in it, and in quotes where other characters follow'
        column = mark.column + 1 - (mark.index - opened.start())
        return DocumentFault(mark.line + 1, column, rule, "malformed_reference", _reference_span(text, opened.start()))
    if "mark" not in (problem := str(error.problem or "")) and re.fullmatch(r"[\w ,'\"<>:?\[\]{}-]*", problem):
        return DocumentFault(mark.line + 1, mark.column + 1, f"the file is not YAML here: {problem}", "broken_yaml")
    return DocumentFault(mark.line + 1, mark.column + 1, "the file is not YAML here", "broken_yaml")


def _reference_span(text: str, start: int) -> tuple[int, int] | None:
    """The reference that begins at ``start``, if it is closed on its line."""
    found = _CLOSED.match(text, start)
    return None if found is None else found.span()


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
    if event.style == "|" or event.style == ">":  # noqa: PLR1714 - this runs for every reference
        end = start + len(text[start:end].rstrip(" \t\r\n"))
    return start, end


def splice(document: Document, values: dict[int, str], more: Sequence[Edit] = ()) -> bytes:
    """The file with the scalars of ``values`` (event index to new text) re-emitted in double quotes, all else untouched.

    ``more`` are further edits of ``document.text``, disjoint from those.
    """
    text, edits = document.text, [*more]
    for index, value in values.items():
        start, end = span(document, index)
        new = double_quoted(value)
        if document.events[index].style in {"|", ">"} and (comment := _HEADER_COMMENT.match(text, start, end)):
            new += f" {comment.group(1)}"
        edits.append((start, end, new))
    return ((BOM if document.bom else "") + replaced(text, sorted(edits))).encode("utf-8")


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
