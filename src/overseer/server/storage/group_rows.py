"""Groups of deployments, the nodes that they are for, and how deployments go on, as rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class GroupRow:
    """A group; its members are deployments."""

    id: UUID
    parallel: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TargetRow:
    """A node that a deployment may be for."""

    id: UUID
    name: str
    state: str
    drained: bool


@dataclass(frozen=True, slots=True)
class ProgressRow:
    """How a deployment stands. ``output`` is None where it is as long as the watcher has seen."""

    id: UUID
    node: str
    state: str
    error: str
    finished_at: datetime | None
    size: int
    output: str | None


async def insert_group(session: Session, group_id: UUID, parallel: int) -> None:
    """A group without members."""
    await session.execute("deployment_group_insert", group_id, parallel)


async def group_by_id(session: Session, group_id: UUID) -> GroupRow | None:
    """A group by id."""
    row = await session.fetchrow("deployment_group_by_id", group_id)
    return GroupRow(**dict(row)) if row else None


async def group_members(session: Session, group_id: UUID) -> list[UUID]:
    """The deployments of a group, in their turn."""
    return [row["id"] for row in await session.fetch("deployment_group_members", group_id)]


async def targets(
    session: Session, *, names: Sequence[str] | None = None, labels: Mapping[str, str] | None = None
) -> list[TargetRow]:
    """The nodes of these names, or all with these labels that are not revoked; by name."""
    selector = None if labels is None else json.dumps(dict(labels))
    rows = await session.fetch("deployment_targets", None if names is None else list(names), selector)
    return [TargetRow(**dict(row)) for row in rows]


async def progress(session: Session, seen: Mapping[UUID, int]) -> dict[UUID, ProgressRow]:
    """How deployments stand; ``seen`` says how many characters of output each watcher knows."""
    rows = await session.fetch("deployment_progress", list(seen), list(seen.values()))
    return {row["id"]: ProgressRow(**dict(row)) for row in rows}
