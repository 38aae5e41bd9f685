"""Requests for approval and decisions about them as rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from overseer.core.approvals import Asked, Requirement
from overseer.server.storage.database import Record, Session

KEPT: Final = timedelta(days=90)


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """A request. ``state`` is that of this moment: pending, approved, refused, used, withdrawn or expired."""

    id: UUID
    principal_id: UUID
    principal: str
    principal_kind: str
    digest: bytes
    asked: Asked
    names: dict[str, Any]
    reason: str = field(repr=False)
    approvers: int
    state: str
    waits_until: datetime
    usable_until: datetime | None
    created_at: datetime
    ended_at: datetime | None
    distance: int

    def looks_back_to(self, now: datetime) -> datetime:
        """Since when whoever asks may not have had their hands on who approves."""
        return min(self.created_at, now - timedelta(days=self.distance))


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """What one person said to a request; ``verdict`` is approve or refuse."""

    approval_id: UUID
    principal_id: UUID
    principal: str
    kind: str
    disabled: bool
    verdict: str
    comment: str = field(repr=False)
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class NewApproval:
    """A request to insert."""

    id: UUID
    asked: Asked
    names: dict[str, Any]
    reason: str = field(repr=False)
    needed: Requirement
    now: datetime


async def insert_approval(session: Session, new: NewApproval) -> None:
    """A pending request; what ended :data:`KEPT` ago is forgotten."""
    await session.execute("approval_purge", KEPT)
    await session.execute(
        "approval_insert",
        new.id,
        new.asked.principal,
        new.asked.operation.value,
        new.asked.digest,
        json.dumps(new.asked.content),
        json.dumps(new.names),
        new.asked.secret,
        new.reason,
        new.needed.approvers,
        int(new.needed.lives.total_seconds()),
        new.now + new.needed.waits,
        new.needed.distance,
    )


async def approval_by_id(session: Session, approval_id: UUID) -> ApprovalRow | None:
    """A request by id."""
    row = await session.fetchrow("approval_by_id", approval_id)
    return None if row is None else _approval(row)


async def locked_approval(session: Session, approval_id: UUID) -> ApprovalRow | None:
    """The request as it is under a row lock that lasts until the transaction ends."""
    if await session.fetchval("approval_lock", approval_id) is None:
        return None
    return await approval_by_id(session, approval_id)


async def approval_page(
    session: Session, principal_id: UUID | None, state: str | None, operation: str | None, before: UUID | None, limit: int
) -> list[ApprovalRow]:
    """The first ``limit`` requests older than ``before``, newest first."""
    rows = await session.fetch("approval_page", principal_id, state, operation, before, limit)
    return [_approval(row) for row in rows]


async def open_approvals(session: Session, asked: Asked) -> list[ApprovalRow]:
    """Pending and usable requests of the same principal for the same, or for the same operation on the same secret."""
    fields = (asked.principal, asked.operation.value, asked.digest, asked.secret)
    return [_approval(row) for row in await session.fetch("approval_open_of", *fields)]


async def usable_approvals(session: Session, asked: Asked) -> list[ApprovalRow]:
    """What was approved of exactly this and can still be used, oldest first."""
    return [_approval(row) for row in await session.fetch("approval_usable", asked.principal, asked.digest)]


async def take_approval(session: Session, approval_id: UUID) -> bool:
    """Lock it for the caller's transaction; False where somebody else has used it, or its time is over."""
    return await session.fetchval("approval_take", approval_id) is not None


async def use_approval(session: Session, approval_id: UUID) -> None:
    """Use it up; the caller holds the lock."""
    await session.execute("approval_use", approval_id)


async def pending_count(session: Session, principal_id: UUID) -> int:
    """How many requests of a principal wait."""
    return int(await session.fetchval("approval_pending_count", principal_id))


async def approve(session: Session, approval_id: UUID) -> None:
    """It has all the approvals that it needs; its life begins. The caller holds the lock."""
    await session.execute("approval_approve", approval_id)


async def end_approval(session: Session, approval_id: UUID, state: str) -> None:
    """``refused`` or ``withdrawn``; the caller holds the lock."""
    await session.execute("approval_end", approval_id, state)


async def decisions_of(session: Session, approval_ids: Sequence[UUID]) -> list[DecisionRow]:
    """All decisions about those requests, oldest first."""
    return [DecisionRow(**dict(row)) for row in await session.fetch("approval_decisions", list(approval_ids))]


async def insert_decision(session: Session, approval_id: UUID, principal_id: UUID, verdict: str, comment: str) -> None:
    """:class:`AlreadyExists` where that person has decided already."""
    await session.execute("approval_decision_insert", approval_id, principal_id, verdict, comment)


async def hands_behind(session: Session, principal_id: UUID) -> frozenset[UUID]:
    """Everybody who may act as that principal: itself; for a machine also who made it or a token of it, and so on."""
    return frozenset(row["id"] for row in await session.fetch("approval_hands", principal_id))


async def made_by_others(session: Session, bindings: list[UUID], hands: frozenset[UUID]) -> frozenset[UUID]:
    """Of these bindings those that none of ``hands`` has made."""
    return frozenset(row["id"] for row in await session.fetch("approval_given_bindings", bindings, list(hands)))


def _approval(row: Record) -> ApprovalRow:
    return ApprovalRow(
        id=row["id"],
        principal_id=row["principal_id"],
        principal=row["principal"],
        principal_kind=row["principal_kind"],
        digest=row["digest"],
        asked=Asked.read(json.loads(row["content"])),
        names=json.loads(row["names"]),
        reason=row["reason"],
        approvers=row["approvers"],
        state=row["state"],
        waits_until=row["waits_until"],
        usable_until=row["usable_until"],
        created_at=row["created_at"],
        ended_at=row["ended_at"],
        distance=row["distance_days"],
    )
