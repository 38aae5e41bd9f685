"""A browser's session: the cookie that carries it, and when the API takes it for a credential.

The cookie is ``__Host-overseer`` (RFC 6265bis: Secure, no Domain, Path=/, so no other host and no plain page can set or read it)
wherever TLS is spoken, and ``overseer`` on plain loopback, where browsers would not keep a Secure one. HttpOnly, SameSite=Lax:
Strict would leave out the cookie when the visitor comes back from an identity provider.

The API takes it only with a proof that the request is no other site's: the header ``X-Overseer-CSRF``, which a form cannot
send and a script of another origin cannot either (that needs a preflight, which is never answered), and for what changes
something also an Origin, which the front compares with the Host. Without the proof the cookie is as good as absent. A bearer
token in Authorization comes first; a cookie beside it is not looked at.
"""

from __future__ import annotations

import hashlib
from typing import Final

from overseer.server.api.authentication import MAX_CREDENTIAL_BYTES, Headers, bearer_hash

PLAIN_COOKIE: Final = "overseer"
SECURE_COOKIE: Final = "__Host-overseer"
CSRF_HEADER: Final = "X-Overseer-CSRF"
SESSION_PREFIX: Final = b"ovss_"
_SAFE: Final = frozenset({"GET", "HEAD"})


def credential_hash(headers: Headers, method: str, *, secure: bool) -> bytes | None:
    """SHA-256 of the credential of an API request: the bearer token, else the session cookie where its proof is there."""
    if b"authorization" in headers:
        return bearer_hash(headers)
    proven = len(headers.get(CSRF_HEADER.lower().encode(), [])) == 1
    if not proven or (method not in _SAFE and len(headers.get(b"origin", [])) != 1):
        return None
    return session_hash(headers, secure=secure)


def session_hash(headers: Headers, *, secure: bool) -> bytes | None:
    """SHA-256 of the session in the cookie; None without one, or with several of that name (another page may have set one)."""
    found = cookie_value(headers, cookie_name(secure=secure))
    if found is None or not found.startswith(SESSION_PREFIX) or len(found) > MAX_CREDENTIAL_BYTES:
        return None
    return hashlib.sha256(found).digest()


def cookie_value(headers: Headers, name: str) -> bytes | None:
    """The value of the one cookie of that name; None without one, or with several."""
    found = []
    for line in headers.get(b"cookie", []):
        for part in line.split(b";"):
            key, _, value = part.strip(b" \t").partition(b"=")
            if key == name.encode("ascii"):
                found.append(value)
    return found[0] if len(found) == 1 else None


def cookie_name(*, secure: bool) -> str:
    """The name of the session's cookie."""
    return SECURE_COOKIE if secure else PLAIN_COOKIE


def set_cookie(name: str, text: str, *, secure: bool, max_age: int | None = None) -> str:
    """A Set-Cookie value; without ``max_age`` (seconds) the browser forgets it when it ends, 0 makes it forget now."""
    age = "" if max_age is None else f"; Max-Age={max_age}"
    return f"{name}={text}; Path=/; HttpOnly; SameSite=Lax{'; Secure' if secure else ''}{age}"


def session_cookie(session: str, *, secure: bool) -> str:
    """The Set-Cookie value that begins a browser's session."""
    return set_cookie(cookie_name(secure=secure), session, secure=secure)


def no_session_cookie(*, secure: bool) -> str:
    """The Set-Cookie value that ends it."""
    return set_cookie(cookie_name(secure=secure), "", secure=secure, max_age=0)
