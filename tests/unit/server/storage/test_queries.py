from __future__ import annotations

import pytest

from overseer.server.storage.queries import named_queries, parse_queries


def test_a_fragment_stands_where_it_is_used_in_any_file() -> None:
    shared = "-- fragment: columns\na, b\n\n-- fragment: rows\nSELECT @{columns} FROM t;\n"
    assert parse_queries([shared, "-- name: all\n@{rows}\nWHERE true;\n"]) == {"all": "SELECT a, b FROM t\nWHERE true"}


@pytest.mark.parametrize(
    "text",
    [
        "-- name: a\n@{none};", "-- name: a\n@{b};\n-- fragment: b\n@{b}", "-- name: a\n1;\n-- name: a\n2;",
        "-- name: a\n1;\n-- fragment: a\n2",
    ],
)  # fmt: skip
def test_what_is_missing_doubled_or_endless_is_found_at_start(text: str) -> None:
    with pytest.raises(ValueError, match=r"defined twice|does not exist"):
        parse_queries([text])


def test_no_statement_keeps_a_fragment_s_name() -> None:
    assert not [name for name, text in named_queries().items() if "@{" in text]
