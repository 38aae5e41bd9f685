"""Ed25519: a signature holds for its message and key; anything malformed is False and never an error."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from overseer.crypto.signatures import SigningKey, verifies
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

PRIME = 2**255 - 19
ORDER_8 = int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little")
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


@given(st.binary(max_size=70), st.binary(min_size=1, max_size=70))
def test_garbage_is_false(public: bytes, signature: bytes) -> None:
    assert verifies(public, signature, MESSAGE) is False
    assert verifies(KEY.public, signature, MESSAGE) is False


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", [0, 1, PRIME - 1, PRIME, PRIME + 1, ORDER_8, PRIME - ORDER_8])
def test_a_key_of_small_order_proves_nothing(y: int, sign: int) -> None:
    """With R the neutral point and S zero, anyone "signs" for such a key: the library itself says yes to some of these."""
    public, forged = (y | sign).to_bytes(32, "little"), b"\1" + bytes(63)
    messages = [bytes([number]) for number in range(64)]
    assert any(library_verifies(public, forged, message) for message in messages)
    assert not any(verifies(public, forged, message) for message in messages)


def library_verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def test_signing_is_deterministic() -> None:
    assert KEY.sign(MESSAGE) == SIGNATURE
