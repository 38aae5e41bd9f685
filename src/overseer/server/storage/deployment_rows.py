"""Bundles and deployments as rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from overseer.core.scopes import Scope
from overseer.server.storage.database import Record, Session

OPEN_STATES: Final = frozenset({"queued", "released", "applying"})
GROUP_STOPPED: Final = "not begun: another deployment of its group did not succeed"


@dataclass(frozen=True, slots=True)
class BundleRow:
    """A stored bundle; its content is an envelope."""

    id: UUID
    app_id: UUID
    app: str
    digest: str
    format: int
    kek_term: int
    wrapped_dek: bytes
    ciphertext: bytes
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BundleSummary:
    """A stored bundle without its content, for lists: the content may be megabytes."""

    id: UUID
    app: str
    digest: str
    size: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class DeploymentRow:
    """A deployment with the names of its parts."""

    id: UUID
    app_id: UUID
    app: str
    environment_id: UUID | None
    environment: str | None
    node_id: UUID
    node: str
    action: str
    bundle_id: UUID | None
    bundle: str | None
    project: str
    options: dict[str, Any]
    state: str
    output: str
    error: str
    services: list[dict[str, Any]]
    attempts: int
    created_by: UUID | None
    creator: str | None
    created_at: datetime
    finished_at: datetime | None
    checked_at: datetime | None = None
    group_id: UUID | None = None
    group_position: int | None = None

    @property
    def scope(self) -> Scope[UUID]:
        return Scope(self.app_id, self.environment_id, self.node_id)

    @property
    def scope_names(self) -> Scope[str]:
        return Scope(self.app, self.environment, self.node)

    @property
    def open(self) -> bool:
        """Not finished yet."""
        return self.state in OPEN_STATES


@dataclass(frozen=True, slots=True)
class DeploymentSecretRow:
    """Which version a reference of a deployment got."""

    deployment_id: UUID
    reference: str
    secret_id: UUID
    secret_name: str
    version: int
    field: str
    kinds: list[str]
    services: list[str]
    persists: bool
    matches: bool | None = None
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class WorkRow:
    """A deployment that an agent may take."""

    id: UUID
    action: str
    app: str
    environment: str | None
    project: str
    options: dict[str, Any]
    attempts: int


async def insert_bundle(session: Session, row: BundleRow, created_by: UUID) -> None:
    """Store a bundle; the same content of the same app is stored once."""
    await session.execute(
        "bundle_insert",
        row.id,
        row.app_id,
        row.digest,
        row.format,
        row.kek_term,
        row.wrapped_dek,
        row.ciphertext,
        row.size,
        created_by,
    )


async def bundle_by_digest(session: Session, app_id: UUID, digest: str) -> BundleRow | None:
    """An app's bundle."""
    row = await session.fetchrow("bundle_by_digest", app_id, digest)
    return BundleRow(**dict(row)) if row else None


async def bundle_by_id(session: Session, bundle_id: UUID) -> BundleRow | None:
    """A bundle by id."""
    row = await session.fetchrow("bundle_by_id", bundle_id)
    return BundleRow(**dict(row)) if row else None


async def bundle_page(session: Session, app_id: UUID, before: UUID | None, limit: int) -> list[BundleSummary]:
    """The newest ``limit`` bundles of an app that were stored before the one of that id."""
    return [BundleSummary(**dict(row)) for row in await session.fetch("bundle_page", app_id, before, limit)]


async def claim_project(session: Session, node_id: UUID, project: str, app_id: UUID, environment_id: UUID | None) -> bool:
    """Lock the node for making a deployment; False where another app or environment has this project there."""
    await session.fetchval("deployment_place_lock", node_id)
    return not await session.fetchval("deployment_project_clash", node_id, project, app_id, environment_id)


async def insert_deployment(
    session: Session,
    deployment_id: UUID,
    scope: Scope[UUID],
    action: str,
    bundle_id: UUID | None,
    project: str,
    options: dict[str, Any],
    created_by: UUID,
    *,
    group: tuple[UUID, int] | None = None,
) -> None:
    """A queued deployment; what was queued for the same project and not taken yet is superseded.

    ``group`` is a group and the turn in it, counted from 0.
    """
    if await session.execute("deployment_supersede", scope.node, project):
        await stop_groups(session)
    await session.execute(
        "deployment_insert",
        deployment_id,
        scope.app,
        scope.environment,
        scope.node,
        action,
        bundle_id,
        project,
        json.dumps(options),
        created_by,
        *(group or (None, None)),
    )


async def insert_deployment_secrets(session: Session, rows: Sequence[DeploymentSecretRow]) -> None:
    """The versions that the deployment uses."""
    await session.executemany(
        "deployment_secret_insert",
        [
            (r.deployment_id, r.reference, r.secret_id, r.secret_name, r.version, r.field, r.kinds, r.services, r.persists)
            for r in rows
        ],
    )


async def deployment_by_id(session: Session, deployment_id: UUID, *, lock: bool = False) -> DeploymentRow | None:
    """A deployment; ``lock`` holds its row until the transaction ends."""
    if lock and await session.fetchval("deployment_lock", deployment_id) is None:
        return None
    row = await session.fetchrow("deployment_by_id", deployment_id)
    return _deployment(row) if row else None


async def current_deployment(session: Session, node_id: UUID, project: str) -> DeploymentRow | None:
    """What runs in a place: the newest succeeded deployment that no succeeded undeployment follows."""
    row = await session.fetchrow("deployment_current", node_id, project)
    return _deployment(row) if row else None


async def unsettled(session: Session, node_id: UUID, project: str, current: UUID | None) -> tuple[int, int]:
    """How many deployments of the place are open, and how many failed half-way after the current one."""
    row = await session.fetchrow("deployment_unsettled", node_id, project, current)
    return (row["open"], row["failed"]) if row else (0, 0)


async def deployment_page(
    session: Session, filters: tuple[str | None, str | None, str | None, str | None], before: UUID | None, limit: int
) -> list[DeploymentRow]:
    """Deployments, newest first; ``filters`` are app, environment, node and state."""
    return [_deployment(row) for row in await session.fetch("deployment_page", *filters, before, limit)]


async def secrets_of(session: Session, deployment_ids: list[UUID]) -> dict[UUID, list[DeploymentSecretRow]]:
    """The versions that deployments use, by deployment."""
    found: dict[UUID, list[DeploymentSecretRow]] = {deployment_id: [] for deployment_id in deployment_ids}
    for row in await session.fetch("deployment_secrets", deployment_ids):
        found[row["deployment_id"]].append(DeploymentSecretRow(**dict(row)))
    return found


async def open_work(session: Session, node_id: UUID, busy: list[UUID]) -> list[WorkRow]:
    """The next deployment of each project of the node that its agent is not busy with."""
    rows = await session.fetch("deployment_work", node_id, busy)
    return [WorkRow(**{**dict(row), "options": json.loads(row["options"])}) for row in rows]


async def nodes_to_wake(session: Session, busy: Mapping[UUID, list[UUID]]) -> list[UUID]:
    """Of the waiting nodes, by what each is busy with: those that have work, and those that may no longer ask for any."""
    pairs = [(node_id, deployment_id) for node_id, ids in busy.items() for deployment_id in ids]
    nodes, deployments = [node_id for node_id, _ in pairs], [deployment_id for _, deployment_id in pairs]
    return [row["id"] for row in await session.fetch("deployment_nodes_to_wake", list(busy), nodes, deployments)]


async def hand_out(session: Session, deployment_id: UUID, most: int, error: str, lease: timedelta) -> bool:
    """Count a try; False where it has ended meanwhile, or there were too many and it has failed with ``error``."""
    state = await session.fetchval("deployment_hand_out", deployment_id, most, error, lease)
    if state == "failed":
        await stop_groups(session)
    return state in OPEN_STATES


async def keep(session: Session, node_id: UUID, busy: list[UUID], lease: timedelta) -> None:
    """The agent still works on these."""
    await session.execute("deployment_keep", busy, lease, node_id)


async def mark_released(session: Session, deployment_id: UUID, lease: timedelta) -> None:
    """Its values were handed to the node."""
    await session.execute("deployment_released", deployment_id, lease)


async def write_report(
    session: Session, deployment_id: UUID, state: str, output: str, error: str, services: list[dict[str, Any]], lease: timedelta
) -> None:
    """What the agent reported."""
    await session.execute("deployment_report", deployment_id, state, output, error, json.dumps(services), lease)
    if state == "failed":
        await stop_groups(session)


async def write_matches(session: Session, deployment_id: UUID, matches: dict[str, bool]) -> None:
    """Whether containers hold what they should, by reference."""
    await session.execute("deployment_secret_matches", deployment_id, list(matches), list(matches.values()))


async def stop_groups(session: Session) -> None:
    """Supersede what no agent has begun of groups in which something went wrong."""
    await session.execute("deployment_groups_stop", GROUP_STOPPED)


async def expire(session: Session, error: str) -> int:
    """Fail deployments whose agent went silent; how many."""
    expired = await session.execute("deployment_expire", error)
    await stop_groups(session)
    return expired


def _deployment(row: Record) -> DeploymentRow:
    return DeploymentRow(**{**dict(row), "options": json.loads(row["options"]), "services": json.loads(row["services"])})
