"""Identity tokens of others: signed statements (JWT, RFC 7519) of identity providers and CI systems, checked against their keys.

Guarantees: only signatures that the caller lists are accepted, all of them asymmetric, so that nobody who can check could have
signed (no ``none``, no HMAC with a public key as its secret); the key is chosen by ``kid`` from the issuer's published set and
by nothing that the token brings along (``jwk``, ``jku``, ``x5u`` are not looked at, ``crit`` is refused); issuer and audience
are compared exactly; times are checked with a leeway for clocks. What is wrong is a :class:`Refusal` with a stable word, never
the token's text.

What it will not do: fetch keys, or remember tokens (nonce and jti are the caller's).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey

from overseer.core.secret_value import SecretValue

LEEWAY_SECONDS: Final = 60
MAX_TOKEN: Final = 32 * 1024
MAX_KEYS: Final = 100
MIN_RSA_BITS: Final = 2048
MAX_CLAIM: Final = 500
_FORM: Final = re.compile(rb"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KINDS: Final[Mapping[str, Any]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
#: Which kind of key a signature needs, by the beginning of its name (RFC 7518, section 3.1; RFC 8037, section 3.1).
_KIND_OF: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a token proves nothing: a stable word, for the audit log."""

    code: str


@dataclass(frozen=True, slots=True)
class Rules:
    """What a token has to be: exact ``issuer`` and ``audience``, one of ``algorithms``."""

    issuer: str
    audience: str
    algorithms: tuple[str, ...]


@dataclass(frozen=True, slots=True, repr=False)
class PublishedKeys:
    """The usable keys of an issuer's key set (RFC 7517), by key id; those that are not for signing, or too weak, are left out."""

    keys: Mapping[str, Any]

    @classmethod
    def read(cls, document: Any) -> PublishedKeys:
        """From the decoded document; ValueError where it is no key set."""
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list) or len(listed) > MAX_KEYS:
            raise ValueError("not a key set")
        found: dict[str, Any] = {}
        for entry in listed:
            made = _key(entry)
            if made is not None:
                found[str(entry.get("kid", ""))] = made
        return cls(found)

    def __contains__(self, kid: object) -> bool:
        return kid in self.keys


def key_id(token: SecretValue) -> str | Refusal:
    """The ``kid`` that the token names ('' where it names none), before anything of it is believed."""
    try:
        return _key_id(_header(token))
    except _Refused as refused:
        return Refusal(refused.code)


def verified_claims(token: SecretValue, keys: PublishedKeys, rules: Rules, seconds: float) -> dict[str, Any] | Refusal:
    """The claims of a token that is what ``rules`` say at ``seconds`` since 1970, else why it is not."""
    try:
        header = _header(token)
        algorithm: Any = header.get("alg")
        _require(algorithm in rules.algorithms, "bad_algorithm")
        key: Any = keys.keys.get(_key_id(header))
        _require(key is not None, "unknown_key")
        fits = key.key_type == _KIND_OF[algorithm[:2]] and key.get("alg", algorithm) == algorithm
        _require(fits, "bad_algorithm")
        claims = _signed(token, key, algorithm)
        _check(claims, rules, seconds)
    except _Refused as refused:
        return Refusal(refused.code)
    return claims


class _Refused(Exception):
    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def _require(holds: bool, code: str) -> None:
    if not holds:
        raise _Refused(code)


def _signed(token: SecretValue, key: Any, algorithm: str) -> dict[str, Any]:
    try:
        return jwt.decode(token.reveal(), key, algorithms=[algorithm]).claims
    except (JoseError, ValueError, TypeError, RecursionError):
        raise _Refused("bad_signature") from None


def _check(claims: dict[str, Any], rules: Rules, seconds: float) -> None:
    _require(claims.get("iss") == rules.issuer, "wrong_issuer")
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    # For several audiences: OpenID Connect Core 1.0, section 3.1.3.7.
    one = len(audiences) == 1 or claims.get("azp") == rules.audience
    _require(rules.audience in audiences and one, "wrong_audience")
    issued: Any = claims.get("iat")
    ends: Any = claims.get("exp")
    begins: Any = claims.get("nbf", 1)
    _require(all(_is_time(value) for value in (issued, ends, begins)), "bad_times")
    _require(ends + LEEWAY_SECONDS > seconds, "expired")
    _require(max(issued, begins) - LEEWAY_SECONDS <= seconds, "not_yet_valid")
    subject = claims.get("sub")
    _require(isinstance(subject, str) and 1 <= len(subject) <= MAX_CLAIM and subject.isprintable(), "bad_subject")


def _key_id(header: Mapping[str, Any]) -> str:
    kid = header.get("kid", "")
    _require(isinstance(kid, str) and len(kid) <= MAX_CLAIM, "bad_key_id")
    return str(kid)


def _header(token: SecretValue) -> dict[str, Any]:
    text = token.reveal()
    _require(len(text) <= MAX_TOKEN and _FORM.fullmatch(text) is not None, "malformed")
    first = text.partition(b".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(first + b"=" * (-len(first) % 4)))
    except (ValueError, RecursionError):
        raise _Refused("malformed") from None
    _require(isinstance(header, dict) and "crit" not in header, "malformed")
    return dict(header)


def _key(entry: Any) -> Any:
    if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in _KINDS or _is_weak(entry):
        return None
    public = {name: value for name, value in entry.items() if isinstance(value, str) and name != "d"}
    try:
        return _KINDS[entry["kty"]].import_key(public)
    except (JoseError, ValueError, TypeError, KeyError):
        return None


def _is_weak(entry: dict[str, Any]) -> bool:
    """An RSA key with a short modulus, looked at before it is made: NIST SP 800-131A asks for 2048 bits."""
    modulus = entry.get("n")
    return entry["kty"] == "RSA" and not (isinstance(modulus, str) and len(modulus) * 6 >= MIN_RSA_BITS)


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e11
