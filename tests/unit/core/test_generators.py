"""Generators: every kind, its bounds, and that errors do not repeat what was sent."""

from __future__ import annotations

import base64
import string
import uuid
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import InvalidInput
from overseer.core.generators import PUNCTUATION, generate, make_generator, parse_spec

SIZES = {"password": (12, 32, 256), "token": (16, 32, 1024), "hex": (16, 32, 1024), "base64": (16, 32, 1024)}


@given(st.integers(12, 256))
def test_a_password_has_its_length_and_every_class(length: int) -> None:
    text = generate(f"password:{length}").reveal().decode("ascii")
    assert len(text) == length
    for wanted in (string.ascii_lowercase, string.ascii_uppercase, string.digits, PUNCTUATION):
        assert set(text) & set(wanted)
    assert set(text) <= set(string.ascii_letters + string.digits + PUNCTUATION)
    assert text[0].isalnum()


def test_a_password_is_unbiased() -> None:
    """Each letter and digit behind the first character is as frequent as any other (chi-square, 61 degrees of freedom)."""
    counts = Counter("".join(generate("password:256").reveal().decode()[1:] for _ in range(400)))
    plain = [counts[character] for character in string.ascii_letters + string.digits]
    mean = sum(plain) / len(plain)
    assert sum((count - mean) ** 2 / mean for count in plain) < 131  # exceeded by chance once in a million runs


@pytest.mark.parametrize(
    ("spec", "size"), [("token", 32), ("token:16", 16), ("hex", 32), ("hex:1024", 1024), ("base64", 32), ("base64:17", 17)]
)
def test_bytes_in_their_encoding(spec: str, size: int) -> None:
    text = generate(spec).reveal().decode("ascii")
    kind = spec.partition(":")[0]
    decoded = {
        "token": lambda: base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)),
        "hex": lambda: bytes.fromhex(text),
        "base64": lambda: base64.b64decode(text, validate=True),
    }[kind]()
    assert len(decoded) == size


def test_a_uuid_is_random() -> None:
    made = uuid.UUID(generate("uuid").reveal().decode())
    assert (made.version, made.variant) == (4, uuid.RFC_4122)


@pytest.mark.parametrize("kind", [*SIZES, "uuid"])
def test_two_values_differ(kind: str) -> None:
    assert generate(kind) != generate(kind)


@pytest.mark.parametrize("kind", SIZES)
def test_bounds(kind: str) -> None:
    least, default, greatest = SIZES[kind]
    assert parse_spec(kind).size == default
    assert str(parse_spec(f"{kind}:{least}")) == f"{kind}:{least}"
    assert parse_spec(f"{kind}:{greatest}").size == greatest
    for size in (least - 1, greatest + 1, 0, -1):
        with pytest.raises(InvalidInput):
            make_generator(kind, size)
        with pytest.raises(InvalidInput):
            parse_spec(f"{kind}:{size}")


@pytest.mark.parametrize(
    "spec",
    ["", ":", "password:", "hex:32 ", "password:+32", "password:3_2", "password:٣٢", "PASSWORD", "uuid:4", "ssh", "hex:9999"],
)
def test_anything_else_is_refused_without_being_repeated(spec: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        generate(spec)
    assert caught.value.problems[0].code == "bad_generator"
    assert len(spec) < 4 or f"'{spec}'" not in str(caught.value)
