"""Rollouts, the nodes they reach and the deployments that they make, as rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.core.scopes import Scope
from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class RolloutRow:
    """``state`` is running, succeeded or withdrawn; ``error`` says why it was withdrawn."""

    id: UUID
    secret_id: UUID
    previous_version: int
    candidate_version: int
    state: str
    error: str
    created_by: UUID | None
    creator: str | None
    created_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class RolloutNodeRow:
    """``state`` is waiting, candidate, acknowledged, unhealthy or withdrawn; ``node_state`` is the node's own."""

    rollout_id: UUID
    node_id: UUID
    node: str
    node_state: str
    state: str
    started_at: datetime | None
    acknowledged_at: datetime | None


@dataclass(frozen=True, slots=True)
class PlacedDeployment:
    """A deployment of a project that uses the secret. ``versions``: what its references without a version got."""

    id: UUID
    node_id: UUID
    node: str
    node_state: str
    project: str
    action: str
    state: str
    attempts: int
    rollout: str | None
    step: str | None
    finished_at: datetime | None
    current: bool
    versions: frozenset[int]


@dataclass(frozen=True, slots=True)
class StepRow:
    """A deployment that a rollout made; ``step`` is candidate or back."""

    rollout: str
    step: str
    id: UUID
    app_id: UUID
    app: str
    environment_id: UUID | None
    environment: str | None
    node_id: UUID
    node: str
    project: str
    state: str
    error: str

    @property
    def scope(self) -> Scope[UUID]:
        return Scope(self.app_id, self.environment_id, self.node_id)


async def insert_rollout(
    session: Session, rollout_id: UUID, secret_id: UUID, previous: int, candidate: int, created_by: UUID | None
) -> None:
    """A running rollout; the caller holds the secret's lock."""
    await session.execute("rollout_insert", rollout_id, secret_id, previous, candidate, created_by)


async def rollout_by_id(session: Session, rollout_id: UUID) -> RolloutRow | None:
    """A rollout by id."""
    row = await session.fetchrow("rollout_by_id", rollout_id)
    return RolloutRow(**dict(row)) if row else None


async def running_rollout(session: Session, secret_id: UUID) -> RolloutRow | None:
    """The rollout of a secret that is running, if there is one."""
    row = await session.fetchrow("rollout_running", secret_id)
    return RolloutRow(**dict(row)) if row else None


async def rollout_page(
    session: Session, state: str | None, secret_id: UUID | None, before: UUID | None, limit: int
) -> list[RolloutRow]:
    """Rollouts, newest first."""
    return [RolloutRow(**dict(row)) for row in await session.fetch("rollout_page", state, secret_id, before, limit)]


async def running_rollouts(session: Session, node_id: UUID | None = None) -> list[UUID]:
    """The running rollouts, all or those that reach a node."""
    return [row["id"] for row in await session.fetch("rollout_all_running", node_id)]


async def finish_rollout(session: Session, rollout_id: UUID, state: str, error: str = "") -> None:
    """End a running rollout."""
    await session.execute("rollout_finish", rollout_id, state, error)


async def rollout_nodes(session: Session, rollout_ids: Sequence[UUID]) -> dict[UUID, list[RolloutNodeRow]]:
    """The nodes of rollouts, by name."""
    found: dict[UUID, list[RolloutNodeRow]] = {rollout_id: [] for rollout_id in rollout_ids}
    for row in await session.fetch("rollout_nodes", list(rollout_ids)):
        found[row["rollout_id"]].append(RolloutNodeRow(**dict(row)))
    return found


async def add_nodes(session: Session, rollout_id: UUID, node_ids: Sequence[UUID]) -> None:
    """Nodes that have to wait for their turn."""
    await session.execute("rollout_node_insert", rollout_id, list(node_ids))


async def set_node(session: Session, rollout_id: UUID, node_id: UUID, state: str) -> None:
    """What became of a node in a rollout."""
    await session.execute("rollout_node_set", rollout_id, node_id, state)


async def lock_nodes(session: Session, rollout_id: UUID, secret_id: UUID) -> None:
    """Nobody makes a deployment on a node that the rollout may reach until the transaction ends."""
    await session.fetch("rollout_lock_nodes", rollout_id, secret_id)


async def placed_deployments(session: Session, secret_id: UUID, rollout_id: UUID) -> list[PlacedDeployment]:
    """What uses the secret on which node (by name) in which project: current, open, and failed steps of the rollout, ordered."""
    rows = await session.fetch("rollout_places", secret_id, str(rollout_id))
    return [PlacedDeployment(**{**dict(row), "versions": frozenset(row["versions"])}) for row in rows]


async def copy_deployment(
    session: Session, base: UUID, deployment_id: UUID, options: dict[str, str], created_by: UUID | None
) -> None:
    """A queued deployment like ``base`` with further options. Its references follow with :func:`copy_references`."""
    await session.execute("rollout_step_copy", base, deployment_id, json.dumps(options), created_by)


async def copy_references(session: Session, base: UUID, deployment_id: UUID, secret_id: UUID, version: int) -> None:
    """The references of ``base``, with ``version`` wherever one names the secret without a version."""
    await session.execute("rollout_step_copy_secrets", base, deployment_id, secret_id, version)


async def supersede_queued(session: Session, node_id: UUID, project: str) -> None:
    """What is queued for a project and was not taken is not executed any more."""
    await session.execute("deployment_supersede", node_id, project)


async def cancel_unseen_steps(session: Session, rollout_id: UUID) -> None:
    """Steps that no agent has been given are not executed any more."""
    await session.execute("rollout_step_cancel", str(rollout_id))


async def fail_overdue_steps(session: Session, rollout_id: UUID, node_id: UUID, error: str) -> None:
    """Steps that a node's agent did not take are over."""
    await session.execute("rollout_step_overdue", str(rollout_id), node_id, error)


async def steps_of(session: Session, rollout_ids: Sequence[UUID]) -> list[StepRow]:
    """The deployments that rollouts made, in order."""
    rows = await session.fetch("rollout_steps", [str(rollout_id) for rollout_id in rollout_ids])
    return [StepRow(**dict(row)) for row in rows]


async def versions_at(session: Session, secret_ids: Sequence[UUID], node_id: UUID | None) -> dict[UUID, int]:
    """The version of each secret that a new deployment on the node gets; held until the transaction ends."""
    if not secret_ids:
        return {}
    await session.fetch("rollout_share_lock", list(secret_ids))
    return {row["id"]: row["version"] for row in await session.fetch("rollout_versions_at", list(secret_ids), node_id)}
