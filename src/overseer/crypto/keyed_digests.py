"""Keyed digests of what may hold secrets: addresses of Compose bundles, bodies of idempotent requests, names at a sign-in.

Guarantee: HMAC-SHA-256 (RFC 2104) under a key of the keyring for that one purpose. Someone with the database alone cannot
confirm a guess of an env_file or of a request body, which a plain hash would allow.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame, unsigned
from overseer.crypto.keys import HmacKey

_BUNDLE_LABEL: Final = b"overseer bundle address v1"
_REQUEST_LABEL: Final = b"overseer idempotent request v1"
_SIGN_IN_LABEL: Final = b"overseer sign-in name v1"


def bundle_address(key: HmacKey, app_id: UUID, files: Mapping[str, SecretValue]) -> bytes:
    """The 32-byte address of a bundle: its app and every path with its content, whatever their order in ``files``."""
    fields = [_BUNDLE_LABEL, app_id.bytes, unsigned(len(files))]
    for path in sorted(files):
        fields += (path.encode("utf-8"), files[path].reveal())
    return key.digest(frame(*fields))


def request_digest(key: HmacKey, principal_id: UUID, route: str, body: bytes) -> bytes:
    """The 32-byte digest of one request under an idempotency key: who, where (``POST /api/secrets``), what."""
    return key.digest(frame(_REQUEST_LABEL, principal_id.bytes, route.encode("utf-8"), body))


def sign_in_name(key: HmacKey, name: str) -> bytes:
    """The 32-byte digest that failed sign-ins of a name are counted under: people type passwords where names belong."""
    return key.digest(frame(_SIGN_IN_LABEL, name.encode("utf-8", "surrogatepass")))
