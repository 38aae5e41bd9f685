"""Reading and writing the text formats: round trips of any bytes, refusals by name, never a value in a message."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.interchange.formats import READERS, WRITERS, guessed, guessed_sops, write
from overseer.interchange.found import Found
from overseer.interchange.naming import NameRules, named

CANARY = "canary_7d1f0c"
names = st.from_regex(r"[a-z_][a-z0-9_-]{0,20}", fullmatch=True)
anything = st.one_of(st.binary(max_size=60), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")))


def plain(found: list[Found]) -> dict[str, bytes]:
    return {one.name: one.value.reveal() for one in found}


def refused(form: str, data: bytes) -> InvalidInput:
    with pytest.raises(InvalidInput) as caught:
        READERS[form](data)
    told = repr(caught.value) + caught.value.message + "".join(map(str, caught.value.problems))
    assert CANARY not in told
    return caught.value


@given(st.dictionaries(names, anything, max_size=5))
@pytest.mark.parametrize("form", ["json", "yaml"])
def test_any_bytes_survive_json_and_yaml(form: str, secrets: dict[str, bytes]) -> None:
    written = write(form, [(name, SecretValue(value)) for name, value in secrets.items()])
    assert plain(READERS[form](written)) == secrets


@given(st.dictionaries(names, st.text(max_size=60).filter(lambda text: "\0" not in text), max_size=5))
def test_any_text_survives_dotenv(secrets: dict[str, str]) -> None:
    keys = {name.replace("-", "_").upper() for name in secrets}
    pairs = [(name, SecretValue(value)) for name, value in secrets.items()]
    if len(keys) != len(secrets):
        with pytest.raises(InvalidInput):
            write("dotenv", pairs)
        return
    found = plain(READERS["dotenv"](write("dotenv", pairs)))
    assert found == {name.replace("-", "_").upper(): value.encode() for name, value in secrets.items()}


@given(st.text(max_size=40))
def test_other_readers_of_yaml_and_json_agree(text: str) -> None:
    secret = [("a", SecretValue(text))]
    assert yaml.safe_load(write("yaml", secret)) == {"a": text}
    assert json.loads(write("json", secret)) == {"a": text}


def test_what_dotenv_cannot_carry_is_refused_by_name() -> None:
    secrets = [
        (name, SecretValue(value)) for name, value in (("binary", b"\xff"), ("nul", b"a\0b"), ("1st", b"x"), ("fine", b"y"))
    ]
    with pytest.raises(InvalidInput) as caught:
        write("dotenv", secrets)
    assert sorted(problem.place for problem in caught.value.problems) == ["1st", "binary", "nul"]
    with pytest.raises(InvalidInput, match="format is one of"):
        write("toml", [])


def test_the_whole_grammar_of_dotenv() -> None:
    text = """\ufeff# comment
export A=one # comment
B: two
C="tab\\there \\"quoted\\" \\$A $A ${A}"
D='$A \\n as it is'
E=${A}-${NOPE:-fallback}-${A:+there}
F="two
lines"
G=
H
"""
    expected = {"A": "one", "B": "two", "C": 'tab\there "quoted" $A one one', "D": "$A \\n as it is"}
    expected |= {"E": "one-fallback-there", "F": "two\nlines", "G": ""}
    assert plain(READERS["dotenv"](text.encode())) == {key: value.encode() for key, value in expected.items()}


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("dotenv", f"A={CANARY}$NOPE"),
        ("dotenv", f"A=pa${CANARY}"),
        ("dotenv", f'A="{CANARY}'),
        ("dotenv", f"A={CANARY}${{B"),
        ("json", f'{{"a": "{CANARY}"'),
        ("json", f'["{CANARY}"]'),
        ("json", f'{{"a": ["{CANARY}"], "b": null}}'),
        ("json", f'{{"a": "{CANARY}", "a": "2"}}'),
        ("json", '{"a": "\\ud800"}'),
        ("yaml", f"a: [{CANARY}"),
        ("yaml", f"- {CANARY}"),
        ("yaml", f"a: &x {CANARY}\nb: *x"),
        ("yaml", f"a: !!binary {CANARY}%"),
        ("compose", f"services: [{CANARY}"),
        ("infisical", f'[{{"secret": "{CANARY}"}}]'),
        ("infisical", f'"{CANARY}"'),
        ("vault", f'{{"errors": ["{CANARY}"]}}'),
        ("vault", '{"data": {"data": null, "metadata": {"version": 2, "deletion_time": "x"}}}'),
    ],
)
def test_a_broken_file_is_refused_without_a_word_of_it(form: str, text: str) -> None:
    refused(form, text.encode())
    refused(form, b"\xff" + text.encode())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # libyaml's composer recurses in C: a million of these ended the whole process with its stack.
        ("- " * 150 + "x", "the file is nested more than 100 deep"),
        ("? " * 150 + "x", "the file is nested more than 100 deep"),
        ("a: " + "[" * 100_000, "the file is nested more than 100 deep"),
        ("".join(f"%TAG !{n}! x\n" for n in range(50_000)) + "--- {a: b}\n", "a file to import has no more than a few"),
    ],
    ids=["deep lists", "deep keys", "deep flow", "directives"],
)
def test_a_file_takes_no_more_than_its_length(text: str, told: str) -> None:
    start = time.process_time()
    assert refused("yaml", text.encode()).message.startswith(told)
    if len(text) > 1000:  # Compose's own reader recurses on nothing
        refused("compose", text.encode())
    assert time.process_time() - start < 2


def test_scalars_are_the_text_that_was_written() -> None:
    found = READERS["yaml"](b"a: yes\nb: 1.10\nc: 010\nd: ~\ne: {f: x, g: {h: 'y'}}\nt: 2024-01-01\n")
    assert plain(found) == {
        "a": b"yes", "b": b"1.10", "c": b"010", "d": b"~", "e.f": b"x", "e.g.h": b"y", "t": b"2024-01-01",
    }  # fmt: skip
    assert plain(READERS["json"](b'{"a": 1.10, "b": true, "c": {"d": "x"}}')) == {"a": b"1.10", "b": b"true", "c.d": b"x"}


def test_what_vault_prints_in_both_versions() -> None:
    second = {
        "request_id": "r",
        "data": {"data": {"password": "a", "port": 5432, "list": [1, 1.5], "rate": 1.10}, "metadata": {"version": 3}},
    }
    first = {"data": {"user": "u", "data": "a field of that name"}}
    dump = json.dumps(second) + "\n" + json.dumps(first)
    assert plain(READERS["vault"](dump.encode())) == {
        "password": b"a", "port": b"5432", "rate": b"1.1", "list": b'[1, 1.5]', "user": b"u", "data": b"a field of that name",
    }  # fmt: skip


def test_what_infisical_exports() -> None:
    exported = [{"key": "DB", "value": "x", "tags": []}, {"secretKey": "API", "secretValue": "", "secretPath": "/a"}]
    assert plain(READERS["infisical"](json.dumps(exported).encode())) == {"DB": b"x", "API": b""}
    assert plain(READERS["infisical"](json.dumps({"secrets": exported[:1]}).encode())) == {"DB": b"x"}


def test_the_environment_of_services() -> None:
    text = b"""
services:
  db: {image: postgres, environment: {POSTGRES_PASSWORD: "pa$$word", OTHER: "${HOME}", REF: "${SECRET:x}", NUMBER: 1}}
  web:
    environment: [TOKEN=a=b, INHERITED]
"""
    found = READERS["compose"](text)
    assert {one.place: one.value.reveal() for one in found} == {
        "db.POSTGRES_PASSWORD": b"pa$word", "db.NUMBER": b"1", "web.TOKEN": b"a=b",
    }  # fmt: skip


def test_names() -> None:
    found = [Found("DB_PASSWORD", SecretValue("x")), Found("apiKey", SecretValue("y")), Found("a b", SecretValue(CANARY))]
    rules = NameRules(prefix="shop-", renames={"a b": "mended"})
    assert [name for name, _ in named(found, rules)] == ["shop-db-password", "shop-apiKey", "mended"]
    assert [name for name, _ in named(found[:1], NameRules(keep=True))] == ["DB_PASSWORD"]
    assert [name for name, _ in named(found, NameRules(only=frozenset({"apiKey"})))] == ["apiKey"]
    with pytest.raises(InvalidInput) as caught:
        named(found, NameRules())
    assert [problem.place for problem in caught.value.problems] == ["a b"]
    twins = [Found("A", SecretValue("x")), Found("a", SecretValue("y"))]
    with pytest.raises(InvalidInput, match="cannot be used"):
        named(twins, NameRules())
    assert len(named([twins[0], Found("a", SecretValue("x"))], NameRules())) == 1
    with pytest.raises(InvalidInput) as caught:
        named(found, NameRules(only=frozenset({"NOPE"})))
    assert [problem.code for problem in caught.value.problems] == ["missing_name"]


def test_formats_by_file_names() -> None:
    wanted = {"a/.env": "dotenv", "app.env": "dotenv", ".env.local": "dotenv", "compose.yaml": "compose", "a.yml": "yaml"}
    assert {name: guessed(name) for name in wanted} == wanted
    assert guessed("secrets.txt") is None
    assert [guessed_sops(name) for name in ("a.yaml", "compose.yml", "a.json", "x.env", "key.pem")] == [
        "yaml", "yaml", "json", "dotenv", "binary",
    ]  # fmt: skip
    assert set(WRITERS) <= set(READERS)
