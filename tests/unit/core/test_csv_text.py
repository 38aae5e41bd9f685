"""CSV that other programs read as it was meant, and that no spreadsheet runs."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.csv_text import csv_line


@given(st.lists(st.lists(st.text(alphabet=st.characters(exclude_categories=["Cs"])), min_size=2, max_size=2)))
def test_a_reader_gets_the_cells_back_but_for_the_apostrophe(rows: list[list[str]]) -> None:
    text = "".join(csv_line(row) for row in rows)
    read = list(csv.reader(io.StringIO(text, newline=""), strict=True))
    assert len(read) == len(rows)
    for cells, found in zip(rows, read, strict=True):
        for cell, seen in zip(cells, found, strict=True):
            assert seen in (cell, "'" + cell)
            assert not seen.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =cmd|' /C calc'!A0", "\uff1d1"])
def test_formulas_are_text(text: str) -> None:
    assert csv_line([text]).lstrip('"').startswith("'")


def test_records_end_with_crlf_and_quote_only_what_needs_it() -> None:
    assert csv_line(["a", 'b"c', "d,e", "f\ng", ""]) == 'a,"b""c","d,e","f\ng",\r\n'
