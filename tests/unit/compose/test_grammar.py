"""The grammar of references."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.compose.grammar import MAX_NESTING, MAX_TOKENS, Reference, scan


@pytest.mark.parametrize(
    ("text", "reference", "default", "message"),
    [
        ("${SECRET:a}", Reference("a"), None, None),
        ("${SECRET:_a.b-c_D9}", Reference("_a.b-c_D9"), None, None),
        ("${SECRET:a@3}", Reference("a", 3), None, None),
        ("${SECRET:a#f.g}", Reference("a", None, "f.g"), None, None),
        ("${SECRET:a@12#f:-d}", Reference("a", 12, "f"), "d", None),
        ("${SECRET:a:-}", Reference("a"), "", None),
        ("${SECRET:a:-{x}}", Reference("a"), "{x}", None),
        ("${SECRET:a:-one\ntwo}", Reference("a"), "one\ntwo", None),
        ("${SECRET:a:?}", Reference("a"), None, ""),
        ("${SECRET:a:?say why}", Reference("a"), None, "say why"),
        ("${SECRET:" + "x" * 128 + "}", Reference("x" * 128), None, None),
    ],
)
def test_a_reference_and_its_suffixes(text: str, reference: Reference, default: str | None, message: str | None) -> None:
    for before, after in (("", ""), ("$$", "}"), ("é{", "$"), ("${X}", "${Y:-z}")):
        found = scan(before + text + after)
        assert found.faults == ()
        (token,) = found.tokens
        assert token.reference == reference
        assert (token.start, token.end) == (len(before), len(before) + len(text))
        assert (default is None) == (token.default is None)
        if token.default is not None:
            assert (before + text)[slice(*token.default)] == default
        assert token.message == message
        assert not token.nested


def test_references_inside_defaults_and_expressions() -> None:
    text = "${SECRET:a:-x${SECRET:b}}${DB:-${SECRET:c}${E-${SECRET:d}}}"
    assert [(str(token.reference), token.nested, token.depth) for token in scan(text).tokens] == [
        ("a", False, 0),
        ("b", False, 1),
        ("c", True, 1),
        ("d", True, 2),
    ]


@pytest.mark.parametrize(
    "text", ["", "$", "$$", "${", "$$${", "$${SECRET:a}", "${SECRETS:-a}", "$SECRETS", "${X:-SECRET:a}", "{SECRET:a}"]
)
def test_what_is_not_ours_is_left_alone(text: str) -> None:
    assert scan(text) == ((), (), ())


@pytest.mark.parametrize(
    "text", ["$SECRET:a", "${SECRET}", "${SECRET:-x}", "${SECRET-x}", "${SECRET:?x}", "${SECRET?x}", "${SECRET:+x}"]
)
def test_composes_own_variable_of_that_name_is_noted(text: str) -> None:
    found = scan("x" + text)
    assert (found.tokens, found.faults, found.plain_variables) == ((), (), (1,))


def test_each_malformed_reference_is_a_fault_and_the_rest_is_still_found() -> None:
    found = scan("${SECRET:} ${secret:a} ${SECRET:ok} ${SECRET:b c} ${SECRET:d@1@2} ${SECRET:e}")
    assert [token.reference.name for token in found.tokens] == ["ok", "e"]
    assert [fault.offset for fault in found.faults] == [0, 11, 36, 50]
    assert all("ok" not in fault.rule for fault in found.faults)


def test_nesting_is_bounded() -> None:
    depth = MAX_NESTING + 5
    found = scan("${A:-" * depth + "${SECRET:a}" + "}" * depth)
    assert [fault.code for fault in found.faults] == ["too_deep"]
    assert found.tokens == ()


def test_the_number_of_references_in_one_text_is_bounded() -> None:
    found = scan("${SECRET:a}" * (MAX_TOKENS + 100))
    assert len(found.tokens) == MAX_TOKENS + 1
    assert [fault.code for fault in found.faults] == ["too_many_references"]


@pytest.mark.parametrize(
    "piece", ["${A:-{ }", "${A:-", "${SECRET:a:-", "${SECRET:a:-{", "${SECRET: }", "${", "$", "{", "${A:-}${SECRET:b:-\n"]
)
def test_time_is_bounded_whatever_the_text(piece: str) -> None:
    start = time.process_time()
    scan(piece * (1_000_000 // len(piece)))
    assert time.process_time() - start < 5


@given(st.text(st.sampled_from(list("${}:-?@#aSECRET \n")), max_size=60))
def test_tokens_are_disjoint_or_nested_and_show_their_text(text: str) -> None:
    found = scan(text)
    for token in found.tokens:
        assert text.startswith("${SECRET:" + token.reference.name, token.start)
        assert text[token.end - 1] == "}"
        if token.default is not None:
            assert token.start < token.default[0] <= token.default[1] == token.end - 1
    for one in found.tokens:
        for other in found.tokens:
            if one.start < other.start < one.end:
                assert one.default is not None
                assert one.default[0] <= other.start
                assert other.end <= one.default[1]
    assert list(found.tokens) == sorted(found.tokens, key=lambda token: token.start)
