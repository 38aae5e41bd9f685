"""Bearer tokens: 256 random bits in a form that people, log filters and secret scanners recognise.

A token is ``<prefix>_<43 characters><6 characters>``: base62 of 256 random bits, then base62 of the CRC-32 (ISO-HDLC, as in
zlib) of everything before it, so a scanner can tell a real token from a look-alike offline. The checksum protects nothing
else.

Why plain SHA-256 is enough for the stored form: the input has 256 random bits, so there is nothing to guess; salts
and slow hashes are for passwords. A look-up by hash in an index leaks no more than the hash.

Evolution rule: another length or alphabet gets another prefix; tokens ever issued keep their form until they expire.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import string
import zlib
from enum import StrEnum
from typing import Final

from overseer.core.secret_value import SecretValue

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_BYTES: Final = 32
_BODY: Final = 43  # 62^43 > 2^256
_CHECKSUM: Final = 6  # 62^6 > 2^32


class TokenPrefix(StrEnum):
    """What a token is for, as its first characters say. In alphabetical order."""

    API = "ovs_"
    ENROLMENT = "ovse_"
    INVITATION = "ovsi_"
    NODE = "ovsn_"
    SESSION = "ovss_"


#: What a scanner or a log filter looks for; a match with a right checksum (:func:`looks_valid`) is a token.
TOKEN_PATTERN: Final = re.compile(r"\b(ovs|ovse|ovsi|ovsn|ovss)_[0-9A-Za-z]{49}\b", re.ASCII)


def new_token(prefix: TokenPrefix) -> tuple[SecretValue, bytes]:
    """A new token to show once, and its SHA-256 to store."""
    text = prefix + _base62(int.from_bytes(secrets.token_bytes(_RANDOM_BYTES), "big"), _BODY)
    token = SecretValue(text + _checksum(text))
    return token, token_hash(token)


def token_hash(token: SecretValue) -> bytes:
    """SHA-256 (FIPS 180-4) of the token's text, 32 bytes: the key it is found by."""
    return hashlib.sha256(token.reveal()).digest()


def looks_valid(token: SecretValue, prefix: TokenPrefix | None = None) -> bool:
    """True where the form and the checksum are right (and the prefix is ``prefix``): spares a look-up, proves nothing."""
    try:
        text = token.reveal().decode("ascii")
    except UnicodeDecodeError:
        return False
    match = TOKEN_PATTERN.fullmatch(text)
    if match is None or (prefix is not None and match[1] + "_" != prefix):
        return False
    return _checksum(text[:-_CHECKSUM]) == text[-_CHECKSUM:]


def _checksum(text: str) -> str:
    return _base62(zlib.crc32(text.encode("ascii")), _CHECKSUM)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, digit = divmod(number, 62)
        digits.append(_ALPHABET[digit])
    return "".join(reversed(digits))
