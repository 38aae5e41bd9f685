"""The encoder by itself; that it equals PostgreSQL is tested in ``tests/integration/services/test_audit_records.py``."""

from __future__ import annotations

import contextlib
from datetime import UTC
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.audit_record import COLUMNS, Kind, decode, encode, record_key

_TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
_KINDS: dict[Kind, st.SearchStrategy[Any]] = {
    Kind.BYTEA: st.binary(max_size=40),
    Kind.INT8: st.integers(-(2**63), 2**63 - 1),
    Kind.INT4: st.integers(-(2**31), 2**31 - 1),
    Kind.TEXT: _TEXTS,
    Kind.TIMESTAMPTZ: st.datetimes(timezones=st.just(UTC)),
    Kind.UUID: st.uuids(),
    Kind.XID8: st.integers(0, 2**64 - 1),
}
KEY = ("incarnation", "xact", "id")
ROWS = st.fixed_dictionaries(
    {name: _KINDS[kind] if name in KEY else st.none() | _KINDS[kind] for name, kind in COLUMNS},
)


@given(ROWS)
def test_a_record_is_read_as_it_was_made(row: dict[str, Any]) -> None:
    record = encode(row)
    assert decode(record) == row
    assert record_key(record) == (row["incarnation"], row["xact"], row["id"])


@given(ROWS, st.sampled_from([name for name, kind in COLUMNS if kind is Kind.TEXT]))
def test_null_and_nothing_differ(row: dict[str, Any], name: str) -> None:
    assert encode({**row, name: None}) != encode({**row, name: ""})


@given(ROWS, st.data())
def test_a_changed_byte_is_another_row_or_none(row: dict[str, Any], data: st.DataObject) -> None:
    record = bytearray(encode(row))
    place = data.draw(st.integers(0, len(record) - 1))
    record[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(ValueError):
        assert decode(bytes(record)) != row


def test_what_is_no_record() -> None:
    row: dict[str, Any] = {name: None for name, _ in COLUMNS}
    row |= {"incarnation": 1, "xact": 2, "id": 3, "actor_id": UUID(int=1)}
    record = encode(row)
    for wrong in (b"", record[:-1], record + b"\0", record[:12], record.replace(b"\0\0\0\1", b"\0\0\0\2", 1)):
        with pytest.raises(ValueError, match="no audit record"):
            decode(wrong)
    with pytest.raises(ValueError, match="no audit record"):
        record_key(record[:59])
    assert record[:16].hex() == "0000001a000000170000000400000001"
