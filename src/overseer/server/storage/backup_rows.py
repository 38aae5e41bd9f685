"""The rows of ``backup_run``: what was asked for, what runs, what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class BackupRun:
    """One backup. ``target`` is '' for a file named on the server's machine; ``error`` is code and text of a failure."""

    id: UUID
    target: str
    reason: str
    state: str
    file: str
    size: int | None
    rows: int | None
    log_size: int | None
    error: str
    asked_by: str | None
    asked_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    removed_at: datetime | None


@dataclass(frozen=True, slots=True)
class BackupState:
    """How backups stand. ``last_state`` is succeeded, failed or None; ``held`` as :func:`schedules_held`."""

    succeeded_at: datetime | None
    size: int | None
    failures: int
    last_state: str | None
    held: bool
    now: datetime


async def ask_for_backup(session: Session, run_id: UUID, target: str, reason: str, asked_by: UUID | None) -> None:
    """A waiting row. :class:`AlreadyExists` where one of the target waits or runs."""
    await session.execute("backup_run_insert", run_id, target, reason, asked_by)


async def backup_is_open(session: Session, target: str) -> bool:
    """Whether one of the target waits or runs."""
    return await session.fetchval("backup_run_open", target) is not None


async def record_local(
    session: Session, run_id: UUID, file: str, size: int, rows: int, log_size: int, started_at: datetime
) -> None:
    """A backup that was made by the command line."""
    await session.execute("backup_run_insert_local", run_id, file, size, rows, log_size, started_at)


@dataclass(frozen=True, slots=True)
class Taken:
    """A backup that runs from now on; ``asked_by`` None where the schedule is followed, or who asked was deleted."""

    id: UUID
    target: str
    reason: str
    asked_by: UUID | None


async def take_backup(session: Session) -> Taken | None:
    """The oldest waiting one."""
    row = await session.fetchrow("backup_run_take")
    return Taken(**dict(row)) if row else None


async def end_left_over(session: Session) -> list[tuple[UUID, str]]:
    """Running rows that nobody runs: failed from now on."""
    return [(row["id"], row["target"]) for row in await session.fetch("backup_runs_left_over")]


async def succeed(session: Session, run_id: UUID, file: str, size: int, rows: int, log_size: int) -> None:
    """It is there."""
    await session.execute("backup_run_succeed", run_id, file, size, rows, log_size)


async def fail(session: Session, run_id: UUID, error: str) -> None:
    """It is not."""
    await session.execute("backup_run_fail", run_id, error)


async def backup_page(session: Session, before: UUID | None, limit: int, run_id: UUID | None = None) -> list[BackupRun]:
    """Newest first."""
    return [_run(row) for row in await session.fetch("backup_run_page", before, run_id, limit)]


@dataclass(frozen=True, slots=True)
class Kept:
    """A backup whose file is there."""

    id: UUID
    file: str
    finished_at: datetime
    reason: str


async def kept_backups(session: Session, target: str) -> list[Kept]:
    """Those of this incarnation whose files are there, newest first."""
    return [Kept(**dict(row)) for row in await session.fetch("backup_runs_kept", target)]


async def mark_removed(session: Session, run_id: UUID) -> None:
    """Its file went."""
    await session.execute("backup_run_removed", run_id)


async def last_scheduled(session: Session, target: str) -> datetime | None:
    """When the schedule was last followed for a target."""
    found: datetime | None = await session.fetchval("backup_run_last", target)
    return found


async def schedules_held(session: Session) -> bool:
    """Whether this is a restored or copied instance of which nobody has said yet that it takes the other's place."""
    return bool(await session.fetchval("backup_schedules_held"))


async def resume_schedules(session: Session) -> None:
    """Follow the schedules from now on, in this incarnation of the log."""
    await session.execute("backup_resume")


async def take_over_backups(session: Session) -> int:
    """Let this incarnation's retention remove what earlier ones made; how many backups that are."""
    return await session.execute("backup_take_over")


async def backup_state(session: Session) -> BackupState:
    """For doctor and metrics."""
    row = await session.fetchrow("backup_state")
    assert row is not None  # noqa: S101  # a query of aggregates
    return BackupState(**dict(row))


def _run(row: Any) -> BackupRun:
    names = BackupRun.__dataclass_fields__
    return BackupRun(**{name: row["asked_by_name" if name == "asked_by" else name] for name in names})
