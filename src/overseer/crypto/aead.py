"""Authenticated encryption: AES-256-GCM (NIST SP 800-38D) with random 96-bit nonces.

Guarantee: what opens is what was sealed under the same key and the same associated data; a changed byte, a cut, another key
or other associated data raises :class:`DecryptionFailed` and gives no plaintext.

Why a random nonce is safe: ``os.urandom`` is the kernel's CSPRNG, and SP 800-38D section 8.3 allows 2^32 messages per key with
random 96-bit nonces (a collision then has a chance below 2^-32). A data key here seals one message; a KEK is counted
(:mod:`overseer.crypto.wrap_budget`); the root key seals a handful of keys. GCM does not commit to its key (one ciphertext can be
made to open under two keys by someone who chooses both); no key here is chosen by anyone but ``os.urandom`` or Argon2id.

What it will not do: hide the length of the plaintext; wipe memory (Python's ``bytes`` cannot be wiped).
"""

from __future__ import annotations

import os
from typing import Final, NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overseer.core.errors import DecryptionFailed
from overseer.core.secret_value import REDACTED

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
#: What sealing adds to the length: nonce in front, tag behind.
OVERHEAD: Final = NONCE_BYTES + TAG_BYTES


class Aead:
    """AES-256-GCM under one key of 32 bytes; the expanded key is kept, so one object serves many calls."""

    __slots__ = ("__cipher",)

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_BYTES:
            raise ValueError("an AES-256 key has 32 bytes")
        self.__cipher = AESGCM(key)

    def seal(self, plaintext: bytes, associated: bytes) -> bytes:
        """``nonce || ciphertext || tag`` of ``plaintext`` (below 2^31 bytes), bound to ``associated``."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self.__cipher.encrypt(nonce, plaintext, associated)

    def open(self, sealed: bytes, associated: bytes) -> bytes:
        """The plaintext of what :meth:`seal` gave, else :class:`DecryptionFailed` (whose message says nothing about the data)."""
        if len(sealed) < OVERHEAD:
            raise DecryptionFailed("a ciphertext is shorter than its nonce and tag")
        try:
            return self.__cipher.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], associated)
        except InvalidTag:
            raise DecryptionFailed("an authentication tag did not verify") from None

    def __repr__(self) -> str:
        return f"Aead({REDACTED})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("an Aead holds a key and cannot be pickled or copied")
