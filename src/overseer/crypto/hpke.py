"""Hybrid public key encryption to an X25519 key: RFC 9180, base mode, DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-256-GCM.

Guarantee: only the holder of the private key opens it, and only with the same ``info``. Each call makes a fresh ephemeral key and
seals one message under it, so the derived key and nonce are used once.

What it will not do: say who sealed it (base mode has no sender authentication; :mod:`overseer.crypto.sealed_bundle` signs).
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite

from overseer.core.errors import DecryptionFailed, InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import Key

_SUITE: Final = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
PUBLIC_KEY_BYTES: Final = 32
#: What sealing adds: the encapsulated key in front, the tag behind.
OVERHEAD: Final = 32 + 16


class SealingKey(Key):
    """An X25519 private key (RFC 7748); any 32 random bytes are a valid one. What is sealed to ``public`` opens with it."""

    __slots__ = ("__key", "public")

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        self.__key = X25519PrivateKey.from_private_bytes(value)
        self.public = self.__key.public_key().public_bytes_raw()

    def open(self, sealed: bytes, info: bytes) -> SecretValue:
        """What :func:`seal_to` sealed with the same ``info``, else :class:`DecryptionFailed`."""
        try:
            return SecretValue(_SUITE.decrypt(sealed, self.__key, info))
        except (InvalidTag, ValueError):
            raise DecryptionFailed("sealed to another key, or changed on the way") from None


def seal_to(public: bytes, plaintext: SecretValue, info: bytes) -> bytes:
    """``encapsulated key || ciphertext || tag`` for the holder of ``public`` (32 bytes, else
    :class:`InvalidInput`).

    ``info`` is authenticated and not sent. A public key of small order, which would make the shared secret zero, is refused
    (RFC 9180 section 7.1.4).
    """
    if len(public) != PUBLIC_KEY_BYTES:
        raise InvalidInput("an X25519 public key has 32 bytes")
    try:
        return _SUITE.encrypt(plaintext.reveal(), X25519PublicKey.from_public_bytes(public), info)
    except ValueError:
        raise InvalidInput("the X25519 public key cannot be used (a point of small order)") from None
