"""How secrets are rotated, and the runs of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from overseer.wire.messages import Answer, Request
from overseer.wire.secrets import ScopeView


class RotationSet(Request, frozen=True):
    """What is not sent stays. ``policy`` as in the metadata of a secret; null takes the schedule, or the rotator, away.

    ``rotator``: kind, url, admin (the id of a secret) and what else the kind takes. ``paused``: the schedule is held.
    """

    policy: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    rotator: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    paused: bool | msgspec.UnsetType = msgspec.UNSET


class RotationRunView(Answer, frozen=True):
    """One run. ``state`` is the last step that is known to be done: waiting, prepared, applied, verified, published,
    acknowledged, reverting; at the end succeeded, reverted or failed. ``error``: what went wrong last, if anything did."""

    id: str
    cause: str
    state: str
    previous_version: int | None
    candidate_version: int | None
    rollout: str | None
    attempts: int
    error: str
    created_by: str | None
    created_at: datetime
    finished_at: datetime | None


class RotationView(Answer, frozen=True):
    """``due_at`` is when the next one begins by itself. ``rotator`` holds no credential: ``admin`` is the id of a secret.

    ``set_by`` set the rotator up, ``policy_set_by`` the schedule. ``stopped``: why it does not go on, '' where it does: no_setter
    (they were deleted), principal_disabled, or no_binding (they lack a right by now). Whoever sets it again stands for it.
    """

    secret_id: str
    name: str
    scope: ScopeView
    policy: dict[str, Any] | None
    due_at: datetime | None
    paused: bool
    rotator: dict[str, Any] | None
    set_by: str | None
    policy_set_by: str | None
    stopped: str
    newest_run: RotationRunView | None
