"""The keyring: a wrong root key is found first, rows cannot be changed or swapped, and rotation loses nothing."""

from __future__ import annotations

import dataclasses
from uuid import UUID, uuid4

import pytest

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.aead import Aead
from overseer.crypto.envelope import ValueContext, decrypt, encrypt
from overseer.crypto.framing import frame
from overseer.crypto.keyring import Keyring, Purpose, WrappedKey
from overseer.crypto.keys import RootKey
from tests.unit.crypto.damage import cut_or_grown, flipped_bits

ROOT = RootKey.generate()
INSTANCE = uuid4()


def test_what_was_created_opens_with_the_same_keys() -> None:
    created, rows, check = Keyring.create(INSTANCE, ROOT)
    opened = Keyring.open(INSTANCE, ROOT, rows, check)
    assert {row.purpose for row in rows} == set(Purpose)
    assert opened.terms == (1,)
    assert opened.signing_key.public == created.signing_key.public
    for purpose in (Purpose.BUNDLE_ADDRESS, Purpose.FINGERPRINT, Purpose.IDEMPOTENCY):
        assert opened.hmac_key(purpose) == created.hmac_key(purpose)
    assert opened.missing_purposes() == ()


def test_each_key_is_its_own() -> None:
    created, _, _ = Keyring.create(INSTANCE, ROOT)
    keys = [created.hmac_key(p).reveal() for p in (Purpose.BUNDLE_ADDRESS, Purpose.FINGERPRINT, Purpose.IDEMPOTENCY)]
    keys.append(created.signing_key.reveal())
    assert len({*keys, ROOT.reveal()}) == 5


def test_a_wrong_root_key_is_found_before_any_row_is_read() -> None:
    _, _, check = Keyring.create(INSTANCE, ROOT)

    class Unread:
        def __iter__(self) -> None:
            raise AssertionError("a row was read under a wrong root key")

    with pytest.raises(KeyProblem, match=r"not the one of this instance.*nothing was written"):
        Keyring.open(INSTANCE, RootKey.generate(), Unread(), check)  # type: ignore[arg-type]


def test_every_damage_of_the_check_value_is_refused() -> None:
    _, rows, check = Keyring.create(INSTANCE, ROOT)
    for damaged in (*flipped_bits(check), *cut_or_grown(check)):
        with pytest.raises(KeyProblem):
            Keyring.open(INSTANCE, ROOT, rows, damaged)


def test_a_check_value_of_another_text_is_refused() -> None:
    """A ciphertext under the right key and place which does not hold the check text proves nothing."""
    _, rows, _ = Keyring.create(INSTANCE, ROOT)
    place = frame(b"overseer keyring v1", INSTANCE.bytes, b"check", bytes(4))
    with pytest.raises(KeyProblem):
        Keyring.open(INSTANCE, ROOT, rows, Aead(ROOT.reveal()).seal(b"another text", place))


def test_every_damage_of_a_row_is_refused_and_names_it() -> None:
    _, rows, check = Keyring.create(INSTANCE, ROOT)
    for index, row in enumerate(rows):
        for damaged in (*flipped_bits(row.wrapped), *cut_or_grown(row.wrapped)):
            changed = [*rows[:index], dataclasses.replace(row, wrapped=damaged), *rows[index + 1 :]]
            with pytest.raises(KeyProblem, match=row.purpose):
                Keyring.open(INSTANCE, ROOT, changed, check)


@pytest.mark.parametrize("term", [2, 0, -1, 1 << 40])
def test_a_row_cannot_get_another_term(term: int) -> None:
    _, rows, check = Keyring.create(INSTANCE, ROOT)
    for row in rows:
        with pytest.raises(KeyProblem):
            Keyring.open(INSTANCE, ROOT, [dataclasses.replace(row, term=term)], check)


def test_rows_cannot_swap_purposes() -> None:
    _, rows, check = Keyring.create(INSTANCE, ROOT)
    for one in rows:
        for other in rows:
            if one is not other:
                with pytest.raises(KeyProblem):
                    Keyring.open(INSTANCE, ROOT, [dataclasses.replace(one, wrapped=other.wrapped)], check)


def test_the_check_value_is_no_row() -> None:
    _, rows, check = Keyring.create(INSTANCE, ROOT)
    with pytest.raises(KeyProblem):
        Keyring.open(INSTANCE, ROOT, [*rows, WrappedKey("check", 0, check)], check)


def test_rows_of_another_instance_under_the_same_root_key_do_not_open() -> None:
    _, rows, check = Keyring.create(uuid4(), ROOT)
    _, _, own_check = Keyring.create(INSTANCE, ROOT)
    with pytest.raises(KeyProblem, match="root key"):
        Keyring.open(INSTANCE, ROOT, rows, check)
    with pytest.raises(KeyProblem, match="belongs to another instance"):
        Keyring.open(INSTANCE, ROOT, rows, own_check)


def test_a_new_term_encrypts_and_the_old_one_decrypts() -> None:
    ring, rows, check = Keyring.create(INSTANCE, ROOT)
    context = ValueContext(INSTANCE, uuid4(), uuid4(), uuid4())
    old = encrypt(SecretValue(b"old"), context, ring.newest_kek)
    grown, row = ring.add_term()
    assert (ring.terms, grown.terms, grown.newest_term) == ((1,), (1, 2), 2)
    reread = ring.reread([*rows, row], check)
    new = encrypt(SecretValue(b"new"), context, grown.newest_kek)
    assert new.term == 2
    assert [decrypt(e, context, reread).reveal() for e in (old, new)] == [b"old", b"new"]
    with pytest.raises(KeyProblem, match="term 2"):
        decrypt(new, context, ring)


@pytest.mark.parametrize("purpose", Purpose)
def test_rows_of_an_older_copy_bring_no_replaced_key_back(purpose: Purpose) -> None:
    """A key is replaced because it may be known to somebody: who can write to the database must not be able to undo that."""
    first, rows, check = Keyring.create(INSTANCE, ROOT)
    second, row = first.add_key(purpose)
    with pytest.raises(KeyProblem, match=f"older.*{purpose} term 2"):
        second.reread(rows, check)
    other = first.add_key(purpose)[1]  # from a copy in which the same number was given to another key
    with pytest.raises(KeyProblem, match=f"older.*{purpose} term 2"):
        second.reread([*rows, other], check)
    assert second.reread([*rows, row], check).has_same_keys(second)
    retired = [one for one in rows if one.purpose != purpose]
    assert second.reread([*retired, row], check).has_same_keys(second) is False  # an old term may go


def test_the_newest_term_cannot_be_dropped_and_an_old_one_can() -> None:
    ring = Keyring.create(INSTANCE, ROOT)[0].add_term()[0]
    with pytest.raises(KeyProblem, match="newest"):
        ring.without_term(2)
    with pytest.raises(KeyProblem, match="term 7"):
        ring.without_term(7)
    assert ring.without_term(1).terms == (2,)


def test_a_new_root_key_wraps_everything_anew_and_the_old_one_is_out() -> None:
    ring, rows, check = Keyring.create(INSTANCE, ROOT)
    ring, row = ring.add_term()
    new_root = RootKey.generate()
    moved, new_rows, new_check = ring.rewrap_all(new_root)
    assert [(r.purpose, r.term) for r in new_rows] == sorted((r.purpose, r.term) for r in [*rows, row])
    assert not {r.wrapped for r in new_rows} & {r.wrapped for r in rows}
    opened = Keyring.open(INSTANCE, new_root, new_rows, new_check)
    context = ValueContext(INSTANCE, uuid4(), uuid4(), uuid4())
    assert decrypt(encrypt(SecretValue(b"v"), context, ring.kek(1)), context, opened).reveal() == b"v"
    assert moved.add_term()[0].terms == (1, 2, 3)
    Keyring.open(INSTANCE, new_root, [*new_rows, moved.add_term()[1]], new_check)
    with pytest.raises(KeyProblem):
        Keyring.open(INSTANCE, ROOT, new_rows, new_check)
    with pytest.raises(KeyProblem):
        Keyring.open(INSTANCE, new_root, rows, check)


def test_a_purpose_of_a_newer_version_is_carried_along() -> None:
    ring, rows, check = Keyring.create(INSTANCE, ROOT)
    place = frame(b"overseer keyring v1", INSTANCE.bytes, b"of_tomorrow", (3).to_bytes(4, "big"))
    rows.append(WrappedKey("of_tomorrow", 3, Aead(ROOT.reveal()).seal(b"k" * 32, place)))
    new_root = RootKey.generate()
    _, new_rows, _ = ring.reread(rows, check).rewrap_all(new_root)
    [carried] = [r for r in new_rows if r.purpose == "of_tomorrow"]
    assert carried.term == 3
    assert Aead(new_root.reveal()).open(carried.wrapped, place) == b"k" * 32


def test_a_purpose_that_an_older_version_did_not_make_is_missing_and_can_be_added() -> None:
    ring, rows, check = Keyring.create(INSTANCE, ROOT)
    older = Keyring.open(INSTANCE, ROOT, [r for r in rows if r.purpose != Purpose.FINGERPRINT], check)
    assert older.missing_purposes() == (Purpose.FINGERPRINT,)
    with pytest.raises(KeyProblem, match="fingerprint"):
        older.hmac_key(Purpose.FINGERPRINT)
    added, row = older.add_key(Purpose.FINGERPRINT)
    assert (row.purpose, row.term) == ("fingerprint", 1)
    assert added.missing_purposes() == ()
    assert added.hmac_key(Purpose.FINGERPRINT) != ring.hmac_key(Purpose.FINGERPRINT)


def test_a_keyring_without_a_kek_is_refused() -> None:
    _, rows, check = Keyring.create(INSTANCE, ROOT)
    with pytest.raises(KeyProblem, match="no key-encryption key"):
        Keyring.open(INSTANCE, ROOT, [r for r in rows if r.purpose != Purpose.KEK], check)


@pytest.mark.parametrize("purpose", [Purpose.KEK, Purpose.SERVER_SIGNING])
def test_only_hmac_purposes_give_hmac_keys(keyring: Keyring, purpose: Purpose) -> None:
    with pytest.raises(ValueError, match="not an HMAC purpose"):
        keyring.hmac_key(purpose)


def test_purposes_are_in_alphabetical_order() -> None:
    assert list(Purpose) == sorted(Purpose)


def test_ids_and_terms_show_and_keys_do_not(keyring: Keyring, instance_id: UUID) -> None:
    assert str(instance_id) in repr(keyring)
    assert "(1, 2)" in repr(keyring)
