"""Ed25519 signatures (RFC 8032) and their keys.

Guarantee: a signature is over a framed message whose first field is a domain label, so one made for a bundle is never
valid as an assertion or an enrolment proof. Ed25519 is deterministic: no nonce can repeat or leak the key.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from overseer.crypto.keys import Key

_PRIME: Final = 2**255 - 19
_ORDER_8: Final = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
#: The y coordinates of the eight points of small order of edwards25519 (orders 1, 2, 4, 8).
_SMALL_ORDER: Final = frozenset({0, 1, _PRIME - 1, _ORDER_8, _PRIME - _ORDER_8})


class SigningKey(Key):
    """An Ed25519 private key: the 32-byte seed of RFC 8032 section 5.1.5. Any 32 random bytes are a valid one."""

    __slots__ = ("__key", "public")

    def __init__(self, value: bytes) -> None:
        super().__init__(value)
        self.__key = Ed25519PrivateKey.from_private_bytes(value)
        self.public = self.__key.public_key().public_bytes_raw()

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of ``message``, which begins with a domain label (RFC 7515's header for an assertion)."""
        return self.__key.sign(message)


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    """True where ``signature`` over ``message`` is by the holder of ``public`` (32 bytes). Malformed input is False.

    A key of small order is False as well: signatures "by" it can be made without any private key, so it would prove nothing.
    The library accepts such keys, also in encodings that RFC 8032 section 5.1.3 forbids (y not reduced), hence the modulus.
    """
    # The top bit is the sign of x. All of this is public, so its time tells nothing.
    if (int.from_bytes(public, "little") & ((1 << 255) - 1)) % _PRIME in _SMALL_ORDER:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True
