"""Faults that end YAML's understanding do not hide each other, and reading on is bounded."""

from __future__ import annotations

import time

import pytest

from overseer.compose.bundle import Bundle
from overseer.compose.document import MAX_FAULTS, parse
from overseer.compose.fixes import fix_file
from overseer.compose.lint import lint_bundle
from overseer.compose.references import find_references
from overseer.compose.render import render_file
from overseer.core.errors import ReferencesRefused

MANY = """\
services:
  web:
    image: x
    command: [run, ${SECRET:a}, --b=${SECRET:b}]
    environment:
      - A=${SECRET: db}
      - B=${SECRET:gone}
    labels: {x: ${SECRET:c}}
  two:
    environment:
      C: ${SECRET: db}
      D: ${secret:x}
      E: ${SECRET:gone}
"""
PLACES = {
    "4:20": "quote_reference",
    "4:37": "quote_reference",
    "6:11": "malformed_reference",
    "8:17": "quote_reference",
    "11:10": "malformed_reference",
    "12:10": "malformed_reference",
}


def test_each_is_told_with_its_place() -> None:
    problems = find_references(Bundle({"compose.yaml": MANY.encode()})).problems
    assert {problem.place.partition(":")[2]: problem.code for problem in problems} == PLACES
    with pytest.raises(ReferencesRefused) as refused:
        render_file(MANY.encode(), {})
    assert {problem.place.partition(":")[2]: problem.code for problem in refused.value.problems} == {
        **PLACES, "7:11": "secret_unavailable", "13:10": "secret_unavailable",
    }  # fmt: skip


def test_all_of_them_can_be_mended_at_once() -> None:
    findings = lint_bundle(Bundle({"compose.yaml": MANY.encode()}))
    assert {f"{one.line}:{one.column}" for one in findings if one.rule == "OVS009" and one.fixable} == set(PLACES)
    fixed = fix_file(MANY.encode()).decode()
    expected = MANY.replace("${SECRET:a}", '"${SECRET:a}"').replace("--b=${SECRET:b}", '"--b=${SECRET:b}"')
    expected = expected.replace("{x: ${SECRET:c}}", '{x: "${SECRET:c}"}').replace("${SECRET: db}", "${SECRET:db}")
    assert fixed == expected.replace("${secret:x}", "${SECRET:x}")
    assert parse(fixed.encode()).fault is None


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("a: [${SECRET:a}\nb: [", [(1, 5), (2, 2)]),  # the second line is broken whatever the first one says
        ("a: [${SECRET:a", [(1, 5)]),  # never closed: there is nothing to go on behind
        ("\ufeffa: [${SECRET:a}, ${SECRET:b}]", [(1, 5), (1, 18)]),
        ("a: ['é', ${SECRET:a},\r\n ${SECRET:b}]", [(1, 10), (2, 2)]),
    ],
)
def test_where_reading_goes_on_and_where_it_ends(text: str, places: list[tuple[int, int]]) -> None:
    assert [(fault.line, fault.column) for fault in parse(text.encode()).faults] == places


def test_reading_on_is_bounded() -> None:
    began = time.process_time()
    document = parse(f"a: [{', '.join(['${SECRET:a}'] * 5000)}]".encode())
    assert len(document.faults) == MAX_FAULTS
    large = "# " + "x" * 4_000_000 + "\n"
    assert 1 < len(parse(f"{large}a: [{', '.join(['${SECRET:a}'] * 500)}]".encode()).faults) < 10
    assert time.process_time() - began < 10


@pytest.mark.parametrize("text", ["KEY=${SECRET", "${secret ", "a ${ Secret", "$$${SECRET"])
def test_what_yaml_leaves_of_an_unquoted_reference_in_a_list(text: str) -> None:
    """``- KEY=${SECRET: name}`` is a mapping to YAML, and this its key."""
    file = f"services: {{web: {{environment: ['{text}']}}}}"
    assert [problem.code for problem in find_references(Bundle({"compose.yaml": file.encode()})).problems] == [
        "malformed_reference"
    ]


@pytest.mark.parametrize("text", ["KEY=$${SECRET", "KEY=${SECRETS", "KEY=${SECRET}", "${MY_SECRET", "$SECRET"])
def test_what_only_looks_like_it(text: str) -> None:
    file = f"services: {{web: {{environment: ['{text}']}}}}"
    assert find_references(Bundle({"compose.yaml": file.encode()})).problems == ()


def test_what_stands_before_the_end_of_understanding_is_still_looked_at() -> None:
    text = "services:\n  web:\n    environment:\n      A: ${SECRET:gone}\n    ports: ['${SECRET:p}']\n  two: ]\n"
    with pytest.raises(ReferencesRefused) as refused:
        render_file(text.encode(), {})
    found = {(one.place.partition(":")[2], one.code) for one in refused.value.problems}
    assert found >= {("4:10", "secret_unavailable"), ("5:14", "reference_in_typed_field"), ("6:8", "broken_yaml")}
