"""Ed25519: a signature holds for its message and key; anything malformed is False and never an error."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.crypto.signatures import SigningKey, verifies
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

KEY = SigningKey.generate()
MESSAGE = b"a message"
SIGNATURE = KEY.sign(MESSAGE)


def test_a_signature_holds_and_every_damage_is_refused() -> None:
    assert verifies(KEY.public, SIGNATURE, MESSAGE)
    for damaged in (*flipped_bits(SIGNATURE), *cut_or_grown(SIGNATURE)):
        assert not verifies(KEY.public, damaged, MESSAGE)
    for damaged in (*flipped_bits(KEY.public), *cut_or_grown(KEY.public)):
        assert not verifies(damaged, SIGNATURE, MESSAGE)
    for damaged in (*flipped_bits(MESSAGE), *cut_or_grown(MESSAGE)):
        assert not verifies(KEY.public, SIGNATURE, damaged)


def test_the_other_spelling_of_a_signature_is_refused() -> None:
    """RFC 8032 section 5.1.7: S must be below the group order, or every signature would have a twin."""
    order = 2**252 + 27742317777372353535851937790883648493
    twin = SIGNATURE[:32] + (int.from_bytes(SIGNATURE[32:], "little") + order).to_bytes(32, "little")
    assert not verifies(KEY.public, twin, MESSAGE)


@given(st.binary(max_size=70), st.binary(max_size=70))
@pytest.mark.parametrize("message", [b"", MESSAGE])
def test_garbage_is_false(public: bytes, signature: bytes, message: bytes) -> None:
    assert verifies(public, signature, message) is False


def test_signing_is_deterministic() -> None:
    assert KEY.sign(MESSAGE) == SIGNATURE
