"""Generators: every kind, its bounds, and that errors do not repeat what was sent."""

from __future__ import annotations

import base64
import json
import string
import uuid
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import InvalidInput
from overseer.core.generators import RULE, entropy_bits, generate, make_generator, parse_spec
from overseer.core.passphrase_words import word_list
from overseer.core.password_alphabet import PUNCTUATION

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


@pytest.mark.parametrize(
    "spec",
    [
        "password:24,lower=3,digits=2,symbols=none",
        "password:40,upper=none,exclude=0O1lI",
        "passphrase:7,separator=_",
        "ssh-ed25519,comment=deploy@shop",
        "rsa:2048",
        "x509,cn=db.internal,san=db.internal+10.0.0.1,days=30,key=ec384",
        'json:{"user": "app", "password": "{{password:20}}"}',
    ],
)
def test_what_is_kept_makes_the_same_again(spec: str) -> None:
    assert str(parse_spec(spec)) == spec
    assert parse_spec(str(parse_spec(spec))) == parse_spec(spec)


@pytest.mark.parametrize(
    "spec",
    [
        "password:16,lower=13",  # more than three quarters
        "password:12,symbols=3",  # hardly any draw has so many
        "password:12,lower=none,upper=none,symbols=none",  # 12 digits are 40 bits
        "password:64,lower=none,upper=none,digits=none",  # nothing that may stand first
        "password,lower=none,upper=none,digits=none,symbols=none",
        "password,exclude=0123456789",  # digits are asked for, and excluded
        "password,lower=-1",
        "password,lower=1,lower=1",
        "password,colour=red",
        "passphrase:4",
        "passphrase,separator=/",
        "rsa:1024",
        "ec:255",
        "x509",
        "x509,cn=a,days=0",
        "x509,cn=a,ca=mine",
        "x509,cn=a,is_ca=yes,ca=0190f3c2-0000-7000-8000-000000000000",
        "uuid:4",
        "uuid,a=b",
        "json:[]",
        'json:{"a": "b"}',
        'json:{"a": "{{rsa}}"}',
        'json:{"a": "{{nothing}}"}',
        "json:{",
        "ssh-rsa,comment=\n",
    ],
)
def test_what_is_refused_says_a_rule_and_not_the_text(spec: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_spec(spec)
    assert refused.value.problems[0].code == "bad_generator"
    assert spec not in str(refused.value) or spec in RULE


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 3), st.integers(0, 2))
def test_a_password_obeys_its_rules(lower: int, upper: int, digits: int, symbols: int) -> None:
    spec = f"password:20,lower={lower},upper={upper},digits={digits},symbols={symbols},exclude=O0lI1"
    text = generate(spec).reveal().decode()
    assert len(text) == 20
    assert not set(text) & set("O0lI1")
    for wanted, least in zip((str.islower, str.isupper, str.isdigit), (lower, upper, digits), strict=True):
        assert sum(map(wanted, text)) >= least
    assert sum(one in PUNCTUATION for one in text) >= symbols


def test_a_passphrase_is_words_of_the_list() -> None:
    words = generate("passphrase:8,separator=_").reveal().decode().split("_")
    assert len(words) == 8
    assert set(words) <= set(word_list())
    assert generate("passphrase").reveal().decode().count("-") >= 5


def test_a_template_keeps_its_texts_and_fills_each_place_anew() -> None:
    spec = 'json:{"user": "app", "n": 5, "a": ["{{hex:16}}", "{{hex:16}}"], "url": "x://{{uuid}}@h"}'
    first, second = (json.loads(generate(spec).reveal()) for _ in range(2))
    assert (first["user"], first["n"], len({*first["a"], *second["a"]})) == ("app", 5, 4)
    assert uuid.UUID(first["url"].removeprefix("x://").removesuffix("@h")) != uuid.UUID(second["url"][4:-2])


def test_the_structured_form_says_the_same() -> None:
    assert make_generator("password", 24, options={"digits": "2"}) == parse_spec("password:24,digits=2")
    assert make_generator("json", None, template={"a": "{{uuid}}"}) == parse_spec('json:{"a":"{{uuid}}"}')


def test_what_can_be_guessed_is_stated() -> None:
    assert round(entropy_bits(parse_spec("passphrase:6")), 1) == 77.5
    assert entropy_bits(parse_spec("hex:16")) == 128
    assert round(entropy_bits(parse_spec("password:32"))) == 193
