"""Principals, tokens, roles and bindings.

A selector part is ``"*"`` (anything), ``"-"`` (only nothing set) or a name; all three are always written.
"""

from __future__ import annotations

from datetime import datetime

from msgspec import UNSET, UnsetType

from overseer.wire.messages import Answer, Request


class ServiceAccountCreate(Request, frozen=True):
    name: str
    description: str = ""


class ServiceAccountPatch(Request, frozen=True):
    """What is absent stays as it is. A disabled account keeps what it holds, and its tokens are refused."""

    description: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET


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


class TokenRotate(Request, frozen=True):
    """A successor that lives ``expires_in`` seconds; its predecessor goes on for ``overlap`` seconds, 0 to 30 days."""

    expires_in: int = 90 * 86400
    overlap: int = 3600
    description: str | None = None


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


class RoleCreate(Request, frozen=True):
    name: str
    permissions: list[str]
    description: str = ""


class RolePatch(Request, frozen=True):
    """What is absent stays as it is; ``permissions`` replaces all of them, in every binding that uses the role."""

    name: str | UnsetType = UNSET
    permissions: list[str] | UnsetType = UNSET
    description: str | UnsetType = UNSET


class RoleView(Answer, frozen=True):
    """``in_use``: by how many bindings."""

    id: str
    name: str
    permissions: list[str]
    built_in: bool
    description: str = ""
    in_use: int = 0


class GroupCreate(Request, frozen=True):
    name: str
    description: str = ""


class GroupPatch(Request, frozen=True):
    """What is absent stays as it is."""

    name: str | UnsetType = UNSET
    description: str | UnsetType = UNSET


class GroupView(Answer, frozen=True):
    """``members`` counts them."""

    id: str
    name: str
    description: str
    members: int
    created_at: datetime


class BindingCreate(Request, frozen=True):
    """``role`` given to ``principal`` or ``group`` (by name, one of the two) over the selector and the secrets (or apps, …) whose
    name matches ``name``.

    With ``active_seconds`` it is for an emergency: dormant until its holder activates it with a reason, then alive for so long.
    ``expires_at`` says then until when it can be activated.
    """

    role: str
    app: str
    environment: str
    node: str
    name: str
    principal: str | None = None
    group: str | None = None
    expires_at: datetime | None = None
    active_seconds: int | None = None


class BindingActivate(Request, frozen=True):
    """``reason`` goes into the audit log, beside the alarm."""

    reason: str


class BindingView(Answer, frozen=True):
    """``principal`` is the name of who holds it: a principal, or a group where ``subject_kind`` says so.

    ``active_seconds`` is set for an emergency binding; ``active_until`` while it is active.
    """

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
    subject_kind: str = "principal"
    active_seconds: int | None = None
    active_until: datetime | None = None


class MeView(Answer, frozen=True):
    """Who the token speaks for and what it may do. ``permissions``: those held over anything at all, in alphabetical order.
    ``enrolling``: a session that can only set up a second factor; ``second_factor``: the user has one."""

    id: str
    kind: str
    name: str
    token_id: str
    token_expires_at: datetime
    bindings: list[BindingView]
    permissions: list[str] = []
    enrolling: bool = False
    second_factor: bool = False
