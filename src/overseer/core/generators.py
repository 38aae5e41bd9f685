"""Generators of new values, by a short specification: ``password:32``, ``token``, ``hex:32``, ``base64:32``, ``uuid``.

Guarantees: randomness comes from the operating system (module ``secrets``); every acceptable password is equally likely,
because a draw that breaks a rule is thrown away whole and never patched; a value holds no character that a shell, a URL,
an env file or YAML reads as syntax. What it will not do: derive a value from anything, or keep one.
"""

from __future__ import annotations

import base64
import secrets
import string
import uuid
from dataclasses import dataclass
from typing import Final, NoReturn

from overseer.core.errors import InvalidInput, Problem
from overseer.core.secret_value import SecretValue

PUNCTUATION: Final = "-._~"
"""The unreserved punctuation of RFC 3986, section 2.3: safe in URLs, and in shells and YAML behind a letter or digit."""
_LETTERS_DIGITS: Final = string.ascii_letters + string.digits
_CLASSES: Final = (string.ascii_lowercase, string.ascii_uppercase, string.digits, PUNCTUATION)

#: kind → (least, default, greatest) size: characters of a password, else random bytes. 16 bytes are 128 bits.
_SIZES: Final = {"password": (12, 32, 256), "token": (16, 32, 1024), "hex": (16, 32, 1024), "base64": (16, 32, 1024)}
RULE: Final = (
    "a generator is password[:LENGTH] (12 to 256 characters), token[:BYTES], hex[:BYTES], base64[:BYTES] (16 to 1024 bytes), "
    "or uuid"
)
DEFAULT_SPEC: Final = "password:32"


@dataclass(frozen=True, slots=True)
class Generator:
    """A checked specification. ``size`` counts characters of a password, else random bytes; 0 for a UUID."""

    kind: str
    size: int

    def make(self) -> SecretValue:
        """A new value: ASCII text."""
        if self.kind == "password":
            return SecretValue(_password(self.size))
        if self.kind == "token":
            return SecretValue(secrets.token_urlsafe(self.size))
        if self.kind == "hex":
            return SecretValue(secrets.token_hex(self.size))
        if self.kind == "base64":
            return SecretValue(base64.b64encode(secrets.token_bytes(self.size)))
        return SecretValue(str(uuid.UUID(bytes=secrets.token_bytes(16), version=4)))  # RFC 9562, section 5.4: 122 random bits

    def __str__(self) -> str:
        return f"{self.kind}:{self.size}" if self.size else self.kind


def parse_spec(spec: str, place: str = "generate") -> Generator:
    """The generator that ``spec`` names; :class:`InvalidInput` with the rule, never the text."""
    kind, colon, size = spec.partition(":")
    if not colon:
        return make_generator(kind, None, place)
    # isdecimal alone would let through digits of other scripts, and int() underscores and blanks.
    if not (size.isascii() and size.isdecimal() and len(size) <= 4):
        _refuse(place)
    return make_generator(kind, int(size), place)


def make_generator(kind: str, size: int | None, place: str = "generate") -> Generator:
    """The generator of ``kind`` with ``size`` (None: the default); :class:`InvalidInput` as :func:`parse_spec`."""
    if kind == "uuid" and size is None:
        return Generator(kind, 0)
    if kind not in _SIZES:
        _refuse(place)
    least, default, greatest = _SIZES[kind]
    chosen = default if size is None else size
    if not least <= chosen <= greatest:
        _refuse(place)
    return Generator(kind, chosen)


def generate(spec: str) -> SecretValue:
    """A new value by ``spec``; :class:`InvalidInput` as :func:`parse_spec`."""
    return parse_spec(spec).make()


def _password(length: int) -> str:
    # Rejection keeps the draw uniform over all passwords that obey the rules; at 12 characters about one in three does.
    while True:
        text = "".join(secrets.choice(_LETTERS_DIGITS + PUNCTUATION) for _ in range(length))
        if text[0] in _LETTERS_DIGITS and all(any(c in wanted for c in text) for wanted in _CLASSES):
            return text


def _refuse(place: str) -> NoReturn:
    raise InvalidInput(f"{place}: {RULE}", problems=[Problem(place, RULE, "bad_generator")])
