"""Values of SOPS files: ``ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]`` and the digest over all of them.

AES-256-GCM with the nonce that the file gives (SOPS takes 32 random bytes), associated data the path of the value: its keys, each
followed by a colon. Only opening: nothing is encrypted here, so no nonce is chosen.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from overseer.core.errors import DecryptionFailed

_FORM: Final = re.compile(
    r"ENC\[AES256_GCM,data:(?P<data>[^,]*),iv:(?P<iv>[^,]+),tag:(?P<tag>[^,]+),type:(?P<type>[a-z]+)\]"
)
KEY_BYTES: Final = 32
#: What SOPS digests first where only encrypted values are digested, so that the one digest cannot pass for the other.
ONLY_ENCRYPTED: Final = bytes.fromhex("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")


def is_encrypted(text: str) -> bool:
    """True for a value in SOPS's form."""
    return _FORM.fullmatch(text) is not None


def open_value(key: bytes, text: str, associated: str) -> tuple[bytes, str]:
    """The plaintext and its type (``str``, ``int``, ``float``, ``bool``, ``bytes``, ``time``).

    ``key`` has 32 bytes. Raises :class:`DecryptionFailed`, which says nothing about the data.
    """
    found = _FORM.fullmatch(text)
    if found is None or len(key) != KEY_BYTES:
        raise DecryptionFailed("a value is not in the form of SOPS")
    try:
        data, nonce, tag = (base64.b64decode(found[part].encode("ascii"), validate=True) for part in ("data", "iv", "tag"))
        if not 8 <= len(nonce) <= 64 or len(tag) != 16:
            raise DecryptionFailed("a value's nonce or tag has not the length of SOPS")
        return AESGCM(key).decrypt(nonce, data + tag, associated.encode("utf-8")), found["type"]
    except (InvalidTag, binascii.Error, ValueError):
        raise DecryptionFailed("a value did not verify: it was changed, moved, or its key is another one") from None


def check_digest(parts: Iterable[bytes], expected: bytes) -> None:
    """Compare the SHA-512 over ``parts`` with the file's own, in constant time. Raises :class:`DecryptionFailed`."""
    digest = hashlib.sha512()
    for part in parts:
        digest.update(part)
    if not hmac.compare_digest(digest.hexdigest().upper().encode("ascii"), expected.upper()):
        raise DecryptionFailed("the file's digest does not match: a value was changed, added or taken away")
