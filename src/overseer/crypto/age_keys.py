"""Who can open an age file: X25519 recipients, or a passphrase (age-encryption.org/v1, "X25519" and "scrypt" stanzas).

Guarantee: each stanza wraps the file's own random key; a passphrase stands alone, as the specification demands, so that nobody
can add a recipient to a file that claims to be sealed by a passphrase. What it will not do: SSH keys and plug-ins (the age tool
re-encrypts to them), or a work factor that a damaged file chooses without a bound.

This is not `pyrage`: that takes a passphrase only for what fits into memory, and a backup does not (decision 24). Tests open
what this writes with `pyrage`, and the other way round.
"""

from __future__ import annotations

import base64
import binascii
import os
from dataclasses import dataclass
from typing import Final, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue
from overseer.crypto import bech32

FILE_KEY_BYTES: Final = 16
#: scrypt's log2(N): 2^18 with r = 8 is what the age tool takes; 256 MiB and about a second.
WORK_FACTOR: Final = 18
MAX_WORK_FACTOR: Final = 20
_NONCE: Final = bytes(12)  # each wrapping key is used once
_X25519: Final = b"age-encryption.org/v1/X25519"
_SCRYPT: Final = b"age-encryption.org/v1/scrypt"
_RECIPIENT_RULE: Final = "a recipient is an age X25519 public key: age1 and 58 more characters"


@dataclass(frozen=True, slots=True)
class Stanza:
    """One way to the file's key: its arguments, the first of which is its type, and its body."""

    arguments: tuple[str, ...]
    body: bytes


class Wrapper(Protocol):
    """Puts a file's key into a stanza."""

    def wrap(self, file_key: bytes) -> Stanza:
        """A fresh stanza."""


class Unwrapper(Protocol):
    """Takes a file's key out of a stanza."""

    def unwrap(self, stanza: Stanza, alone: bool) -> bytes | None:
        """The key, None where the stanza is not for this holder; ``alone``: there is no other stanza."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """An X25519 public key, written ``age1…``."""

    public: bytes

    @classmethod
    def parse(cls, text: str) -> Recipient:
        """Raises :class:`InvalidInput`, which does not repeat ``text``: people paste identities where recipients belong."""
        try:
            prefix, public = bech32.decode(text)
        except ValueError:
            raise InvalidInput(_RECIPIENT_RULE) from None
        if prefix != "age" or len(public) != 32:
            raise InvalidInput(_RECIPIENT_RULE)
        return cls(public)

    def __str__(self) -> str:
        return bech32.encode("age", self.public)

    def wrap(self, file_key: bytes) -> Stanza:
        own = X25519PrivateKey.generate()
        share = own.public_key().public_bytes_raw()
        try:
            shared = own.exchange(X25519PublicKey.from_public_bytes(self.public))
        except ValueError:
            raise InvalidInput("the recipient's key cannot be used (a point of small order)") from None
        key = derived(shared, share + self.public, _X25519)
        return Stanza(("X25519", encoded(share)), ChaCha20Poly1305(key).encrypt(_NONCE, file_key, None))


class Identity:
    """An X25519 private key, written ``AGE-SECRET-KEY-1…``. Its repr shows nothing."""

    __slots__ = ("__key", "recipient")

    def __init__(self, private: SecretValue) -> None:
        """32 random bytes."""
        self.__key = X25519PrivateKey.from_private_bytes(private.reveal())
        self.recipient = Recipient(self.__key.public_key().public_bytes_raw())

    @classmethod
    def generate(cls) -> Identity:
        return cls(SecretValue(os.urandom(32)))

    @classmethod
    def parse_file(cls, content: SecretValue) -> list[Identity]:
        """The identities of a key file as age-keygen writes it: one a line, ``#`` begins a comment. Raises
        :class:`InvalidInput`, which repeats nothing."""
        found = []
        for line in content.reveal().decode("ascii", "replace").splitlines():
            if not line.strip() or line.startswith("#"):
                continue
            try:
                prefix, private = bech32.decode(line.strip())
            except ValueError:
                raise InvalidInput("an identity is a line AGE-SECRET-KEY-1…, as age-keygen writes it") from None
            if prefix != "age-secret-key-" or len(private) != 32:
                raise InvalidInput("an identity is a line AGE-SECRET-KEY-1…, as age-keygen writes it")
            found.append(cls(SecretValue(private)))
        if not found:
            raise InvalidInput("the file of identities holds none")
        return found

    def written(self) -> SecretValue:
        """As a line of a key file."""
        return SecretValue(bech32.encode("age-secret-key-", self.__key.private_bytes_raw()).upper())

    def unwrap(self, stanza: Stanza, alone: bool) -> bytes | None:  # noqa: ARG002 - part of the contract
        if stanza.arguments[0] != "X25519" or len(stanza.arguments) != 2 or len(stanza.body) != FILE_KEY_BYTES + 16:
            return None
        try:
            share = decoded(stanza.arguments[1])
            shared = self.__key.exchange(X25519PublicKey.from_public_bytes(share))
            key = derived(shared, share + self.recipient.public, _X25519)
            return ChaCha20Poly1305(key).decrypt(_NONCE, stanza.body, None)
        except (InvalidTag, ValueError):
            return None


@dataclass(frozen=True, slots=True)
class Passphrase:
    """``text`` as people type it; ``work`` is log2 of scrypt's N for a new file."""

    text: SecretValue
    work: int = WORK_FACTOR

    def wrap(self, file_key: bytes) -> Stanza:
        salt = os.urandom(16)
        body = ChaCha20Poly1305(self._key(salt, self.work)).encrypt(_NONCE, file_key, None)
        return Stanza(("scrypt", encoded(salt), str(self.work)), body)

    def unwrap(self, stanza: Stanza, alone: bool) -> bytes | None:
        if stanza.arguments[0] != "scrypt" or len(stanza.arguments) != 3 or not alone or len(stanza.body) != FILE_KEY_BYTES + 16:
            return None
        salt, work = decoded(stanza.arguments[1]), stanza.arguments[2]
        if len(salt) != 16 or not work.isascii() or not work.isdigit() or work.startswith("0") or len(work) > 2:
            return None
        if int(work) > MAX_WORK_FACTOR:
            raise InvalidInput(f"the file asks for more work than is allowed (2^{work}): it was not made by Overseer")
        try:
            return ChaCha20Poly1305(self._key(salt, int(work))).decrypt(_NONCE, stanza.body, None)
        except InvalidTag:
            return None

    def _key(self, salt: bytes, work: int) -> bytes:
        return Scrypt(salt=_SCRYPT + salt, length=32, n=1 << work, r=8, p=1).derive(self.text.reveal())


def derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """HKDF-SHA256 (RFC 5869), 32 bytes."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret)


def encoded(data: bytes) -> str:
    """Base64 without padding, as in age's headers."""
    return base64.b64encode(data).decode().rstrip("=")


def decoded(text: str) -> bytes:
    """The canonical form only. Raises ValueError."""
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        raise ValueError("not base64") from None
    if encoded(data) != text:
        raise ValueError("not canonical")
    return data
