"""What a browser (or the command line) keeps while somebody signs in at an identity provider: a ticket that the server can check
without having stored anything.

Guarantee: a ticket is 256 random bits, provider, return address and end, under HMAC-SHA-256 with a key of the keyring, so nobody
else makes or changes one. The request's ``state``, the ``nonce`` of the identity token and the PKCE verifier (RFC 7636) are
each an HMAC of the whole ticket under another label: whoever sees the address of the provider's page (state, nonce and challenge
are in it) learns nothing of the ticket or of the verifier. The ticket stays with whoever began, so a sign-in that somebody else
began cannot be ended in their browser (login CSRF).

What it will not do: work once; its :attr:`Ticket.digest` is what the caller spends. No evolution rule: it lives for minutes.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame, unframe, unsigned
from overseer.crypto.keys import HmacKey

_LABEL: Final = b"overseer sign-in ticket v1"
_TAG_BYTES: Final = 32
_RANDOM_BYTES: Final = 32
MAX_TICKET: Final = 2048


@dataclass(frozen=True, slots=True, repr=False)
class Ticket:
    """An opened ticket. ``nonce``, ``state`` and ``verifier`` have 43 characters; ``expires`` is in seconds since 1970."""

    provider: str
    redirect_uri: str
    expires: int
    state: str
    nonce: str
    verifier: SecretValue
    digest: bytes

    @property
    def challenge(self) -> str:
        """The PKCE challenge, method S256."""
        return _text(hashlib.sha256(self.verifier.reveal()).digest())


def new_ticket(key: HmacKey, provider: str, redirect_uri: str, expires: int) -> SecretValue:
    """A ticket for one sign-in at ``provider`` that comes back to ``redirect_uri``."""
    fields = (unsigned(expires), secrets.token_bytes(_RANDOM_BYTES), provider.encode("utf-8"), redirect_uri.encode("utf-8"))
    body = frame(*fields)
    return SecretValue(_text(body + key.digest(frame(_LABEL, b"tag", body))))


def open_ticket(key: HmacKey, ticket: SecretValue, seconds: float) -> Ticket | None:
    """The ticket, None where it is not ours or has ended at ``seconds`` since 1970."""
    text = ticket.reveal()
    if len(text) > MAX_TICKET:
        return None
    try:
        raw = base64.urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    except ValueError:
        return None
    body, tag = raw[:-_TAG_BYTES], raw[-_TAG_BYTES:]
    if not hmac.compare_digest(key.digest(frame(_LABEL, b"tag", body)), tag):
        return None
    expires, _, provider, redirect_uri = unframe(body, 4)
    if int.from_bytes(expires, "big") <= seconds:
        return None
    state, nonce, verifier = (_text(key.digest(frame(_LABEL, word, body))) for word in (b"state", b"nonce", b"verifier"))
    return Ticket(
        provider=provider.decode("utf-8"),
        redirect_uri=redirect_uri.decode("utf-8"),
        expires=int.from_bytes(expires, "big"),
        state=state,
        nonce=nonce,
        verifier=SecretValue(verifier),
        digest=hashlib.sha256(body).digest(),
    )


def same(one: str, other: str) -> bool:
    """Whether two texts are the same, in constant time."""
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
