"""Framing is injective and reads back exactly what it wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.crypto.framing import frame, unframe, unsigned

fields = st.lists(st.binary(max_size=6), max_size=5)


@given(fields, fields)
def test_two_sequences_share_a_frame_only_where_they_are_equal(one: list[bytes], other: list[bytes]) -> None:
    assert (frame(*one) == frame(*other)) == (one == other)


def test_moving_a_byte_over_a_field_border_changes_the_frame() -> None:
    assert frame(b"ab", b"c") != frame(b"a", b"bc")


@given(fields)
def test_a_frame_reads_back(given_fields: list[bytes]) -> None:
    assert list(unframe(frame(*given_fields), len(given_fields))) == given_fields


@pytest.mark.parametrize("data", [b"\0", b"\0\0\0\1", frame(b"a", b"b") + b"\0", frame(b"a"), b"\xff\xff\xff\xff" + b"a" * 9])
def test_what_is_no_frame_of_two_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="frame"):
        unframe(data, 2)


def test_numbers_outside_of_64_bits_are_refused() -> None:
    assert unsigned(258) == b"\0\0\0\0\0\0\1\2"
    for number in (-1, 1 << 64):
        with pytest.raises(OverflowError):
            unsigned(number)
