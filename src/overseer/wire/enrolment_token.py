"""The text of an enrolment token: a secret, and what the new node must trust.

::

    ovse_<49 characters> . <base64url of {"format": 1, "node": …, "verify_key": …, "ca_spki": …}>

The part before the dot is the credential (``overseer.crypto.tokens``): the server stores its SHA-256 and it alone is sent back.
The part after it is public: the node's name, the server's Ed25519 key that signs bundles, and SHA-256 of the
SubjectPublicKeyInfo (RFC 7469 section 2.4) of the CA that the server's certificate leads to, null where there is no TLS.

Evolution rule: a reader refuses a ``format`` that it does not know, and ignores fields that it does not know.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

import msgspec

from overseer.core.errors import InvalidInput
from overseer.core.secret_value import SecretValue

FORMAT = 1
_LONGEST = 4096


class _Trust(msgspec.Struct, frozen=True, kw_only=True):
    format: int
    node: str
    verify_key: bytes
    ca_spki: bytes | None = None


@dataclass(frozen=True, slots=True)
class EnrolmentToken:
    """``secret`` is what is sent; ``verify_key`` and ``ca_spki`` (32 bytes each) are what to pin."""

    secret: SecretValue
    node: str
    verify_key: bytes
    ca_spki: bytes | None = None


def format_enrolment_token(token: EnrolmentToken) -> SecretValue:
    """The text to show once."""
    trust = _Trust(format=FORMAT, node=token.node, verify_key=token.verify_key, ca_spki=token.ca_spki)
    tail = base64.urlsafe_b64encode(msgspec.json.encode(trust)).rstrip(b"=")
    return SecretValue(token.secret.reveal() + b"." + tail)


def parse_enrolment_token(text: SecretValue) -> EnrolmentToken:
    """What :func:`format_enrolment_token` gave, else :class:`InvalidInput` that shows nothing of it."""
    raw = text.reveal().strip()
    secret, _, tail = raw.partition(b".")
    try:
        if len(raw) > _LONGEST or not secret.startswith(b"ovse_"):
            raise ValueError("form")
        trust = msgspec.json.decode(base64.b64decode(tail + b"=" * (-len(tail) % 4), altchars=b"-_", validate=True), type=_Trust)
        if trust.format != FORMAT or len(trust.verify_key) != 32 or len(trust.ca_spki or bytes(32)) != 32:
            raise ValueError("content")
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise InvalidInput(
            "this is no enrolment token of a server of this version: copy all of it, or make a new one with "
            "`overseer node enrol-token NODE`"
        ) from None
    return EnrolmentToken(SecretValue(secret), trust.node, trust.verify_key, trust.ca_spki)
