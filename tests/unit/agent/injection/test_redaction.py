"""No value leaves in the output of a command, in whatever notation it was printed."""

from __future__ import annotations

import base64
import json
import shlex
import time
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overseer.agent.injection.redaction import MAX_INPUT, MAX_OUTPUT, Redactor
from overseer.core.secret_value import REDACTED, SecretValue

VALUE = "pa$s'w\"ord/with+every=thing&<é>\nsecond line\ttab"

NOTATIONS = {
    "raw": VALUE,
    "base64": base64.b64encode(VALUE.encode()).decode(),
    "base64 after one byte": base64.b64encode(b"x" + VALUE.encode()).decode(),
    "base64 after two bytes": base64.b64encode(b"xy" + VALUE.encode() + b"z").decode(),
    "base64url": base64.urlsafe_b64encode(VALUE.encode()).decode(),
    "hex": VALUE.encode().hex(),
    "HEX": VALUE.encode().hex().upper(),
    "url": quote(VALUE, safe=""),
    "url path": quote(VALUE),
    "form": quote_plus(VALUE),
    "json": json.dumps(VALUE),
    "json utf-8": json.dumps(VALUE, ensure_ascii=False),
    "json in json": json.dumps(json.dumps(VALUE)),
    "shell": shlex.quote(VALUE),
    "doubled dollars": VALUE.replace("$", "$$"),
    "doubled dollars in json": json.dumps(VALUE.replace("$", "$$"), ensure_ascii=False),
    "yaml": VALUE.replace("'", "''"),
    "repr": repr(VALUE),
    "first line": VALUE.splitlines()[0],
    "second line": VALUE.splitlines()[1],
    "go": json.dumps(VALUE, ensure_ascii=False).replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"),
}


@pytest.mark.parametrize("notation", NOTATIONS)
def test_every_notation(notation: str) -> None:
    shown = NOTATIONS[notation]
    cleaned = Redactor([SecretValue(VALUE)]).clean(f"error: bad value {shown} in line 3\n")
    assert cleaned.startswith("error: bad value ")
    assert cleaned.endswith("in line 3\n")
    assert REDACTED in cleaned
    encoded = base64.b64encode(VALUE.encode()).decode()
    for piece in ("s'w", "ord/with", "thing&", "second", encoded[4:16], VALUE.encode().hex()[:12]):
        assert piece.lower() not in cleaned.lower()


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=8, max_size=60), st.binary(max_size=20), st.binary(max_size=20))
def test_any_bytes_in_any_base64(value: bytes, before: bytes, after: bytes) -> None:
    redactor = Redactor([SecretValue(value)])
    text = base64.b64encode(before + value + after)
    # What surely belongs to the value: the characters of its whole groups.
    start, end = (len(before) + 2) // 3 * 4, (len(before) + len(value)) // 3 * 4
    core = text[start:end]
    cleaned = redactor.clean(b"out: " + text)
    if len(core) >= 8:
        assert core.decode() not in cleaned
    assert value.hex() not in redactor.clean(b"out: " + value.hex().encode())


def test_short_values_only_as_words() -> None:
    redactor = Redactor([SecretValue("no"), SecretValue("x"), SecretValue("")])
    assert redactor.clean("there is no x, nothing, box") == f"there is {REDACTED} {REDACTED}, nothing, box"


def test_a_value_within_another() -> None:
    redactor = Redactor([SecretValue("secret"), SecretValue("secret-and-more")])
    assert redactor.clean("a secret-and-more b secret c") == f"a {REDACTED} b {REDACTED} c"


def test_bounds() -> None:
    value = "V" * 5000
    redactor = Redactor([SecretValue(value)])
    long = ("x" * 99 + "\n") * 9000 + value[2000:]  # the value would be cut where the text is
    assert len(long) > MAX_INPUT
    cleaned = redactor.clean(long)
    assert len(cleaned.encode()) <= MAX_OUTPUT
    assert cleaned.startswith("… (cut)\n")
    text = "start\n" + value + "\n" + "y" * (MAX_INPUT - 2000) + "\nend"
    assert "VVVV" not in redactor.clean(text)
    assert redactor.clean(text).endswith("\nend")
    assert redactor.clean("z" * (MAX_INPUT + 10)) == "… (cut)\n"


def test_it_is_quick_enough() -> None:
    redactor = Redactor([SecretValue(f"value-{number:03}-" + "abc" * 20) for number in range(200)])
    assert REDACTED in redactor.clean("log line\n" * 20000 + "value-007-" + "abc" * 20)


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (b'pa"ss\x1bword1234', 'pa\\"ss\\x1bword1234'),
        (b"pass\\word\x7f\a1234", "pass\\\\word\\x7f\\a1234"),
        (b"p\xffss\tword", "p\\xffss\\tword"),
        ("pässwörd\u200b1".encode(), "pässwörd\\u200b1"),
        ("pässwörd😀".encode(), "p\\u00e4ssw\\u00f6rd\\U0001f600"),
    ],
)
def test_what_go_quotes(value: bytes, printed: str) -> None:
    assert Redactor([SecretValue(value)]).clean(f'x="{printed}"') == f'x="{REDACTED}"'


def test_overlapping_values_leave_no_rest() -> None:
    redactor = Redactor([SecretValue("abcdefgh-1234"), SecretValue("1234-ijklmnopqrst")])
    assert redactor.clean("a abcdefgh-1234-ijklmnopqrst b") == f"a {REDACTED} b"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b" ".join(b"%09d" % number for number in range(100_000)), b"000000007\n" * 20_000),
        (b"\n".join(b"a" * number for number in range(8, 1000)), b"a" * MAX_INPUT),
        (b"a" * (MAX_INPUT - 10), b"a" * (MAX_INPUT - 1) + b"\n"),
        (b" ".join(b"%09d" % number for number in range(2_900)), b"000000007 x\n" * 20_000),
    ],
    ids=["many words", "nested lines", "one long value", "as many as there may be"],
)
def test_the_work_is_bounded_and_nothing_leaks(value: bytes, text: bytes) -> None:
    began = time.process_time()
    cleaned = Redactor([SecretValue(value)]).clean(text)
    assert time.process_time() - began < 4.0  # within a second on a machine that does nothing else
    assert "000000007" not in cleaned
    assert "aaaaaaaa" not in cleaned


def test_a_file_of_many_lines_is_still_searched_for() -> None:
    lines = [f"line-{number:04}-of-a-long-file" for number in range(1000)]
    cleaned = Redactor([SecretValue("\n".join(lines))]).clean(f"error in {lines[777]} and {lines[5].encode().hex()}: no\n")
    assert cleaned == f"error in {REDACTED} and {REDACTED}: no\n"


def test_repr_shows_nothing() -> None:
    assert "hunter" not in repr(Redactor([SecretValue("hunter22")]))
