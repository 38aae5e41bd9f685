"""Depth, parts, doubled keys and huge integers are refused in one linear scan, whatever else the text is."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import InvalidInput
from overseer.server.api.json_shape import MAX_DEPTH, MAX_INTEGER, MAX_PARTS, check_shape

keys = st.text(st.sampled_from('ab"\\u0061:{}[] \n\x7fé'), max_size=4)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | st.floats(allow_nan=False, allow_infinity=False) | keys,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=20,
)


@given(values, st.booleans())
def test_every_ordinary_json_passes(value: Any, ascii_only: bool) -> None:
    check_shape(json.dumps(value, ensure_ascii=ascii_only).encode("utf-8"))


@given(st.lists(st.tuples(keys, keys), max_size=5), st.lists(st.booleans(), min_size=5, max_size=5))
def test_doubled_keys_are_found_however_they_are_escaped(pairs: list[tuple[str, str]], escaped: list[bool]) -> None:
    def write(text: str, escape: bool) -> str:
        return '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"' if escape else json.dumps(text)

    text = "{" + ",".join(f"{write(k, e)}:{json.dumps(v)}" for (k, v), e in zip(pairs, escaped, strict=False)) + "}"
    doubled = len({key for key, _ in pairs}) != len(pairs)
    if doubled:
        with pytest.raises(InvalidInput, match="two equal keys"):
            check_shape(text.encode())
    else:
        check_shape(text.encode())


def test_equal_keys_of_different_objects_pass() -> None:
    check_shape(b'{"a":{"a":1},"b":[{"a":1},{"a":2}]}')


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"[" * (MAX_DEPTH + 1), "too_deep"),
        (b'{"a":' * (MAX_DEPTH + 1), "too_deep"),
        (b"[" + b'"",' * (MAX_PARTS + 1) + b'""]', "too_many_parts"),
        (b'{"a":2147483648}', "too_big_integer"),
        (b'{"a":-99999999999999999999999999}', "too_big_integer"),
        (b"[" + b"9" * 100_000 + b"]", "too_big_integer"),
    ],
)
def test_limits(text: bytes, code: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_shape(text)
    assert [problem.code for problem in caught.value.problems] == [code]


@pytest.mark.parametrize("text", [b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, b'["9999999999999"]', b"[2147483647]", b"[99999999999.5]"])
def test_at_the_limits(text: bytes) -> None:
    check_shape(text)


@pytest.mark.parametrize(
    "text",
    [
        b'"' + b"\\\\" * 4_000_000,
        b'"' + b"a" * 8_000_000,
        b'{"a":"' + b'\\"' * 4_000_000 + b'"}',
        b'"' + b'\\"' * 4_000_000,
        b"1." * 4_000_000,
    ],
    ids=["backslashes", "open text", "quotes", "open quotes", "points"],
)
def test_large_texts_are_scanned_in_linear_time(text: bytes) -> None:
    began = time.process_time()  # of this process alone: a busy machine is no quadratic scan, which would take hours
    check_shape(text)
    assert time.process_time() - began < 20
