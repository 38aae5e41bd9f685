"""Rows of key rotations: how far one is, so that another process can go on after a kill."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.server.storage.database import Session

#: How far a pass came: table, term and id; it begins before the first entry of ``wrapped_tables``.
Place = tuple[str, int, UUID]


@dataclass(frozen=True, slots=True)
class RotationRow:
    """``at_table``, ``at_term``, ``at_id`` is the place up to which the current pass came; ``unreadable`` rows did not open."""

    id: UUID
    term: int
    reason: str
    state: str
    at_table: str
    at_term: int
    at_id: UUID
    rewrapped: int
    unreadable: int
    started_by: UUID | None
    started_at: datetime
    finished_at: datetime | None
    started_by_name: str | None

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def place(self) -> Place:
        return self.at_table, self.at_term, self.at_id


async def newest_rotation(session: Session) -> RotationRow | None:
    """The one that began last, running or not."""
    row = await session.fetchrow("key_rotation_newest")
    return RotationRow(**dict(row)) if row else None


async def rotation_by_id(session: Session, rotation_id: UUID) -> RotationRow | None:
    row = await session.fetchrow("key_rotation_by_id", rotation_id)
    return RotationRow(**dict(row)) if row else None


async def rotation_is_running(session: Session) -> bool:
    return bool(await session.fetchval("key_rotation_running_exists"))


async def insert_rotation(session: Session, rotation_id: UUID, term: int, reason: str, started_by: UUID | None) -> None:
    """A running one; :class:`AlreadyExists` where one runs."""
    await session.execute("key_rotation_insert", rotation_id, term, reason, started_by)


async def hold(session: Session, rotation_id: UUID, place: Place) -> RotationRow | None:
    """The rotation, locked, where it runs and its pass is at ``place``; None else, and where another process has it locked."""
    row = await session.fetchrow("key_rotation_hold", rotation_id, *place)
    return RotationRow(**dict(row)) if row else None


async def begin_pass(session: Session, rotation_id: UUID) -> None:
    """From the first table on again."""
    await session.execute("key_rotation_begin_pass", rotation_id)


async def finish(session: Session, rotation_id: UUID, unreadable: int) -> None:
    """It is over; ``unreadable`` rows stay under their old terms, because they do not open."""
    await session.execute("key_rotation_finish", rotation_id, unreadable)
