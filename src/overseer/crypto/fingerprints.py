"""Fingerprints of values: to ask "is it the same?" without seeing either.

Guarantee: a fingerprint is HMAC-SHA-256 (RFC 2104) under a key of one deployment, so it cannot be guessed from a list of
likely values without that key, and equal values of two deployments or two names have unrelated fingerprints. The deployment's
key is itself HMAC-SHA-256 of the deployment id under the keyring's random fingerprint key (a pseudo-random function, so as
good as a random key of its own, and need not be stored); it travels inside the sealed bundle.

What it will not do: protect a low-entropy value from someone who holds the deployment's key.
"""

from __future__ import annotations

import hmac
from typing import Final
from uuid import UUID

from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame
from overseer.crypto.keys import HmacKey

_KEY_LABEL: Final = b"overseer fingerprint key v1"
_VALUE_LABEL: Final = b"overseer fingerprint v1"


def deployment_key(fingerprint_key: HmacKey, deployment_id: UUID) -> HmacKey:
    """The fingerprint key of one deployment, from the keyring's key of that purpose."""
    return HmacKey(fingerprint_key.digest(frame(_KEY_LABEL, deployment_id.bytes)))


def fingerprint(key: HmacKey, name: str, value: SecretValue) -> bytes:
    """The 32-byte fingerprint of the ``value`` called ``name`` under a deployment's ``key``."""
    return key.digest(frame(_VALUE_LABEL, name.encode("utf-8"), value.reveal()))


def fingerprints_match(one: bytes, other: bytes) -> bool:
    """Compares in constant time, so that a caller who may ask "matches?" cannot find the bytes one by one."""
    return hmac.compare_digest(one, other)
