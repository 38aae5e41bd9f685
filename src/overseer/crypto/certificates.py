"""What a node pins of a certificate: SHA-256 of its SubjectPublicKeyInfo (RFC 7469 section 2.4).

Guarantee: the hash is over the key alone, so a CA that renews its certificate with the same key keeps its nodes. Nothing here
decides whether a chain is valid; TLS does that, with the pinned CA as the only root.
"""

from __future__ import annotations

import hashlib
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from overseer.core.errors import KeyProblem


def spki_hash(certificate: bytes) -> bytes:
    """The 32-byte pin of one certificate in DER; :class:`KeyProblem` for what is none."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except (ValueError, TypeError):
        raise KeyProblem("this is no X.509 certificate in DER") from None
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def certificates_in(pem: bytes) -> list[bytes]:
    """Every certificate of a PEM text, in its order, as DER; :class:`KeyProblem` where there is none."""
    try:
        found = x509.load_pem_x509_certificates(pem)
    except ValueError:
        raise KeyProblem("there is no X.509 certificate in this PEM text") from None
    return [certificate.public_bytes(Encoding.DER) for certificate in found]


def expires_at(certificate: bytes) -> datetime:
    """When a certificate in DER ceases to be valid, in UTC; :class:`KeyProblem` for what is none."""
    try:
        return x509.load_der_x509_certificate(certificate).not_valid_after_utc
    except (ValueError, TypeError):
        raise KeyProblem("this is no X.509 certificate in DER") from None
