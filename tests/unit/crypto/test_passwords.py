"""Argon2id: right and wrong, stored parameters bounded, text normalised."""

from __future__ import annotations

import re

import pytest

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.passwords import (
    PASSPHRASE_PARAMETERS,
    PASSWORD_PARAMETERS,
    Argon2Parameters,
    derive_key,
    hash_password,
    needs_rehash,
    new_salt,
    password_matches,
)

PASSWORD = SecretValue("correct horse battery staple")
STORED = hash_password(PASSWORD)


def test_the_right_password_matches_and_a_wrong_one_does_not() -> None:
    assert password_matches(PASSWORD, STORED)
    for wrong in (b"", b"correct horse battery stapl", b"correct horse battery staplE", b"correct horse battery staple "):
        assert not password_matches(SecretValue(wrong), STORED)


def test_the_stored_form_names_its_parameters_and_not_the_password() -> None:
    assert STORED.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert "horse" not in STORED
    assert hash_password(PASSWORD) != STORED


def test_a_changed_hash_or_salt_does_not_match() -> None:
    head, salt, tag = STORED.rsplit("$", 2)
    for changed in (
        f"{head}${salt}${'A' + tag[1:] if tag[0] != 'A' else 'B' + tag[1:]}",
        f"{head}${'A' + salt[1:] if salt[0] != 'A' else 'B' + salt[1:]}${tag}",
        STORED.replace("t=2", "t=3"),
        STORED.replace("m=19456", "m=19457"),
    ):
        assert not password_matches(PASSWORD, changed)


@pytest.mark.parametrize(
    "change", [("m=19456", "m=8"), ("m=19456", "m=4194304"), ("t=2", "t=0"), ("t=2", "t=9999"), ("p=1", "p=64"), ("v=19", "v=16")]
)
def test_parameters_out_of_bounds_are_refused_before_any_work(change: tuple[str, str]) -> None:
    with pytest.raises(KeyProblem):
        password_matches(PASSWORD, STORED.replace(*change))


@pytest.mark.parametrize(
    "stored", ["", "$", "$argon2i$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA", STORED + "\n", STORED[:-1], " " + STORED]
)
def test_a_damaged_hash_is_an_error_and_not_a_wrong_password(stored: str) -> None:
    with pytest.raises(KeyProblem, match="damaged"):
        password_matches(PASSWORD, stored)


def test_other_parameters_ask_for_a_new_hash() -> None:
    assert not needs_rehash(STORED)
    assert needs_rehash(STORED, Argon2Parameters(19_456, 3, 1))


def test_a_derived_key_depends_on_passphrase_salt_and_every_parameter() -> None:
    salt = new_salt()
    base = derive_key(PASSWORD, salt, PASSWORD_PARAMETERS)
    assert derive_key(PASSWORD, salt, PASSWORD_PARAMETERS) == base
    others = [
        derive_key(SecretValue("other"), salt, PASSWORD_PARAMETERS),
        derive_key(PASSWORD, new_salt(), PASSWORD_PARAMETERS),
        derive_key(PASSWORD, salt, Argon2Parameters(19_457, 2, 1)),
        derive_key(PASSWORD, salt, Argon2Parameters(19_456, 3, 1)),
        derive_key(PASSWORD, salt, Argon2Parameters(19_456, 2, 2)),
    ]
    assert all(other != base for other in others)
    assert re.fullmatch(r"Key\(«redacted»\)", repr(base))


def test_the_same_text_from_another_keyboard_is_the_same_passphrase() -> None:
    composed, decomposed, wide = ("p\u00e4ssw\u00f6rd", "pa\u0308sswo\u0308rd", "\uff50\u00e4ssw\u00f6rd")
    stored = hash_password(SecretValue(composed))
    assert password_matches(SecretValue(decomposed), stored)
    assert password_matches(SecretValue(wide), stored)


def test_bytes_that_are_no_text_are_taken_as_they_are() -> None:
    stored = hash_password(SecretValue(b"\xff\xfe"))
    assert password_matches(SecretValue(b"\xff\xfe"), stored)
    assert not password_matches(SecretValue(b"\xff\xfd"), stored)


def test_the_parameters_in_use_are_within_the_bounds_and_the_seal_pays_more() -> None:
    for parameters in (PASSWORD_PARAMETERS, PASSPHRASE_PARAMETERS):
        parameters.check()
    assert PASSPHRASE_PARAMETERS.memory_kib > PASSWORD_PARAMETERS.memory_kib
    assert PASSPHRASE_PARAMETERS.iterations > PASSWORD_PARAMETERS.iterations
