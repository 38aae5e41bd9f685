"""Emission as Compose's YAML reader demands it. (That the reader gives it back is tests/docker/compose_language.)"""

from __future__ import annotations

import json
import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from overseer.compose.emit import dollars, double_quoted, emit

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
MODELS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)


@given(TEXT)
def test_a_quoted_text_is_printable_ascii_on_one_line_and_reads_back(text: str) -> None:
    quoted = double_quoted(text)
    assert quoted.isascii()
    assert quoted.isprintable()
    assert yaml.load(quoted, yaml.CSafeLoader) == text


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("🙂", '"\\U0001F642"'), ("/", '"/"'), ("\x85", '"\\x85"'), ("\uffff", '"\\uFFFF"'), ("\0", '"\\0"'), ('"\\', '"\\"\\\\"')],
)
def test_what_json_would_write_otherwise(text: str, quoted: str) -> None:
    assert double_quoted(text) == quoted


def test_a_lone_surrogate_is_no_text() -> None:
    with pytest.raises(ValueError, match="surrogate"):
        double_quoted("a\ud800")


@given(MODELS)
def test_a_model_reads_back(model: object) -> None:
    text = emit(model)
    assert text.isascii()
    assert yaml.load(text, yaml.CSafeLoader) == json.loads(json.dumps(model))


@pytest.mark.parametrize("model", [math.nan, math.inf, {1: 2}, b"x", object()])
def test_what_is_no_model_is_refused(model: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        emit(model)


def test_a_very_deep_model_is_refused() -> None:
    model: list[object] = []
    for _ in range(600):
        model = [model]
    with pytest.raises(ValueError, match="deep"):
        emit(model)


def test_a_values_dollars_are_doubled() -> None:
    assert dollars("a$b$$c") == "a$$b$$$$c"
