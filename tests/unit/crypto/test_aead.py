"""AES-256-GCM as it is used here: round trip, every damage refused, nonces fresh, nothing shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overseer.core.errors import DecryptionFailed
from overseer.crypto.aead import NONCE_BYTES, OVERHEAD, Aead
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

KEY = bytes(range(32))


@given(st.binary(max_size=2000), st.binary(max_size=100))
def test_what_was_sealed_opens(plaintext: bytes, associated: bytes) -> None:
    sealed = Aead(KEY).seal(plaintext, associated)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert Aead(KEY).open(sealed, associated) == plaintext


def test_every_flipped_bit_and_every_cut_is_refused() -> None:
    aead = Aead(KEY)
    sealed = aead.seal(b"a value", b"a place")
    for damaged in (*flipped_bits(sealed), *cut_or_grown(sealed)):
        with pytest.raises(DecryptionFailed):
            aead.open(damaged, b"a place")


def test_another_place_or_key_does_not_open() -> None:
    sealed = Aead(KEY).seal(b"a value", b"a place")
    for damaged in flipped_bits(b"a place"):
        with pytest.raises(DecryptionFailed):
            Aead(KEY).open(sealed, damaged)
    with pytest.raises(DecryptionFailed) as refused:
        Aead(bytes(32)).open(sealed, b"a place")
    assert "a value" not in str(refused.value)
    assert refused.value.__suppress_context__


def test_nonces_do_not_repeat() -> None:
    aead = Aead(KEY)
    nonces = {aead.seal(b"", b"")[:NONCE_BYTES] for _ in range(50_000)}
    assert len(nonces) == 50_000


@pytest.mark.parametrize("length", [0, 16, 24, 31, 33])
def test_only_keys_of_256_bits_are_taken(length: int) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Aead(bytes(length))
