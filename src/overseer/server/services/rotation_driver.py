"""Rotations on their way: what is due begins, what has begun goes on, what fails is tried again and told. A job of the leader.

Guarantees: a run is worked on under a lease of two minutes; the lock that takes it ends with that transaction, so none is
held while a source is called; times that were missed come to one run; a failing step is tried again after 10 seconds and then
twice as long each time, up to a quarter of an hour. A run begins, and goes on, only while those who set it up
still may (``rotation_rights``). After six failures a run that has not given the new credential out goes back; one that has is
tried for ever, for there is no way but forward. Either is an alarm (``alarm:rotation_failed``).
"""

from __future__ import annotations

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from cronsim import CronSimError

from overseer.core.audit_events import AuditAction, AuditEvent
from overseer.core.errors import InvalidInput, OverseerError
from overseer.core.identifiers import new_id
from overseer.core.rotation_policy import RotationPolicy
from overseer.server.services.gate import Gate
from overseer.server.services.rotation_events import run_event
from overseer.server.services.rotation_rights import refused_now
from overseer.server.services.rotation_steps import Held, LeaseLost, RotationSteps
from overseer.server.services.rotation_times import next_time
from overseer.server.storage import secret_rotation_rows as rows
from overseer.server.storage import secret_rows
from overseer.server.storage.database import Session

LEASE: Final = timedelta(minutes=2)
AT_ONCE: Final = 4
MOST_STEPS: Final = 200
"""Of one worker in one round, so that a round ends."""
MOST_ATTEMPTS: Final = 6
LONGEST_PAUSE: Final = 900.0
_CHUNK: Final = 200
#: Until here nobody was given the new credential, so there is a way back.
_REVOCABLE: Final = frozenset({"prepared", "applied", "verified"})
_LOG: Final = logging.getLogger("overseer.server")


class RotationDriver:
    """See the module's text. ``pause``: seconds before a step that failed is tried again for the first time."""

    def __init__(self, gate: Gate, steps: RotationSteps, pause: float = 10.0) -> None:
        self._gate = gate
        self._steps = steps
        self._pause = pause

    async def run(self) -> None:
        """One round. Raises :class:`StoreUnavailable` and :class:`AuditUnavailable`."""
        await self._count()
        await self._notice()
        await self._begin()
        await asyncio.gather(*(self._work() for _ in range(AT_ONCE)))

    async def _count(self) -> None:
        """The next time of each secret whose schedule changed, by whatever way."""
        async with self._gate.own_work() as (session, events):
            now = await session.fetchval("database_clock")
            for one in await rows.unscheduled(session, _CHUNK):
                due_at = await _counted(session, events, one, one.latest_at, now)
                await rows.schedule(session, one.secret_id, one.policy, due_at)

    async def _notice(self) -> None:
        async with self._gate.own_work() as (session, events):
            for secret in await secret_rows.secrets_by_id(session, await rows.to_notice(session, _CHUNK)):
                events.append(run_event(AuditAction.ROTATION_DUE, secret, None, secret.active_version, ""))

    async def _begin(self) -> None:
        async with self._gate.own_work() as (session, events):
            now = await session.fetchval("database_clock")
            for one in await rows.due(session, _CHUNK):
                await rows.set_due(session, one.secret_id, await _counted(session, events, one, now, now))
                await rows.insert_run(session, new_id(now), one.secret_id, "schedule", one.rotator, one.set_by)

    async def _work(self) -> None:
        for _ in range(MOST_STEPS):
            lease = uuid4()
            async with self._gate.own_work() as (session, _):
                run = await rows.claim_run(session, lease, LEASE)
            if run is None:
                return
            if run.state == "waiting" and await self._stopped(Held(run, lease)):
                continue
            await self._carry(Held(run, lease))

    async def _stopped(self, held: Held) -> bool:
        """Whether the run ended before it began: somebody who stands for it may not any more."""
        run = held.run
        async with self._gate.own_work() as (session, events):
            secret = await secret_rows.secret_by_id(session, run.secret_id)
            if secret is None:
                return False
            if not await rows.lease_held(session, run.id, held.lease):
                return False
            error = await refused_now(session, events, secret, run)
            if error:
                await rows.move_run(session, run.id, "failed", error=error, ends=True)
            return bool(error)

    async def _carry(self, held: Held) -> None:
        """Step after step, until the run waits, ends or fails."""
        going: Held | None = held
        try:
            while going is not None:
                held = going
                going = await self._steps.go_on(held)
        except LeaseLost:
            return
        except OverseerError as error:
            _LOG.warning("rotation %s failed at %s: %s", held.run.id, held.run.state, error.code)
            await self._failed(held, error)
        except Exception as error:  # noqa: BLE001  # a defect in one rotation must not end the others
            _LOG.error("rotation %s failed at %s: %s", held.run.id, held.run.state, type(error).__name__)
            await self._failed(held, OverseerError("internal error"))

    async def _failed(self, held: Held, error: OverseerError) -> None:
        run, again = held.run, held.run.attempts + 1
        hopeless = isinstance(error, InvalidInput) or again >= MOST_ATTEMPTS
        async with self._gate.own_work() as (session, events):
            if not await rows.lease_held(session, run.id, held.lease):
                return
            if hopeless and run.state in _REVOCABLE:
                await rows.move_run(session, run.id, "reverting", error=error.message, wait=0.01)
                return
            if hopeless and run.state == "waiting":
                await rows.move_run(session, run.id, "failed", error=error.message, ends=True)
            else:
                pause = min(self._pause * 2.0 ** min(run.attempts, 20), LONGEST_PAUSE)
                await rows.try_later(session, run.id, pause, error.message)
            secret = await secret_rows.secret_by_id(session, run.secret_id)
            if secret is not None and (again == MOST_ATTEMPTS or (hopeless and run.state == "waiting")):
                events.append(run_event(AuditAction.ALARM_ROTATION_FAILED, secret, run, run.candidate_version, run.state))


async def _counted(
    session: Session, events: list[AuditEvent], one: rows.Unscheduled | rows.Due, latest: datetime, now: datetime
) -> datetime | None:
    """The next time of one secret. A schedule that cannot be counted is an alarm of that secret, and stops no other."""
    if one.policy is None:
        return None
    try:
        return next_time(RotationPolicy.parse(one.policy), latest, now)
    except (OverseerError, ValueError, OverflowError, CronSimError) as error:
        _LOG.error("the schedule of secret %s cannot be counted: %s", one.secret_id, type(error).__name__)
        secret = await secret_rows.secret_by_id(session, one.secret_id)
        if secret is not None:
            events.append(run_event(AuditAction.ALARM_ROTATION_FAILED, secret, None, secret.active_version, "schedule"))
        return None
