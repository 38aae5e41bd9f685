"""Principals, tokens, roles and bindings.

A selector part is ``"*"`` (anything), ``"-"`` (only nothing set) or a name; all three are always written.
"""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class ServiceAccountCreate(Request, frozen=True):
    name: str
    description: str = ""


class PrincipalView(Answer, frozen=True):
    """``kind``: user, service_account or node."""

    id: str
    kind: str
    name: str
    description: str
    disabled: bool
    created_at: datetime


class TokenCreate(Request, frozen=True):
    """A token of ``principal`` (a service account's name, or ``me``); ``expires_in`` in seconds, 60 to 366 days."""

    principal: str
    description: str = ""
    expires_in: int = 90 * 86400
    networks: list[str] | None = None


class TokenView(Answer, frozen=True):
    id: str
    principal: str
    principal_id: str
    description: str
    expires_at: datetime
    networks: list[str] | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime


class TokenCreated(Answer, frozen=True):
    """``token`` is shown this once; the server keeps its SHA-256."""

    id: str
    token: str
    expires_at: datetime


class RoleView(Answer, frozen=True):
    id: str
    name: str
    permissions: list[str]
    built_in: bool


class BindingCreate(Request, frozen=True):
    """``role`` given to ``principal`` (name) over the selector and the secrets (or apps, …) whose name matches ``name``."""

    principal: str
    role: str
    app: str
    environment: str
    node: str
    name: str
    expires_at: datetime | None = None


class BindingView(Answer, frozen=True):
    id: str
    principal: str
    principal_id: str
    role: str
    app: str
    environment: str
    node: str
    name: str
    expires_at: datetime | None
    created_at: datetime


class MeView(Answer, frozen=True):
    """Who the token speaks for and what it may do."""

    id: str
    kind: str
    name: str
    token_id: str
    token_expires_at: datetime
    bindings: list[BindingView]
