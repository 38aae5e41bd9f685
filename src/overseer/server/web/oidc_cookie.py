"""The cookie that a browser keeps while its visitor is at an identity provider: the ticket, and where to go afterwards.

HttpOnly, bound to TLS where that is spoken, gone after ten minutes or with the sign-in. SameSite=Lax, so that it comes along when
the provider sends the visitor back, and not with requests that another site makes by itself.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, unquote_to_bytes

from overseer.server.api.session_cookies import set_cookie

SECONDS: Final = 600


def ticket_cookie_name(*, secure: bool) -> str:
    """``__Host-overseer-oidc``, or without the prefix on plain loopback."""
    return "__Host-overseer-oidc" if secure else "overseer-oidc"


def ticket_cookie(ticket: str, path: str, *, secure: bool) -> tuple[bytes, bytes]:
    """The header that keeps ``ticket`` and ``path``."""
    text = f"{quote(ticket, safe='')}|{quote(path, safe='')}"
    return _header(set_cookie(ticket_cookie_name(secure=secure), text, secure=secure, max_age=SECONDS))


def no_ticket_cookie(*, secure: bool) -> tuple[bytes, bytes]:
    """The header that ends it."""
    return _header(set_cookie(ticket_cookie_name(secure=secure), "", secure=secure, max_age=0))


def read_ticket(cookie: bytes | None) -> tuple[str, str]:
    """Ticket and path of a cookie; empty texts where there is none, or what is in it cannot be read."""
    ticket, _, path = (cookie or b"").partition(b"|")
    try:
        return unquote_to_bytes(ticket).decode("ascii"), unquote_to_bytes(path).decode("ascii")
    except UnicodeDecodeError:
        return "", ""


def _header(text: str) -> tuple[bytes, bytes]:
    return b"set-cookie", text.encode("ascii")
