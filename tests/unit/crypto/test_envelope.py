"""The envelope: a record opens in its own place, under its own term, unchanged; and nowhere else."""

from __future__ import annotations

import dataclasses
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from overseer.core.errors import DecryptionFailed, KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import BundleFileContext, EncryptedValue, RecordContext, ValueContext, decrypt, encrypt, rewrap
from overseer.crypto.framing import frame
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import Key, RootKey
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

CANARY = b"canary-of-the-envelope"
RING = Keyring.create(uuid4(), RootKey.generate())[0]


def value_context(instance_id: UUID) -> ValueContext:
    return ValueContext(instance_id, uuid4(), uuid4(), uuid4())


def bundle_context(instance_id: UUID) -> BundleFileContext:
    return BundleFileContext(instance_id, uuid4(), uuid4(), "env/.env")


def changed(whole: EncryptedValue, field: str, blob: Any) -> EncryptedValue:
    return dataclasses.replace(whole, **{field: blob})


@settings(max_examples=50)
@given(st.binary(max_size=5000))
def test_a_value_comes_back(value: bytes) -> None:
    context = value_context(RING.instance_id)
    encrypted = encrypt(SecretValue(value), context, RING.newest_kek)
    assert decrypt(encrypted, context, RING).reveal() == value
    assert len(encrypted.wrapped_dek) == 60
    assert len(encrypted.ciphertext) == len(value) + 28


def test_the_largest_value_comes_back(keyring: Keyring) -> None:
    value = SecretValue(b"\xff" * (1 << 20))
    context = value_context(keyring.instance_id)
    assert decrypt(encrypt(value, context, keyring.newest_kek), context, keyring) == value


def test_every_flipped_bit_and_cut_is_refused_and_names_the_secret_only(keyring: Keyring) -> None:
    context = value_context(keyring.instance_id)
    whole = encrypt(SecretValue(CANARY), context, keyring.newest_kek)
    for field in ("wrapped_dek", "ciphertext"):
        blob: bytes = getattr(whole, field)
        for damaged in (*flipped_bits(blob), *cut_or_grown(blob)):
            with pytest.raises(DecryptionFailed) as refused:
                decrypt(changed(whole, field, damaged), context, keyring)
            assert str(context.secret_id) in refused.value.message
            assert CANARY.decode() not in refused.value.message
            assert refused.value.__suppress_context__


@pytest.mark.parametrize("field", ["instance_id", "secret_id", "version_id", "scope_id"])
def test_a_value_moved_to_another_place_does_not_open(keyring: Keyring, field: str) -> None:
    context = value_context(keyring.instance_id)
    encrypted = encrypt(SecretValue(CANARY), context, keyring.newest_kek)
    with pytest.raises(DecryptionFailed):
        decrypt(encrypted, dataclasses.replace(context, **{field: uuid4()}), keyring)


@pytest.mark.parametrize("field", ["instance_id", "secret_id", "version_id", "scope_id"])
def test_neither_half_alone_can_be_moved(keyring: Keyring, field: str) -> None:
    here = value_context(keyring.instance_id)
    there = dataclasses.replace(here, **{field: uuid4()})
    one, other = (encrypt(SecretValue(CANARY), context, keyring.newest_kek) for context in (here, there))
    for mixed in (
        dataclasses.replace(one, wrapped_dek=other.wrapped_dek),
        dataclasses.replace(one, ciphertext=other.ciphertext),
    ):
        for context in (here, there):
            with pytest.raises(DecryptionFailed):
                decrypt(mixed, context, keyring)


def test_ids_cannot_change_places(keyring: Keyring) -> None:
    context = value_context(keyring.instance_id)
    encrypted = encrypt(SecretValue(CANARY), context, keyring.newest_kek)
    swapped = dataclasses.replace(context, secret_id=context.version_id, version_id=context.secret_id)
    with pytest.raises(DecryptionFailed):
        decrypt(encrypted, swapped, keyring)


def test_another_instance_with_other_keys_does_not_open_it(keyring: Keyring) -> None:
    context = value_context(keyring.instance_id)
    encrypted = encrypt(SecretValue(CANARY), context, keyring.kek(1))
    foreign, _, _ = Keyring.create(keyring.instance_id, RootKey.generate())
    with pytest.raises(DecryptionFailed):
        decrypt(encrypted, context, foreign)


@pytest.mark.parametrize(
    "change", [{"instance_id": uuid4()}, {"bundle_id": uuid4()}, {"app_id": uuid4()}, {"path": "env/.env2"}, {"path": ""}]
)
def test_a_bundle_file_moved_does_not_open(keyring: Keyring, change: dict[str, object]) -> None:
    context = bundle_context(keyring.instance_id)
    encrypted = encrypt(SecretValue(CANARY), context, keyring.newest_kek)
    assert decrypt(encrypted, context, keyring).reveal() == CANARY
    with pytest.raises(DecryptionFailed):
        decrypt(encrypted, dataclasses.replace(context, **change), keyring)  # type: ignore[arg-type]


def test_a_record_of_one_kind_does_not_open_as_another(keyring: Keyring) -> None:
    """Even where every id is the same and the path is chosen to have the bytes of one."""
    one, two, three = (UUID(bytes=b"0123456789abcde" + tail) for tail in (b"f", b"g", b"h"))
    value = ValueContext(one, two, three, one)
    bundle = BundleFileContext(one, two, three, one.bytes.decode())
    pairs: list[tuple[RecordContext, RecordContext]] = [(value, bundle), (bundle, value)]
    for made, asked in pairs:
        encrypted = encrypt(SecretValue(CANARY), made, keyring.newest_kek)
        with pytest.raises(DecryptionFailed):
            decrypt(encrypted, asked, keyring)


def test_the_term_of_a_wrap_is_authenticated(instance_id: UUID) -> None:
    """A ring whose two terms have the same key bytes: only the authenticated term tells the rows apart."""
    key = Key.generate()
    ring = Keyring(instance_id, RootKey.generate(), {("kek", 1): key, ("kek", 2): key})
    context = value_context(instance_id)
    encrypted = encrypt(SecretValue(CANARY), context, ring.kek(1))
    with pytest.raises(DecryptionFailed):
        decrypt(dataclasses.replace(encrypted, term=2), context, ring)


def test_an_unknown_term_or_format_is_said_plainly(keyring: Keyring) -> None:
    context = value_context(keyring.instance_id)
    encrypted = encrypt(SecretValue(CANARY), context, keyring.newest_kek)
    with pytest.raises(KeyProblem, match="term 99"):
        decrypt(dataclasses.replace(encrypted, term=99), context, keyring)
    for number in (0, 2, -1):
        with pytest.raises(DecryptionFailed, match=f"format {number}"):
            decrypt(dataclasses.replace(encrypted, format=number), context, keyring)


def test_rewrapping_keeps_the_value_and_the_ciphertext(keyring: Keyring) -> None:
    context = value_context(keyring.instance_id)
    old = encrypt(SecretValue(CANARY), context, keyring.kek(1))
    new = rewrap(old, context, keyring, keyring.kek(2))
    assert (old.term, new.term) == (1, 2)
    assert new.ciphertext == old.ciphertext
    assert new.wrapped_dek != old.wrapped_dek
    assert decrypt(new, context, keyring.without_term(1)).reveal() == CANARY
    with pytest.raises(KeyProblem):
        decrypt(old, context, keyring.without_term(1))


def test_a_damaged_wrap_is_not_rewrapped(keyring: Keyring) -> None:
    context = value_context(keyring.instance_id)
    whole = encrypt(SecretValue(CANARY), context, keyring.kek(1))
    for damaged in flipped_bits(whole.wrapped_dek):
        with pytest.raises(DecryptionFailed):
            rewrap(dataclasses.replace(whole, wrapped_dek=damaged), context, keyring, keyring.kek(2))


def test_no_nonce_and_no_data_key_repeats(keyring: Keyring) -> None:
    context, kek = value_context(keyring.instance_id), keyring.newest_kek
    made = [encrypt(SecretValue(CANARY), context, kek) for _ in range(2000)]
    nonces = {row.wrapped_dek[:12] for row in made} | {row.ciphertext[:12] for row in made}
    assert len(nonces) == 4000
    wrap_place = context.associated() + frame(kek.term.to_bytes(4, "big"))
    assert len({kek.cipher.open(row.wrapped_dek, wrap_place) for row in made}) == 2000
