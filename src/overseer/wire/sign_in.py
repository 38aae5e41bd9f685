"""Signing in through others: identity providers for people, identity tokens for CI jobs."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class ProviderView(Answer, frozen=True):
    """An identity provider by its name in the configuration; ``web``: browsers can sign in through it, too."""

    name: str
    web: bool


class OidcBegin(Request, frozen=True):
    """``redirect_uri``: a loopback address that the command line listens on; null: the provider's own setting, for browsers."""

    provider: str
    redirect_uri: str | None = None


class OidcBegun(Answer, frozen=True):
    """Send the person to ``url`` and keep ``ticket``: it is needed to end the sign-in, and nobody else may have it."""

    ticket: str
    url: str
    expires_at: datetime


class OidcFinish(Request, frozen=True):
    """``code``, ``state`` and ``issuer`` (the parameter ``iss``, where it is there) as the provider sent them back."""

    ticket: str
    code: str
    state: str
    issuer: str | None = None


class TokenExchange(Request, frozen=True):
    """``name`` of the table ``[ci.NAME]``; ``token`` is the job's identity token."""

    name: str
    token: str


class ExchangedToken(Answer, frozen=True):
    """A short token of ``service_account``, shown this once."""

    id: str
    token: str
    service_account: str
    expires_at: datetime
