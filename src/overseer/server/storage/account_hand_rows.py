"""Who has had their hands on an account, as rows: what an approval asks so that nobody approves with an account of their own.

Guarantee: a row outlives whoever it speaks of, for as long as a policy can look back.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID

from overseer.server.storage.database import Session

KEPT: Final = timedelta(days=400)
"""Longer than ``approval_policy.distance_days`` can be, and a request can wait."""


class Act(StrEnum):
    """What a hand did. ``held``: could act as a machine until it was deleted; the deletion writes it."""

    GROUPED = "grouped"
    HELD = "held"
    LINKED = "linked"
    MADE = "made"
    RESET = "reset"


async def note_hand(session: Session, account: UUID, hand: UUID, act: Act, group: UUID | None = None) -> None:
    """In the transaction of the act; ``group`` where the account came into one."""
    await session.execute("account_hand_insert", account, hand, act.value, group, KEPT)


async def side_of(session: Session, hands: Collection[UUID], since: datetime) -> frozenset[UUID]:
    """``hands`` and all who are on their side: their machines, and the people whom they made, or can sign in as, ``since``."""
    return frozenset(row["id"] for row in await session.fetch("approval_side", list(hands), since))


async def not_given(
    session: Session, bindings: Collection[UUID], holder: UUID, side: Collection[UUID], since: datetime
) -> frozenset[UUID]:
    """Of the holder's bindings those that hold still and that nobody of ``side`` gave it ``since``."""
    rows = await session.fetch("approval_not_given", list(bindings), holder, list(side), since)
    return frozenset(row["id"] for row in rows)
