"""Tokens: form, checksum, prefix, hash; and that they are random and shown to nobody."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import TOKEN_PATTERN, TokenPrefix, looks_valid, new_token, token_hash


@pytest.mark.parametrize("prefix", TokenPrefix)
def test_a_new_token_has_its_form_and_its_hash(prefix: TokenPrefix) -> None:
    token, stored = new_token(prefix)
    text = token.reveal().decode()
    assert text.startswith(prefix)
    assert len(text) == len(prefix) + 49
    assert looks_valid(token)
    assert stored == hashlib.sha256(text.encode()).digest() == token_hash(token)
    assert text not in repr(token)
    assert text not in f"{token}"


def test_tokens_do_not_repeat_and_use_the_whole_range() -> None:
    texts = [new_token(TokenPrefix.API)[0].reveal() for _ in range(2000)]
    assert len(set(texts)) == 2000
    for place in range(5, 47):
        assert len({text[place] for text in texts}) > 50, "each place takes nearly all of the 62 characters"


@pytest.mark.parametrize("prefix", TokenPrefix)
def test_a_prefix_can_be_asked_for(prefix: TokenPrefix) -> None:
    token, _ = new_token(prefix)
    assert [other for other in TokenPrefix if looks_valid(token, other)] == [prefix]


def test_every_single_typing_error_is_seen() -> None:
    text = new_token(TokenPrefix.API)[0].reveal().decode()
    for at, character in enumerate(text):
        for other in "0aZ9_-":
            if other != character:
                assert not looks_valid(SecretValue(text[:at] + other + text[at + 1 :]))


def test_another_prefix_needs_another_checksum() -> None:
    text = new_token(TokenPrefix.API)[0].reveal().decode()
    assert not looks_valid(SecretValue(text.replace("ovs_", "ovse_")))


@given(st.binary(max_size=80))
def test_arbitrary_bytes_do_not_look_valid(data: bytes) -> None:
    assert not looks_valid(SecretValue(data))


def test_surroundings_are_not_part_of_a_token() -> None:
    text = new_token(TokenPrefix.API)[0].reveal().decode()
    for changed in (text + "\n", " " + text, text + "0", "x" + text, text[:-1], text.replace("ovs_", "ovs_\u0660")):
        assert not looks_valid(SecretValue(changed))
    found = TOKEN_PATTERN.search(f"Authorization: Bearer {text}, and so on")
    assert found is not None
    assert found[0] == text


def test_prefixes_are_in_alphabetical_order_and_none_hides_another() -> None:
    assert list(TokenPrefix) == sorted(TokenPrefix)
    assert all(not a.startswith(b) for a in TokenPrefix for b in TokenPrefix if a != b)
