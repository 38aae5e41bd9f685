"""SOPS files: what opens, and that nothing opens which was changed."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from overseer.core.errors import DecryptionFailed, InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity
from overseer.crypto.age_messages import decrypt_with
from overseer.interchange.found import Found
from overseer.interchange.sops_file import read_sops
from tests.unit.interchange.sops_encryption import as_json, dotenv_file, json_file

CANARY = "canary-3fae77"
VECTORS = Path(__file__).parents[2] / "vectors" / "sops"
IDENTITY = Identity.generate()
RECIPIENT = str(IDENTITY.recipient)
VALUES = {"DB_PASSWORD": CANARY, "EMPTY": "", "TEXT": "two\nlines é"}


def read(data: bytes, form: str, identity: Identity = IDENTITY) -> list[Found]:
    return read_sops(data, form, lambda sealed: decrypt_with(sealed, [identity]))


def plain(found: list[Found]) -> dict[str, str]:
    return {one.name: one.value.reveal().decode() for one in found}


@pytest.mark.parametrize("form", ["json", "yaml"])
def test_a_file_opens_and_verifies(form: str) -> None:
    assert plain(read(as_json(json_file(VALUES, RECIPIENT)), form)) == VALUES


def test_dotenv_and_binary() -> None:
    values = VALUES | {"TEXT": "one line"}
    assert plain(read(dotenv_file(values, RECIPIENT).encode(), "dotenv")) == values
    (found,) = read(as_json(json_file({"data": CANARY}, RECIPIENT)), "binary")
    assert (found.name, found.value.reveal()) == ("data", CANARY.encode())


def test_a_value_that_is_called_a_number_is_refused_and_not_quoted() -> None:
    tree = json_file(VALUES, RECIPIENT)
    tree["DB_PASSWORD"] = tree["DB_PASSWORD"].replace("type:str", "type:int")
    with pytest.raises(InvalidInput) as refused:
        read(as_json(tree), "json")
    assert CANARY not in str(refused.value)


def changed(tree: dict[str, Any], how: str) -> dict[str, Any]:
    tree = copy.deepcopy(tree)
    other = json_file(VALUES, RECIPIENT)
    match how:
        case "swapped":
            tree["DB_PASSWORD"], tree["TEXT"] = tree["TEXT"], tree["DB_PASSWORD"]
        case "taken away":
            del tree["TEXT"]
        case "plain text added":
            tree["ADDED"] = "x"
        case "made plain text":
            tree["TEXT"] = "two"
        case "of another file":
            tree["TEXT"] = other["TEXT"]
        case "digest of another file":
            tree["sops"]["mac"] = other["sops"]["mac"]
        case "time":
            tree["sops"]["lastmodified"] = "2026-01-02T03:04:06Z"
        case "a bit":
            tree["TEXT"] = tree["TEXT"].replace("data:", "data:AAAA")
        case _:
            raise AssertionError(how)
    return tree


CHANGES = [
    "swapped",
    "taken away",
    "plain text added",
    "made plain text",
    "of another file",
    "digest of another file",
    "time",
    "a bit",
]


@pytest.mark.parametrize("how", CHANGES)
def test_a_changed_file_gives_nothing(how: str) -> None:
    tree = json_file(VALUES, RECIPIENT)
    with pytest.raises(DecryptionFailed) as caught:
        read(as_json(changed(tree, how)), "json")
    assert CANARY not in repr(caught.value) + caught.value.message


def test_another_identity_opens_nothing() -> None:
    with pytest.raises(DecryptionFailed):
        read(as_json(json_file(VALUES, RECIPIENT)), "json", Identity.generate())


@pytest.mark.parametrize(
    "broken",
    [
        b"{}",
        b"[]",
        b"{",
        b'{"sops": {}}',
        b'{"a": "b"}',
        b'{"sops": {"mac": "x"}}',
        b'{"sops": {"mac": "x", "age": [{}]}}',
        b"\xff",
    ],
)
def test_what_is_no_such_file_is_refused(broken: bytes) -> None:
    for form in ("json", "yaml", "binary"):
        with pytest.raises(InvalidInput):
            read(broken, form)


def test_key_groups_are_refused() -> None:
    tree = json_file(VALUES, RECIPIENT)
    tree["sops"]["key_groups"] = [{}]
    with pytest.raises(InvalidInput, match="key groups"):
        read(as_json(tree), "json")


@pytest.mark.parametrize("name", sorted(path.name for path in VECTORS.glob("secrets.*")))
def test_files_of_sops_itself(name: str) -> None:
    """Made once by the sops program; they must open for as long as this reader exists."""
    (identity,) = Identity.parse_file(SecretValue((VECTORS / "identity.txt").read_bytes()))
    expected = json.loads((VECTORS / "expected.json").read_text())[name]
    form = {"yaml": "yaml", "json": "json", "env": "dotenv", "bin": "binary"}[name.rpartition(".")[2]]
    assert plain(read((VECTORS / name).read_bytes(), form, identity)) == expected
