"""The keyring: numbered KEK terms and one key per named purpose, each stored wrapped by the root key.

Guarantee: a wrong root key is found by the check value before any other row is looked at or anything is written. Each row is
bound to the instance, its purpose and its term, so rows cannot be swapped or carried to another instance. A keyring never
changes: ``add_term`` and the like give a *new* one, which is put to use after its row is committed, so no record can be
encrypted under a key that a crash would lose.

Why it is safe: AES-256-GCM (NIST SP 800-38D) with random nonces; a root key wraps tens of keys, far below 2^32. Terms follow
SP 800-57 part 1: the newest encrypts (originator usage), all decrypt (recipient usage). Keys are independent random
numbers, not derived from each other.

What it will not do: store anything, or know which terms are still in use (the store counts rows).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from operator import itemgetter
from types import MappingProxyType
from typing import Final, NoReturn
from uuid import UUID

from overseer.core.errors import DecryptionFailed, KeyProblem
from overseer.core.secret_value import REDACTED
from overseer.crypto.aead import Aead
from overseer.crypto.framing import frame
from overseer.crypto.keys import HmacKey, Kek, Key, RootKey
from overseer.crypto.signatures import SigningKey

_LABEL: Final = b"overseer keyring v1"
_SUCCESSOR_LABEL: Final = b"overseer root key successor v1"
_CHECK_PURPOSE: Final = "check"
_CHECK_TEXT: Final = b"overseer root key check"


class Purpose(StrEnum):
    """What a key of the keyring is for; stored as this word. In alphabetical order."""

    AUDIT_LOG = "audit_log"
    BUNDLE_ADDRESS = "bundle_address"
    FINGERPRINT = "fingerprint"
    IDEMPOTENCY = "idempotency"
    KEK = "kek"
    SERVER_SIGNING = "server_signing"
    SIGN_IN = "sign_in"


_HMAC_PURPOSES: Final = frozenset({Purpose.BUNDLE_ADDRESS, Purpose.FINGERPRINT, Purpose.IDEMPOTENCY, Purpose.SIGN_IN})


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """A row of the keyring: ``wrapped`` is ``nonce || ciphertext || tag`` (60 bytes) under the root key.

    Evolution rule: the label ``overseer keyring v1`` is authenticated with instance, purpose and term. A change of cipher or
    of these fields is a new label, tried after this one; ``tests/vectors/keyring-v1.json`` must open forever. A purpose that
    this version does not know is carried along (and re-wrapped), never dropped, so a newer version finds its keys again.
    """

    purpose: str
    term: int
    wrapped: bytes


class Keyring:
    """Opened keys of one instance. Make one with :meth:`create` or :meth:`open`."""

    __slots__ = ("__keks", "__keys", "__root", "instance_id", "newest_term")

    def __init__(self, instance_id: UUID, root_key: RootKey, keys: Mapping[tuple[str, int], Key]) -> None:
        keks = {term: Kek(key, term) for (purpose, term), key in keys.items() if purpose == Purpose.KEK}
        if not keks:
            raise KeyProblem("the keyring has no key-encryption key; restore the database from a backup")
        self.instance_id = instance_id
        self.newest_term = max(keks)
        self.__root = root_key
        self.__keys = MappingProxyType(dict(keys))
        self.__keks = keks

    @classmethod
    def create(cls, instance_id: UUID, root_key: RootKey) -> tuple[Keyring, list[WrappedKey], bytes]:
        """A new keyring with term 1 of every purpose, its rows, and the check value; all three belong into one transaction."""
        keyring = cls(instance_id, root_key, {(purpose, 1): Key.generate() for purpose in Purpose})
        rows, check_value = keyring.__wrap_all(root_key)
        return keyring, rows, check_value

    @classmethod
    def open(cls, instance_id: UUID, root_key: RootKey, rows: Iterable[WrappedKey], check_value: bytes) -> Keyring:
        """The keyring of stored ``rows``. :class:`KeyProblem` for a wrong root key (found first), a damaged or a moved row."""
        cipher = Aead(root_key.reveal())
        try:
            text = cipher.open(check_value, _associated(instance_id, _CHECK_PURPOSE, 0))
        except DecryptionFailed:
            text = b""
        if text != _CHECK_TEXT:
            raise KeyProblem(
                "the root key is not the one of this instance (or the stored check value was changed); nothing was written. "
                "Give the seal the key from the recovery kit of this instance"
            )
        return cls(instance_id, root_key, {(row.purpose, row.term): _unwrap(cipher, instance_id, row) for row in rows})

    def kek(self, term: int) -> Kek:
        """The KEK of ``term``; :class:`KeyProblem` where this keyring has none (another replica added it: reread)."""
        try:
            return self.__keks[term]
        except KeyError:
            raise KeyProblem(f"key-encryption key term {term} is not in the keyring that this process has read") from None

    @property
    def newest_kek(self) -> Kek:
        """The KEK that encrypts."""
        return self.__keks[self.newest_term]

    @property
    def terms(self) -> tuple[int, ...]:
        """The KEK terms, ascending."""
        return tuple(sorted(self.__keks))

    def holds_exactly(self, keys: Iterable[tuple[str, int]]) -> bool:
        """True where the (purpose, term) of stored rows are those of this keyring: there is nothing to read again."""
        return set(keys) == set(self.__keys)

    def hmac_key(self, purpose: Purpose) -> HmacKey:
        """The newest key of an HMAC purpose; :class:`KeyProblem` where there is none, ValueError for another kind of purpose."""
        if purpose not in _HMAC_PURPOSES:
            raise ValueError(f"{purpose} is not an HMAC purpose")
        return HmacKey(self.__newest(purpose).reveal())

    @property
    def signing_key(self) -> SigningKey:
        """The server's Ed25519 key: its public half is pinned by the nodes."""
        return SigningKey(self.__newest(Purpose.SERVER_SIGNING).reveal())

    def log_key(self, term: int) -> SigningKey:
        """The Ed25519 key of ``term`` that signs checkpoints of the audit log; :class:`KeyProblem` where there is none."""
        key = self.__keys.get((Purpose.AUDIT_LOG, term))
        if key is None:
            raise KeyProblem(f"the keyring has no key {term} for the audit log: after an upgrade run `overseer server init`")
        return SigningKey(key.reveal())

    def missing_purposes(self) -> tuple[Purpose, ...]:
        """Purposes newer than the stored keyring; :meth:`add_key` makes their keys at the upgrade."""
        present = {purpose for purpose, _ in self.__keys}
        return tuple(purpose for purpose in Purpose if purpose not in present)

    def add_key(self, purpose: Purpose) -> tuple[Keyring, WrappedKey]:
        """A keyring with the next term of ``purpose``, and the row to commit before that keyring is used."""
        term = 1 + max((t for p, t in self.__keys if p == purpose), default=0)
        key = Key.generate()
        row = _wrap(Aead(self.__root.reveal()), self.instance_id, purpose, term, key)
        return Keyring(self.instance_id, self.__root, {**self.__keys, (purpose, term): key}), row

    def add_term(self) -> tuple[Keyring, WrappedKey]:
        """A keyring with a new newest KEK term, and the row to commit before that keyring is used."""
        return self.add_key(Purpose.KEK)

    def without_term(self, term: int) -> Keyring:
        """A keyring without the KEK ``term``, which no row uses any more. The newest cannot go (:class:`KeyProblem`)."""
        if term == self.newest_term:
            raise KeyProblem("the newest key-encryption key term is in use and cannot be deleted")
        self.kek(term)
        return Keyring(self.instance_id, self.__root, {k: v for k, v in self.__keys.items() if k != (Purpose.KEK, term)})

    def reread(self, rows: Iterable[WrappedKey], check_value: bytes) -> Keyring:
        """The keyring of rows that another replica may have changed, opened with the root key that this one holds.

        Keys are only ever added, and old terms deleted. So rows without the newest term of a purpose, or with another key under a
        term, were put back from an older copy, and would bring a key back into use that was replaced: :class:`KeyProblem`.
        """
        found = Keyring.open(self.instance_id, self.__root, rows, check_value)
        newest = dict(sorted(self.__keys))  # the highest term of a purpose is the last
        for (purpose, term), key in self.__keys.items():
            if found.__keys.get((purpose, term), key if term < newest[purpose] else None) != key:
                raise KeyProblem(
                    f"the stored keyring is older than the one this process has read: {purpose} term {term} is gone or another. "
                    "Nothing was written. Find out who changed the database; after a restore start the server again"
                )
        return found

    def rewrap_all(self, new_root: RootKey) -> tuple[Keyring, list[WrappedKey], bytes]:
        """The same keys under ``new_root`` (a change of seal): keyring, every row anew, check value; all in one transaction."""
        rows, check_value = self.__wrap_all(new_root)
        return Keyring(self.instance_id, new_root, self.__keys), rows, check_value

    def hand_over(self, new_root: RootKey) -> bytes:
        """``new_root`` sealed under the present root key, for running replicas (:meth:`successor`). It is not to be stored."""
        return Aead(self.__root.reveal()).seal(new_root.reveal(), frame(_SUCCESSOR_LABEL, self.instance_id.bytes))

    def successor(self, handed_over: bytes) -> RootKey:
        """The root key in what :meth:`hand_over` gave; :class:`DecryptionFailed` for anything else."""
        return RootKey(Aead(self.__root.reveal()).open(handed_over, frame(_SUCCESSOR_LABEL, self.instance_id.bytes)))

    def has_same_keys(self, other: Keyring) -> bool:
        """True where both hold the same keys, whatever root key wraps them."""
        return self.instance_id == other.instance_id and dict(self.__keys) == dict(other.__keys)

    def __newest(self, purpose: Purpose) -> Key:
        term = max((t for p, t in self.__keys if p == purpose), default=0)
        if not term:
            raise KeyProblem(f"the keyring has no key for {purpose}; it was made by an older version: run `overseer server init`")
        return self.__keys[purpose, term]

    def __wrap_all(self, root_key: RootKey) -> tuple[list[WrappedKey], bytes]:
        cipher = Aead(root_key.reveal())
        rows = [
            _wrap(cipher, self.instance_id, purpose, term, key)
            for (purpose, term), key in sorted(self.__keys.items(), key=itemgetter(0))
        ]
        return rows, cipher.seal(_CHECK_TEXT, _associated(self.instance_id, _CHECK_PURPOSE, 0))

    def __repr__(self) -> str:
        return f"Keyring(instance_id={self.instance_id}, terms={self.terms}, keys={REDACTED})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Keyring cannot be pickled or copied")


def _associated(instance_id: UUID, purpose: str, term: int) -> bytes:
    return frame(_LABEL, instance_id.bytes, purpose.encode("utf-8"), term.to_bytes(4, "big"))


def _wrap(cipher: Aead, instance_id: UUID, purpose: str, term: int, key: Key) -> WrappedKey:
    return WrappedKey(str(purpose), term, cipher.seal(key.reveal(), _associated(instance_id, purpose, term)))


def _unwrap(cipher: Aead, instance_id: UUID, row: WrappedKey) -> Key:
    try:
        return Key(cipher.open(row.wrapped, _associated(instance_id, row.purpose, row.term)))
    except (DecryptionFailed, OverflowError, ValueError):  # the last two: a term or a length that was never written
        raise KeyProblem(
            f"keyring row {row.purpose!r} term {row.term} was changed, moved or belongs to another instance; "
            "nothing was written. Restore the keyring from a backup"
        ) from None
