"""The envelope of a stored record: one random data key (DEK) per record, wrapped by a key-encryption key (KEK) of the keyring.

Guarantee: a record opens only in the place it was made for. Both ciphertexts authenticate the format, the kind of record and
the ids of its place; the wrap authenticates the KEK's term as well. A row moved to another secret, version, scope, app,
path, instance or kind of record does not open, nor does one with a flipped byte.

Why it is safe: AES-256-GCM (NIST SP 800-38D) twice. The DEK is random, encrypts once and is then only unwrapped, so its nonce
cannot repeat; the KEK's random nonces are bounded by :mod:`overseer.crypto.wrap_budget`. Rotation of a KEK changes the wrap
only.

What it will not do: hide the length of a value; notice that a row was replaced by an older copy of *itself* (same ids),
which is why versions are immutable and the audit log exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from overseer.core.errors import DecryptionFailed
from overseer.core.secret_value import SecretValue
from overseer.crypto.aead import Aead
from overseer.crypto.framing import frame
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import DataKey, Kek

FORMAT: Final = 1
_LABEL: Final = frame(b"overseer record", FORMAT.to_bytes(2, "big"))
_VALUE: Final = _LABEL + frame(b"value")
_BUNDLE: Final = _LABEL + frame(b"bundle")
#: The path that the envelope of a whole bundle is bound to; no file of a bundle is encrypted by itself.
PACK_PATH: Final = "overseer.pack"
_TOTP: Final = _LABEL + frame(b"totp")
_BACKEND: Final = _LABEL + frame(b"backend")
_UUID: Final = (16).to_bytes(4, "big")  # the length prefix of an id, so that the hot path only joins


class RecordContext(Protocol):
    """Where a record belongs. A new kind of record is a new class with a kind word of its own as the first field."""

    def associated(self) -> bytes:
        """The authenticated bytes: ``frame("overseer record", format, kind, field, …)``."""

    def label(self) -> str:
        """What an error calls the record: kind and ids, never content."""


@dataclass(frozen=True, slots=True)
class ValueContext:
    """The place of one version of a secret. ``version_id`` is made before the write."""

    instance_id: UUID
    secret_id: UUID
    version_id: UUID
    scope_id: UUID

    def associated(self) -> bytes:
        return b"".join(
            (
                _VALUE,
                _UUID,
                self.instance_id.bytes,
                _UUID,
                self.secret_id.bytes,
                _UUID,
                self.version_id.bytes,
                _UUID,
                self.scope_id.bytes,
            )
        )

    def label(self) -> str:
        return f"secret {self.secret_id}, version id {self.version_id}"


@dataclass(frozen=True, slots=True)
class BundleFileContext:
    """The place of one file of a Compose bundle; ``path`` is its path inside the bundle."""

    instance_id: UUID
    bundle_id: UUID
    app_id: UUID
    path: str

    def associated(self) -> bytes:
        return _BUNDLE + frame(self.instance_id.bytes, self.bundle_id.bytes, self.app_id.bytes, self.path.encode("utf-8"))

    def label(self) -> str:
        return f"a file of bundle {self.bundle_id}"


@dataclass(frozen=True, slots=True)
class TotpContext:
    """The place of a user's authenticator secret; ``totp_id`` is made before the write, anew for each secret."""

    instance_id: UUID
    principal_id: UUID
    totp_id: UUID

    def associated(self) -> bytes:
        return _TOTP + frame(self.instance_id.bytes, self.principal_id.bytes, self.totp_id.bytes)

    def label(self) -> str:
        return f"the second factor of user {self.principal_id}"


@dataclass(frozen=True, slots=True)
class BackendContext:
    """The place of a backend's credentials; ``credential_id`` is made before the write, anew for each.

    ``settings`` are the kind and the settings as canonical text: with another address in the row the credentials do not open, so
    whoever can write the database cannot have them sent elsewhere.
    """

    instance_id: UUID
    backend_id: UUID
    credential_id: UUID
    settings: bytes

    def associated(self) -> bytes:
        return _BACKEND + frame(self.instance_id.bytes, self.backend_id.bytes, self.credential_id.bytes, self.settings)

    def label(self) -> str:
        return f"the credentials of backend {self.backend_id}"


@dataclass(frozen=True, slots=True)
class EncryptedValue:
    """A record as the database keeps it; ``wrapped_dek`` (60 bytes) and ``ciphertext`` are each ``nonce || ciphertext || tag``.

    Evolution rule: ``format`` is stored beside each row and is part of what is authenticated. A change of cipher, of framing
    or of the fields of an existing kind is a new number; every number ever released stays readable, and only the newest is
    written. A new kind of record needs no new number. ``tests/vectors/envelope-v1.json`` must decrypt forever.
    """

    format: int
    term: int
    wrapped_dek: bytes
    ciphertext: bytes


def encrypt(value: SecretValue, context: RecordContext, kek: Kek) -> EncryptedValue:
    """``value`` sealed for ``context``. Costs one wrap of ``kek``: the caller takes it from the budget first."""
    associated = context.associated()
    key = DataKey.generate().reveal()
    ciphertext = Aead(key).seal(value.reveal(), associated)
    return EncryptedValue(FORMAT, kek.term, kek.cipher.seal(key, associated + kek.framed_term), ciphertext)


def decrypt(encrypted: EncryptedValue, context: RecordContext, keyring: Keyring) -> SecretValue:
    """The value, or :class:`DecryptionFailed` naming the record; :class:`KeyProblem` where the keyring lacks the term."""
    associated = context.associated()
    key = _unwrap(encrypted, context, associated, keyring)
    try:
        return SecretValue(Aead(key).open(encrypted.ciphertext, associated))
    except DecryptionFailed:
        raise _damaged(context, "value") from None


def rewrap(encrypted: EncryptedValue, context: RecordContext, keyring: Keyring, new_kek: Kek) -> EncryptedValue:
    """The same record under ``new_kek``; the ciphertext stays as it is. One wrap of ``new_kek``. Errors as :func:`decrypt`."""
    wrapped = rewrap_key(encrypted, context, keyring, new_kek)
    return EncryptedValue(encrypted.format, new_kek.term, wrapped, encrypted.ciphertext)


def rewrap_key(encrypted: EncryptedValue, context: RecordContext, keyring: Keyring, new_kek: Kek) -> bytes:
    """The ``wrapped_dek`` of :func:`rewrap` alone, for whoever has read no ciphertext."""
    associated = context.associated()
    key = _unwrap(encrypted, context, associated, keyring)
    return new_kek.cipher.seal(key, associated + new_kek.framed_term)


def _unwrap(encrypted: EncryptedValue, context: RecordContext, associated: bytes, keyring: Keyring) -> bytes:
    if encrypted.format != FORMAT:
        raise DecryptionFailed(
            f"{context.label()}: format {encrypted.format} is not known to this version of Overseer; upgrade, or restore the row"
        )
    kek = keyring.kek(encrypted.term)
    try:
        return kek.cipher.open(encrypted.wrapped_dek, associated + kek.framed_term)
    except DecryptionFailed:
        raise _damaged(context, "data key") from None


def _damaged(context: RecordContext, part: str) -> DecryptionFailed:
    return DecryptionFailed(
        f"{context.label()}: the stored {part} was changed, moved or belongs to another instance; restore the row from a backup"
    )
