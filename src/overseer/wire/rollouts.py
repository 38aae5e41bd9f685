"""Rollouts: a new version of a secret on its way to the containers that use it."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer
from overseer.wire.secrets import ScopeView


class RolloutStepView(Answer, frozen=True):
    """A deployment that the rollout made. ``step``: candidate (the new version) or back (the previous one again)."""

    deployment_id: str
    app: str
    environment: str | None
    project: str
    step: str
    state: str
    error: str


class RolloutNodeView(Answer, frozen=True):
    """``state``: waiting, candidate (it was given the new version), acknowledged, unhealthy, or withdrawn.

    A node is withdrawn where it went back to the previous version, and where it has no use for the secret any more.
    """

    node: str
    state: str
    started_at: datetime | None
    acknowledged_at: datetime | None
    steps: list[RolloutStepView]


class RolloutView(Answer, frozen=True):
    """``state``: running, succeeded or withdrawn (``error`` says why). ``nodes``: those whose deployments the caller may list;
    ``node_count`` counts all."""

    id: str
    secret_id: str
    name: str
    scope: ScopeView
    previous_version: int
    candidate_version: int
    state: str
    error: str
    node_count: int
    nodes: list[RolloutNodeView]
    created_by: str | None
    created_at: datetime
    finished_at: datetime | None
