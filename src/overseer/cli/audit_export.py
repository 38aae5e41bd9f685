"""The exported audit log: JSON Lines that can be verified without a server, a database or a network.

A file is, line by line::

    {"overseer_audit_log": 1, "origin": …, "keys": [{"key": …, "statement": …}], "first": 0, "frontier": "", "retention": null}
    {"record": "<base64>"}          a row: the canonical bytes of core/audit_record.py, in the order of the log
    {"leaves": "<base64>"}          the stored leaf hashes of the rows since the last such line
    {"checkpoint": "<note>"}        a signed checkpoint over all rows above
    {"end": 1234}                   how many rows the file holds

With ``--readable`` a row's line has its fields as well, ``{"record": …, "row": {…}}``; verification compares the two.

Guarantee: only what was hashed is believed. Leaf hashes in the file are used to locate what differs, as far as checkpoints
confirm them.
Evolution rule: another meaning of a line is another number in the first one; unknown members are refused.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final
from uuid import UUID

import msgspec

from overseer.core.audit_record import decode
from overseer.core.errors import InvalidInput
from overseer.crypto.checkpoints import Checkpoint
from overseer.crypto.log_report import LogHead, LogReport, Trust, keys_of, prepared
from overseer.crypto.log_tiles import TILE_WIDTH
from overseer.crypto.log_verification import MOST_FINDINGS, Finding, diagnose
from overseer.crypto.merkle_log import HASH_BYTES, leaf_hash, split_hashes

if TYPE_CHECKING:
    from overseer.wire.audit_log import LogKeysView, RecordsView

_Feed = Callable[[list[bytes]], None]
_FORMAT: Final = 1
_BLOCK: Final = 1 << 17


def write_head(keys: LogKeysView) -> bytes:
    """The first line of an export that begins at the log's beginning."""
    head = {
        "overseer_audit_log": _FORMAT,
        "origin": keys.origin,
        "keys": [{"key": one.verifier_key, "statement": one.statement} for one in keys.keys],
        "first": keys.first,
        "frontier": keys.frontier,
        "retention": keys.retention,
    }
    return _line(head)


def write_part(part: RecordsView, *, readable: bool) -> bytes:
    """The lines of some rows and of the checkpoints among them."""
    lines: list[bytes] = []
    leaves, begun = split_hashes(base64.b64decode(part.leaves)), part.first
    for note in part.checkpoints:
        size = Checkpoint.parse(note).size
        lines += _rows(part, begun, size, leaves, readable)
        lines.append(_line({"checkpoint": note}))
        begun = size
    lines += _rows(part, begun, part.first + len(part.records), leaves, readable)
    return b"".join(lines)


def write_end(count: int) -> bytes:
    """The last line."""
    return _line({"end": count})


def readable_row(record: bytes) -> dict[str, Any]:
    """The fields of a row as JSON has them. Raises ValueError for no row."""
    return {name: _plain(value) for name, value in decode(record).items()}


def verify_file(path: Path, trust: Trust) -> LogReport:
    """Read an export and say what is wrong with it. Raises :class:`InvalidInput` for what is no export, or of another log."""
    try:
        with path.open("rb") as file:
            head = _head(file.readline())
            make, warnings = prepared(head, trust)
            check = make(())
            problems = _Reading(check.feed, check.head).read(file)
        check.finish()
        findings = list(check.findings)
        if findings:
            found, stored, notes = _all(path)
            findings = diagnose(check, lambda: make(notes), stored, found)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read: {error.strerror}") from None
    findings += problems
    newest = check.newest.size if check.newest else check.first
    if not findings and check.size > newest:
        # An export holds sealed rows only, so it ends with a checkpoint.
        detail = "no checkpoint covers them, and an export holds sealed rows only"
        findings.append(Finding("inserted", newest, check.size - newest, newest - head.first, detail))
    return LogReport(
        origin=head.origin,
        first=head.first,
        sealed=min(check.size, newest) - head.first,
        unsealed=max(0, check.size - newest),
        checkpoints=check.checkpoints,
        newest=check.newest,
        findings=tuple(findings),
        keys=keys_of(findings, _records_at(path, findings).__getitem__),
        warnings=warnings,
    )


class _Line(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """A line after the first: one of its members, or a record with its row."""

    record: bytes | msgspec.UnsetType = msgspec.UNSET
    row: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    leaves: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET  # only looked at where something differs
    checkpoint: str | msgspec.UnsetType = msgspec.UNSET
    end: int | msgspec.UnsetType = msgspec.UNSET


_LINES: Final = msgspec.json.Decoder(_Line)


def _line_of(line: bytes) -> _Line:
    """One line; what cannot be read is a row whose bytes are no record."""
    try:
        found = _LINES.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = _Line()
    return found if found != _Line() else _Line(record=b"unreadable: " + line)


class _Reading:
    """One pass over the lines after the first: leaf hashes of rows, checkpoints and stored leaf hashes are given on, what is
    wrong with lines themselves is kept in ``problems``.

    A line that cannot be read counts as a row that is none, so that it is located like a changed one.
    """

    def __init__(self, feed: _Feed, head: Callable[[str], None], stored: _Feed | None = None) -> None:
        self._feed = feed
        self._head = head
        self._stored = stored
        self._count = 0
        self._leaves: list[bytes] = []
        self._ended = False
        self.problems: list[Finding] = []

    def read(self, file: BinaryIO) -> list[Finding]:
        """To the end; the problems."""
        rest = b""
        while block := file.read(_BLOCK):
            block = rest + block
            end = block.rfind(b"\n") + 1
            rest = block[end:]
            self._block(block[:end])
        self._block(rest)
        self._give(self._leaves)
        if not self._ended:
            self._problem("truncated", "the file does not end as an export ends: it was cut off")
        return self.problems

    def _block(self, block: bytes) -> None:
        """Whole lines. One by one only where they cannot be read together."""
        try:
            lines = _LINES.decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            lines = [_line_of(line) for line in block.splitlines()]
        leaves, sha256, unset = self._leaves, hashlib.sha256, msgspec.UNSET
        for line in lines:
            record = line.record
            if record is not unset and line.row is unset and not self._ended:
                leaves.append(sha256(b"\x00" + record).digest())
                continue
            self._give(leaves)  # whole tiles, as a rule: their hashes follow each
            leaves = self._leaves = []
            self._other(line)

    def _other(self, line: _Line) -> None:
        if self._ended:
            if not self.problems or self.problems[-1].kind != "inserted":
                self._problem("inserted", "there are lines behind the end")
        elif line.record is not msgspec.UNSET:
            if _readable(line.record) != (None if line.row is msgspec.UNSET else json.loads(bytes(line.row))):
                self._problem("changed", "the readable fields are not those of the record", self._count)
            self._give([leaf_hash(line.record)])
        elif line.checkpoint is not msgspec.UNSET:
            try:
                self._head(line.checkpoint)
            except InvalidInput:
                self._problem("unsigned", "a checkpoint that cannot be read")
        elif line.leaves is not msgspec.UNSET:
            if self._stored is not None:
                self._stored(_stored_hashes(bytes(line.leaves)))
        elif line.end is not msgspec.UNSET:
            self._ended = True
            if line.end != self._count:
                self._problem("truncated", f"the file says {line.end} rows and holds {self._count}")

    def _give(self, leaves: list[bytes]) -> None:
        self._count += len(leaves)
        self._feed(leaves)

    def _problem(self, kind: str, detail: str, found: int | None = None) -> None:
        if len(self.problems) < MOST_FINDINGS:
            self.problems.append(Finding(kind, self._count, 1, found, detail))


def _all(path: Path) -> tuple[list[bytes], list[bytes], list[str]]:
    """Leaves of the rows, stored leaves, and the checkpoints that can be read, of the whole file."""
    found: list[bytes] = []
    stored: list[bytes] = []
    notes: list[str] = []

    def keep(note: str) -> None:
        Checkpoint.parse(note)
        notes.append(note)

    with path.open("rb") as file:
        file.readline()
        _Reading(found.extend, keep, stored.extend).read(file)
    return found, stored, notes


def _records_at(path: Path, findings: list[Finding]) -> dict[int, bytes]:
    """The rows that findings begin and end with, by their place in the file."""
    wanted = {place for one in findings if one.found is not None for place in (one.found, one.found + one.count - 1)}
    records = dict.fromkeys(wanted, b"")
    if wanted:
        with path.open("rb") as file:
            file.readline()
            place = 0
            for text in file:
                record = _line_of(text).record
                if record is not msgspec.UNSET:
                    if place in wanted:
                        records[place] = record
                    place += 1
    return records


def _head(line: bytes) -> LogHead:
    try:
        head = json.loads(line)
        if head["overseer_audit_log"] != _FORMAT:
            raise InvalidInput("the export is of a newer form: verify it with the Overseer that made it")
        keys = tuple((str(one["key"]), one["statement"]) for one in head["keys"])
        return LogHead(str(head["origin"]), keys, int(head["first"]), base64.b64decode(head["frontier"]), head["retention"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidInput("this is no export of an audit log: make one with 'overseer audit export --format jsonl'") from None


def _stored_hashes(text: bytes) -> list[bytes]:
    try:
        joined = msgspec.json.decode(text, type=bytes)
    except msgspec.DecodeError:
        return []
    return split_hashes(joined[: len(joined) // HASH_BYTES * HASH_BYTES])


def _readable(record: bytes) -> dict[str, Any] | None:
    try:
        return readable_row(record)
    except ValueError:
        return None


def _rows(part: RecordsView, start: int, end: int, leaves: list[bytes], readable: bool) -> Iterator[bytes]:
    """Lines of the rows from index ``start`` to ``end``; their stored leaf hashes follow at the end of each tile."""
    begun = start
    for index in range(start, end):
        record = part.records[index - part.first]
        line: dict[str, Any] = {"record": record}
        if readable:
            line["row"] = _readable(base64.b64decode(record))
        yield _line(line)
        if index + 1 == end or (index + 1) % TILE_WIDTH == 0:
            stored = b"".join(leaves[begun - part.first : index + 1 - part.first])
            yield _line({"leaves": base64.b64encode(stored).decode()})
            begun = index + 1


def _line(members: dict[str, Any]) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _plain(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat(timespec="microseconds")
    return value.hex() if isinstance(value, bytes) else value
