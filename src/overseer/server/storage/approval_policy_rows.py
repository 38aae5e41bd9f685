"""Policies of approvals as rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from overseer.core.access import Match, NamePattern, PartSelector
from overseer.core.approvals import GuardedAction, Policy, from_guard_bits, to_guard_bits
from overseer.core.scopes import Scope
from overseer.server.storage.database import Record, Session


@dataclass(frozen=True, slots=True)
class PolicyRow:
    """A policy with what people know it by; ``names`` are those of the parts that its selector names."""

    policy: Policy
    description: str
    names: Scope[str]
    created_at: datetime
    revision: int


async def guarding(session: Session, actions: Iterable[GuardedAction]) -> list[Policy]:
    """Every policy that guards any of the actions, wherever."""
    return [_policy(row) for row in await session.fetch("approval_policies_guarding", to_guard_bits(actions))]


async def policies(
    session: Session, policy_id: UUID | None = None, after: str | None = None, limit: int | None = None
) -> list[PolicyRow]:
    """Policies by title, those behind ``after``; or the one of that id."""
    return [_row(row) for row in await session.fetch("approval_policy_page", policy_id, after, limit)]


async def locked_policy(session: Session, policy_id: UUID) -> PolicyRow | None:
    """The policy as it is under its lock."""
    if await session.fetchval("approval_policy_lock", policy_id) is None:
        return None
    return (await policies(session, policy_id))[0]


async def insert_policy(session: Session, policy: Policy, description: str, created_by: UUID) -> None:
    """A new one; :class:`AlreadyExists` where the title is taken."""
    await session.execute("approval_policy_insert", *_fields(policy, description), created_by)


async def update_policy(session: Session, policy: Policy, description: str) -> None:
    """All of it anew; the caller holds the lock. :class:`AlreadyExists` where the title is taken."""
    await session.execute("approval_policy_update", *_fields(policy, description))


async def delete_policy(session: Session, policy_id: UUID) -> None:
    """What it guarded waits for nobody any more."""
    await session.execute("approval_policy_delete", policy_id)


def _fields(policy: Policy, description: str) -> tuple[object, ...]:
    parts = [field for part in (policy.app, policy.environment, policy.node) for field in (part.match.value, part.id)]
    return (
        policy.id,
        policy.title,
        description,
        to_guard_bits(policy.actions),
        *parts,
        policy.pattern.name,
        policy.pattern.is_prefix,
        *(policy.label or (None, None)),
        policy.approvers,
        int(policy.waits.total_seconds()),
        int(policy.lives.total_seconds()),
        policy.distance,
    )


def _row(row: Record) -> PolicyRow:
    names = Scope(row["app"], row["environment"], row["node"])
    return PolicyRow(_policy(row), row["description"], names, row["created_at"], row["revision"])


def _policy(row: Record) -> Policy:
    return Policy(
        id=row["id"],
        title=row["title"],
        actions=from_guard_bits(row["actions"]),
        app=PartSelector(Match(row["app_match"]), row["app_id"]),
        environment=PartSelector(Match(row["environment_match"]), row["environment_id"]),
        node=PartSelector(Match(row["node_match"]), row["node_id"]),
        pattern=NamePattern(row["name"], row["name_is_prefix"]),
        label=None if row["label_key"] is None else (row["label_key"], row["label_value"]),
        approvers=row["approvers"],
        waits=timedelta(seconds=row["waits_seconds"]),
        lives=timedelta(seconds=row["lives_seconds"]),
        distance=row["distance_days"],
    )
