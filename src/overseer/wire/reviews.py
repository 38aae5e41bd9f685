"""Who may do what with a secret, and why."""

from __future__ import annotations

from uuid import UUID

from overseer.wire.access import BindingView
from overseer.wire.messages import Answer, Request


class AccessExplainRequest(Request, frozen=True):
    """May ``principal`` (a name, or ``me``) do ``permission`` with the secret ``secret_id``, or with one of ``name`` at exactly
    this scope? ``peer`` asks in addition whether a token of it works from that address.
    """

    principal: str
    permission: str
    secret_id: UUID | None = None
    name: str | None = None
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    peer: str | None = None


class BindingFinding(Answer, frozen=True):
    """One binding, the group that it comes through, and what it lacks; nothing where it grants what was asked."""

    binding: BindingView
    group: str | None
    lacks: list[str]


class AccessExplanation(Answer, frozen=True):
    """``reasons``: why not; empty where ``allowed``. ``bindings``: those that allow it, then those that come close.

    ``secret_id`` is None where there is no such secret, or the caller may not know of it.
    """

    allowed: bool
    reasons: list[str]
    principal: str
    kind: str
    permission: str
    name: str
    app: str | None
    environment: str | None
    node: str | None
    secret_id: str | None
    bindings: list[BindingFinding]


class AccessVia(Answer, frozen=True):
    """The binding by which a principal holds something; ``group`` where it is a group's."""

    binding_id: str
    role: str
    group: str | None


class AccessEntry(Answer, frozen=True):
    """What one principal may do with one secret. ``dormant``: what activating an emergency binding would add."""

    secret_id: str
    secret: str
    app: str | None
    environment: str | None
    node: str | None
    principal_id: str
    principal: str
    kind: str
    permissions: list[str]
    dormant: list[str]
    via: list[AccessVia]
