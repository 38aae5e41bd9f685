"""Key material as types: each redacts itself like :class:`SecretValue`, has exactly 32 bytes, and says what it is for.

Guarantee: no key shows in ``repr``, ``str``, ``format`` or a pickle; ``reveal()`` is the only way out. A type per use keeps a key
from being handed to another algorithm by mistake: one key, one use (NIST SP 800-57 part 1, section 5.2).
"""

from __future__ import annotations

import hashlib
import hmac
import os
from typing import NoReturn, Self

from overseer.core.secret_value import REDACTED, SecretValue
from overseer.crypto.aead import KEY_BYTES, Aead
from overseer.crypto.framing import frame


class Key(SecretValue):
    """32 bytes of key material."""

    __slots__ = ()

    def __init__(self, value: bytes) -> None:
        if len(value) != KEY_BYTES:
            raise ValueError("a key has exactly 32 bytes")
        super().__init__(value)

    @classmethod
    def generate(cls) -> Self:
        """A new key of 256 bits from the kernel's random number generator."""
        return cls(os.urandom(KEY_BYTES))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({REDACTED})"


class RootKey(Key):
    """What a seal yields. It wraps the keyring and nothing else, and never touches the database."""

    __slots__ = ()


class DataKey(Key):
    """Encrypts one record, once; stored only wrapped by a KEK."""

    __slots__ = ()


class HmacKey(Key):
    """A key for HMAC-SHA-256 (RFC 2104, FIPS 198-1). Its length is that of the hash, so it is neither padded short nor hashed."""

    __slots__ = ()

    def digest(self, message: bytes) -> bytes:
        """The full 32-byte HMAC-SHA-256 of ``message``."""
        return hmac.digest(self.reveal(), message, hashlib.sha256)


class Kek:
    """A key-encryption key with its term number (1, 2, …), ready for use; each ``seal`` counts against the term's budget.

    ``framed_term`` is the term as every wrap under the key authenticates it.
    """

    __slots__ = ("cipher", "framed_term", "term")

    def __init__(self, key: Key, term: int) -> None:
        if term < 1:
            raise ValueError("terms are counted from 1")
        self.term = term
        self.framed_term = frame(term.to_bytes(4, "big"))
        self.cipher = Aead(key.reveal())

    def __repr__(self) -> str:
        return f"Kek(term={self.term}, {REDACTED})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Kek cannot be pickled or copied")
