"""Client assertions: how an enrolled node proves who it is to get a short token (RFC 7523 section 3, private_key_jwt).

An assertion is a JWT (RFC 7519) in compact form, signed with EdDSA (RFC 8037): ``iss`` = ``sub`` = node id, ``aud`` =
instance id, ``iat``, ``exp`` at most 60 seconds later, ``jti`` 128 random bits. The algorithm is pinned, never taken from the
text: the header must be exactly ours, so ``none``, HMAC with a public key, embedded keys and ``crit`` extensions are all
refused. base64url is read in its canonical form only, so no character can change unnoticed.

What it will not do: remember ``jti`` (the store keeps it until ``expires_at`` plus the leeway; a second use is refused there).
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from overseer.core.errors import Problem, Unauthenticated
from overseer.crypto.signatures import SigningKey, verifies

LIFETIME: Final = timedelta(seconds=60)
DEFAULT_LEEWAY: Final = timedelta(seconds=30)
_MAX_CHARACTERS: Final = 2048
_HEADER: Final = {"alg": "EdDSA", "typ": "JWT"}
_CLAIMS: Final = frozenset({"aud", "exp", "iat", "iss", "jti", "sub"})


@dataclass(frozen=True, slots=True)
class Assertion:
    """A verified assertion; times are aware and in whole seconds."""

    node_id: UUID
    jti: str
    issued_at: datetime
    expires_at: datetime


def make_assertion(node_id: UUID, audience: UUID, signing_private: SigningKey, now: datetime) -> str:
    """A new assertion of ``node_id`` for the instance ``audience``, valid for :data:`LIFETIME` from ``now`` (aware)."""
    issued = int(now.timestamp())
    claims = {
        "iss": str(node_id),
        "sub": str(node_id),
        "aud": str(audience),
        "iat": issued,
        "exp": issued + int(LIFETIME.total_seconds()),
        "jti": secrets.token_urlsafe(16),
    }
    signed = f"{_encode(_json(_HEADER))}.{_encode(_json(claims))}"
    return f"{signed}.{_encode(signing_private.sign(signed.encode('ascii')))}"


def claimed_node_id(text: str) -> UUID:
    """The node that ``text`` *claims* to be from, unverified: only to look up the key for :func:`verify_assertion`."""
    return _parse(text)[0].node_id


def verify_assertion(
    text: str, public_key: bytes, audience: UUID, now: datetime, leeway: timedelta = DEFAULT_LEEWAY
) -> Assertion:
    """The assertion, signed by ``public_key`` for ``audience`` and current within ``leeway``.

    Raises :class:`Unauthenticated` whose one problem has the code ``bad_assertion`` (its form), ``bad_signature``,
    ``wrong_audience`` or ``clock_skew`` (issued in the future or already over; the message gives both clocks). Nothing of an
    unsigned assertion is reported beyond its form.
    """
    assertion, claimed_audience, signed, signature = _parse(text)
    if not verifies(public_key, signature, signed):
        raise _refusal("bad_signature", "it is not signed by the key that this node enrolled with")
    if claimed_audience != str(audience):
        raise _refusal("wrong_audience", "it is made for another instance; check which server the agent is enrolled with")
    if assertion.issued_at > now + leeway or assertion.expires_at <= now - leeway:
        apart = abs(int((now - assertion.issued_at).total_seconds()))
        raise _refusal(
            "clock_skew",
            f"it was made at {_clock(assertion.issued_at)} by the node's clock and the server's says {_clock(now)}, "
            f"{apart} seconds apart; set the clocks (NTP)",
        )
    return assertion


def _parse(text: str) -> tuple[Assertion, str, bytes, bytes]:
    """Form only: the claims, the audience, the signed bytes, the signature."""
    if len(text) > _MAX_CHARACTERS or text.count(".") != 2:
        raise _refusal("bad_assertion", "it is not a compact JWT")
    head, body, tail = text.split(".")
    try:
        if json.loads(_decode(head)) != _HEADER:
            raise ValueError("header")
        claims = json.loads(_decode(body), object_pairs_hook=_no_duplicates)
        signature = _decode(tail)
        if not isinstance(claims, dict) or claims.keys() != _CLAIMS or claims["iss"] != claims["sub"]:
            raise ValueError("claims")
        issued, expires, jti, node = claims["iat"], claims["exp"], claims["jti"], claims["iss"]
        if not (type(issued) is int and type(expires) is int and 0 < expires - issued <= LIFETIME.total_seconds()):
            raise ValueError("times")
        if not (isinstance(jti, str) and 16 <= len(jti) <= 64 and isinstance(node, str) and isinstance(claims["aud"], str)):
            raise ValueError("types")
        node_id = UUID(node)
        times = datetime.fromtimestamp(issued, UTC), datetime.fromtimestamp(expires, UTC)
    except (ValueError, OverflowError, OSError, RecursionError):
        raise _refusal("bad_assertion", "its header or claims are not those of a node's assertion") from None
    return Assertion(node_id, jti, *times), claims["aud"], f"{head}.{body}".encode("ascii"), signature


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a claim appears twice")
    return found


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    """base64url without padding (RFC 7515 section 2); ValueError unless it is the one canonical spelling."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise ValueError("not base64url") from None
    if _encode(data) != text:
        raise ValueError("not canonical base64url")
    return data


def _clock(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _refusal(code: str, rule: str) -> Unauthenticated:
    return Unauthenticated(f"the node's assertion was refused: {rule}", problems=[Problem("assertion", rule, code)])
