"""Approvals: policies, requests, decisions. Never a value."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from msgspec import UNSET, UnsetType

from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import ScopeView


class ApprovalPolicyCreate(Request, frozen=True):
    """``actions`` (of reveal, activate, delete, deploy) on what the selector and the pattern ``name`` select wait for
    ``approvers`` (1 to 5) other people.

    ``label`` (``key=value``) leaves out the secrets that do not have it; a policy with one cannot guard deployments, whose name
    is their app's. A request waits ``waits_seconds``, and what was approved can be used for ``lives_seconds``.
    Nobody approves whom the requester made, let in or gave the right to decide, since the request or within
    ``distance_days`` (0 to 365).
    """

    title: str
    actions: list[str]
    app: str
    environment: str
    node: str
    name: str
    label: str | None = None
    approvers: int = 1
    waits_seconds: int = 86400
    lives_seconds: int = 3600
    description: str = ""
    distance_days: int = 0


class ApprovalPolicyPatch(Request, frozen=True):
    """What is absent stays as it is; a selector is written as a whole or not at all."""

    title: str | UnsetType = UNSET
    actions: list[str] | UnsetType = UNSET
    app: str | UnsetType = UNSET
    environment: str | UnsetType = UNSET
    node: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    label: str | UnsetType | None = UNSET
    approvers: int | UnsetType = UNSET
    waits_seconds: int | UnsetType = UNSET
    lives_seconds: int | UnsetType = UNSET
    description: str | UnsetType = UNSET
    distance_days: int | UnsetType = UNSET


class ApprovalPolicyView(Answer, frozen=True):
    id: str
    title: str
    description: str
    actions: list[str]
    app: str
    environment: str
    node: str
    name: str
    label: str | None
    approvers: int
    waits_seconds: int
    lives_seconds: int
    distance_days: int
    created_at: datetime


class ApprovalCreate(Request, frozen=True):
    """Ask for exactly one ``action``; ``reason`` is for those who decide.

    - ``reveal`` a secret (``secret_id``): its active version, or ``version``.
    - ``activate`` a ``version`` of a secret; without one the next version, which an update or a rotation is about to make.
    - ``delete`` a secret.
    - ``move`` it to the scope ``app``, ``environment``, ``node``, and to ``name`` where that is to be another.
    - ``create`` a secret ``name`` at that scope.
    - ``deploy`` a ``plan`` (its digest) of ``app`` in ``environment`` on ``node``, for ``target``.
    - ``undeploy`` what runs there now.
    - ``rollback`` to an earlier ``deployment_id``.
    """

    action: str
    reason: str
    secret_id: UUID | None = None
    version: int | None = None
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    name: str | None = None
    plan: str | None = None
    target: str = "compose"
    deployment_id: UUID | None = None


class ApprovalDecision(Request, frozen=True):
    """``decision``: approve or refuse; ``comment`` is shown to whoever asked."""

    decision: str
    comment: str = ""


class DecisionView(Answer, frozen=True):
    principal: str
    decision: str
    comment: str
    at: datetime


class ApprovalView(Answer, frozen=True):
    """What somebody asked for and what became of it.

    ``state``: pending, approved, refused, used, expired or withdrawn. ``stale``: the secret changed since, so it is no use.
    ``scope`` and ``name`` are of the secret, or of the app that is deployed; ``target`` and ``target_name`` where a move goes.
    ``details`` says of a plan which versions and effects it has. ``approvers`` are needed, ``approvals`` are there.
    ``may_decide``: you may approve or refuse it now; ``own``: you asked for it.
    """

    id: str
    action: str
    state: str
    stale: bool
    requester: str
    requester_kind: str
    reason: str
    name: str
    scope: ScopeView
    secret_id: str | None
    version: int | None
    target: ScopeView | None
    target_name: str | None
    plan: str | None
    deployment_id: str | None
    details: list[str]
    approvers: int
    approvals: int
    decisions: list[DecisionView]
    waits_until: datetime
    usable_until: datetime | None
    created_at: datetime
    ended_at: datetime | None
    may_decide: bool
    own: bool
