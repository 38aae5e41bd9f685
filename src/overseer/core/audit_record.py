"""The canonical bytes of one audit row: what the transparency log commits to.

They are what PostgreSQL gives for ``record_send(ROW(format, column, column, …))``: the number of fields, then for each its type's
oid, its length (-1 for NULL) and its binary form. So NULL and '' differ, no settings of a session matter (but the client
encoding, which is UTF8), and the database can make them as fast as it reads. This encoder is independent of it: whoever has the
fields of a row can say what was committed to, with nothing of ours but this page.

Evolution rule: the first field is the format. The columns of a format, their order and types never change. A column that is
added to the table comes with a new format, which this module then has beside the old one; the log says from which size on.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Any, Final
from uuid import UUID

FORMAT: Final = 1


class Kind(IntEnum):
    """PostgreSQL's oids of the types in a row; they are fixed."""

    BYTEA = 17
    INT8 = 20
    INT4 = 23
    TEXT = 25
    TIMESTAMPTZ = 1184
    UUID = 2950
    XID8 = 5069


#: The columns of format 1, after the format itself.
COLUMNS: Final[tuple[tuple[str, Kind], ...]] = (
    ("incarnation", Kind.INT4),
    ("xact", Kind.XID8),
    ("id", Kind.INT8),
    ("at", Kind.TIMESTAMPTZ),
    ("request_id", Kind.TEXT),
    ("actor_id", Kind.UUID),
    ("actor_name", Kind.TEXT),
    ("actor_kind", Kind.TEXT),
    ("on_behalf_of", Kind.UUID),
    ("token_id", Kind.UUID),
    ("action", Kind.TEXT),
    ("outcome", Kind.TEXT),
    ("code", Kind.TEXT),
    ("resource_kind", Kind.TEXT),
    ("resource_id", Kind.UUID),
    ("resource_name", Kind.TEXT),
    ("app", Kind.TEXT),
    ("environment", Kind.TEXT),
    ("node", Kind.TEXT),
    ("version", Kind.INT4),
    ("peer", Kind.TEXT),
    ("client", Kind.TEXT),
    ("repeats", Kind.INT4),
    ("text_id", Kind.UUID),
    ("text_commitment", Kind.BYTEA),
)

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_HEAD: Final = struct.Struct(">I")
_FIELD: Final = struct.Struct(">Ii")
_NULL: Final = -1
_NUMBERS: Final = {
    Kind.INT4: struct.Struct(">i"),
    Kind.INT8: struct.Struct(">q"),
    Kind.XID8: struct.Struct(">Q"),
    Kind.TIMESTAMPTZ: struct.Struct(">q"),  # microseconds since 2000-01-01
}
#: Where the row's key stands in every record of format 1: three fields of fixed length after the format.
_KEY: Final = struct.Struct(">I 12s 8s i 8s Q 8s q")


def encode(row: Mapping[str, Any]) -> bytes:
    """The record of a row in format 1; values as asyncpg gives them. Raises KeyError for a column that is missing."""
    parts = [_HEAD.pack(len(COLUMNS) + 1), _FIELD.pack(Kind.INT4, 4), struct.pack(">i", FORMAT)]
    for name, kind in COLUMNS:
        value = row[name]
        if value is None:
            parts.append(_FIELD.pack(kind, _NULL))
            continue
        content = _content(kind, value)
        parts += [_FIELD.pack(kind, len(content)), content]
    return b"".join(parts)


def decode(record: bytes) -> dict[str, Any]:
    """The row of a record: what :func:`encode` gives exactly these bytes for. Raises ValueError for anything else."""
    try:
        row = _decoded(record)
        same = encode(row) == record
    except (struct.error, ValueError, OverflowError):
        same = False
    if not same:
        raise ValueError("these bytes are no audit record of a format that this version knows")
    return row


def record_key(record: bytes) -> tuple[int, int, int]:
    """Incarnation, transaction and id of a record, without looking at the rest. Raises ValueError."""
    try:
        _, _, _, incarnation, _, xact, _, row_id = _KEY.unpack_from(record)
    except struct.error:
        raise ValueError("these bytes are no audit record") from None
    return incarnation, xact, row_id


def _content(kind: Kind, value: Any) -> bytes:
    if kind is Kind.TEXT:
        return str(value).encode()
    if kind is Kind.UUID:
        return bytes(value.bytes)
    if kind is Kind.BYTEA:
        return bytes(value)
    return _NUMBERS[kind].pack((value - _EPOCH) // _MICROSECOND if kind is Kind.TIMESTAMPTZ else value)


def _decoded(record: bytes) -> dict[str, Any]:
    row: dict[str, Any] = {}
    position = _HEAD.size
    for name, kind in (("format", Kind.INT4), *COLUMNS):
        _, length = _FIELD.unpack_from(record, position)
        position += _FIELD.size
        if length == _NULL:
            row[name] = None
            continue
        row[name] = _value(kind, record[position : position + length])
        position += length
    row.pop("format")  # another one would not encode to the same bytes
    return row


def _value(kind: Kind, content: bytes) -> Any:
    if kind is Kind.TEXT:
        return content.decode()
    if kind is Kind.UUID:
        return UUID(bytes=content)
    if kind is Kind.BYTEA:
        return content
    (number,) = _NUMBERS[kind].unpack(content)
    return _EPOCH + number * _MICROSECOND if kind is Kind.TIMESTAMPTZ else number
