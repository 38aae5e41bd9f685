"""HPKE to a node's key: only that key and that info open it; unusable public keys are refused."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overseer.core.errors import DecryptionFailed, InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.crypto.hpke import OVERHEAD, SealingKey, seal_to
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

KEY = SealingKey.generate()


@settings(max_examples=30)
@given(st.binary(max_size=500), st.binary(max_size=100))
def test_what_was_sealed_opens(plaintext: bytes, info: bytes) -> None:
    sealed = seal_to(KEY.public, SecretValue(plaintext), info)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert KEY.open(sealed, info).reveal() == plaintext


def test_every_damage_another_key_and_another_info_are_refused() -> None:
    sealed = seal_to(KEY.public, SecretValue(b"a value"), b"a place")
    for damaged in (*flipped_bits(sealed), *cut_or_grown(sealed)):
        with pytest.raises(DecryptionFailed):
            KEY.open(damaged, b"a place")
    for key, info in ((SealingKey.generate(), b"a place"), (KEY, b"a placf"), (KEY, b"")):
        with pytest.raises(DecryptionFailed):
            key.open(sealed, info)


def test_the_same_plaintext_never_seals_to_the_same_bytes() -> None:
    heads = {seal_to(KEY.public, SecretValue(b"x"), b"")[:32] for _ in range(500)}
    assert len(heads) == 500


@pytest.mark.parametrize("public", [bytes(32), b"\1" + bytes(31), bytes(31), bytes(33), b""])
def test_a_public_key_of_small_order_or_of_another_length_is_refused(public: bytes) -> None:
    with pytest.raises(InvalidInput):
        seal_to(public, SecretValue(b"x"), b"")
