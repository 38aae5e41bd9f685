"""When secrets are due for rotation, and runs of rotations, as rows. No row holds a value or a credential."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class Unscheduled:
    """A secret whose next time has to be counted; ``policy`` None: it has no policy any more."""

    secret_id: UUID
    policy: dict[str, Any] | None
    latest_at: datetime


@dataclass(frozen=True, slots=True)
class Due:
    """A secret that is due; ``set_by`` set the rotator up."""

    secret_id: UUID
    policy: dict[str, Any] | None
    rotator: dict[str, Any] | None
    set_by: UUID | None


@dataclass(frozen=True, slots=True)
class RotationRow:
    """How a secret is rotated; ``due_at`` None: only on request. ``set_by`` stands for the rotator, ``policy_by`` for the
    schedule (names None: deleted). ``stopped`` is the word why it did not go on the last time."""

    secret_id: UUID
    due_at: datetime | None
    paused: bool
    rotator: dict[str, Any] | None
    set_by: UUID | None
    setter: str | None
    policy_by: UUID | None
    policy_setter: str | None
    stopped: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """``state`` is the last step that is known to be done; ``touched``: the source was called: it may know the new one."""

    id: UUID
    secret_id: UUID
    cause: str
    rotator: dict[str, Any] | None
    state: str
    previous_version: int | None
    candidate_version: int | None
    rollout_id: UUID | None
    attempts: int
    error: str
    created_by: UUID | None
    creator: str | None
    created_at: datetime
    finished_at: datetime | None
    touched: bool


async def unscheduled(session: Session, limit: int, secret_id: UUID | None = None) -> list[Unscheduled]:
    """Secrets whose schedule changed since their next time was counted; of ``secret_id`` only where it is given."""
    rows = await session.fetch("rotation_unscheduled", limit, secret_id)
    return [Unscheduled(row["id"], _read(row["policy"]), row["latest_at"]) for row in rows]


async def schedule(session: Session, secret_id: UUID, policy: Mapping[str, Any] | None, due_at: datetime | None) -> None:
    """The next time of a secret by a policy."""
    await session.execute("rotation_schedule", secret_id, _json(policy), due_at)


async def to_notice(session: Session, limit: int) -> list[UUID]:
    """Secrets that are due soon, as their policy counts soon; they are noted as told."""
    found = [row["secret_id"] for row in await session.fetch("rotation_to_notice", limit)]
    if found:
        await session.execute("rotation_noticed", found)
    return found


async def due(session: Session, limit: int) -> list[Due]:
    """What is due and not on its way, locked; what somebody else has locked is left out."""
    rows = await session.fetch("rotation_due", limit)
    return [Due(row["secret_id"], _read(row["policy"]), _read(row["rotator"]), row["set_by"]) for row in rows]


async def set_due(session: Session, secret_id: UUID, due_at: datetime | None) -> None:
    """The time after this one."""
    await session.execute("rotation_due_next", secret_id, due_at)


async def set_rotation(
    session: Session, secret_id: UUID, rotator: Mapping[str, Any] | None, paused: bool, set_by: UUID
) -> None:
    """Who changes the credential at its source, and whether the schedule holds."""
    await session.execute("rotation_set", secret_id, _json(rotator), paused, set_by)


async def set_policy_by(session: Session, secret_id: UUID, principal_id: UUID) -> None:
    """Who stands for the schedule from now on."""
    await session.execute("rotation_policy_by", secret_id, principal_id)


async def note_stopped(session: Session, secret_id: UUID, code: str) -> None:
    """Why it did not go on, '' where it did."""
    await session.execute("rotation_stopped", secret_id, code)


async def pause(session: Session, secret_id: UUID, paused: bool) -> None:
    """Hold the schedule, or let it go on."""
    await session.execute("rotation_pause", secret_id, paused)


async def rotation_of(session: Session, secret_id: UUID) -> RotationRow | None:
    """How a secret is rotated, None where nothing was ever set."""
    row = await session.fetchrow("rotation_of", secret_id)
    return RotationRow(**{**dict(row), "rotator": _read(row["rotator"])}) if row else None


async def rotation_page(session: Session, after: UUID | None, limit: int) -> list[RotationRow]:
    """Secrets with a schedule or a rotator, by id."""
    rows = await session.fetch("rotation_page", after, limit)
    return [RotationRow(**{**dict(row), "rotator": _read(row["rotator"])}) for row in rows]


async def insert_run(
    session: Session, run_id: UUID, secret_id: UUID, cause: str, rotator: Mapping[str, Any] | None, created_by: UUID | None
) -> None:
    """A new run; :class:`AlreadyExists` where one is on its way."""
    await session.execute("rotation_run_insert", run_id, secret_id, cause, _json(rotator), created_by)


async def claim_run(session: Session, lease: UUID, holds: timedelta) -> RunRow | None:
    """The next run that can go on, with a lease on it; None where there is none."""
    found = await session.fetchval("rotation_run_claim", lease, holds)
    return None if found is None else await run_by_id(session, found)


async def run_by_id(session: Session, run_id: UUID) -> RunRow | None:
    """A run by id."""
    row = await session.fetchrow("rotation_run_by_id", run_id)
    return _run(row) if row else None


async def run_page(session: Session, secret_id: UUID, before: UUID | None, limit: int) -> list[RunRow]:
    """Runs of a secret, newest first."""
    return [_run(row) for row in await session.fetch("rotation_run_page", secret_id, before, limit)]


async def newest_runs(session: Session, secret_ids: Sequence[UUID]) -> dict[UUID, RunRow]:
    """The newest run of each secret that has any."""
    return {row["secret_id"]: _run(row) for row in await session.fetch("rotation_run_newest", list(secret_ids))}


async def lease_held(session: Session, run_id: UUID, lease: UUID) -> bool:
    """Whether the run is still the holder's; nobody takes it over before the transaction ends."""
    return bool(await session.fetchval("rotation_run_held", run_id, lease))


async def move_run(
    session: Session,
    run_id: UUID,
    state: str,
    *,
    previous: int | None = None,
    candidate: int | None = None,
    rollout: UUID | None = None,
    wait: float = 0.0,
    error: str = "",
    ends: bool = False,
) -> None:
    """The next state; the caller has asked :func:`lease_held` in the same transaction."""
    await session.execute("rotation_run_move", run_id, state, previous, candidate, rollout, wait, error, ends)


async def try_later(session: Session, run_id: UUID, seconds: float, error: str | None) -> None:
    """Give the run back until then; ``error`` counts an attempt that failed, None is just a wait."""
    await session.execute("rotation_run_later", run_id, error or "", seconds, error is not None)


async def begin_call(session: Session, run_id: UUID, call: str) -> None:
    """The source is about to be called (``apply``, ``revert``, ``retire``); the next step, or a failure, ends it. The caller
    holds the lock of the secret."""
    await session.execute("rotation_run_calls", run_id, call)


async def calling(session: Session, secret_ids: Sequence[UUID]) -> set[UUID]:
    """Those whose run is calling the source. The caller holds their locks."""
    return {row["secret_id"] for row in await session.fetch("rotation_calling", list(secret_ids))}


async def release_run(session: Session, run_id: UUID, lease: UUID) -> None:
    """Give the run back at once."""
    await session.execute("rotation_run_release", run_id, lease)


def _run(row: Mapping[str, Any]) -> RunRow:
    return RunRow(**{**dict(row), "rotator": _read(row["rotator"])})


def _json(value: Mapping[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)
