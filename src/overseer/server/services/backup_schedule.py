"""The leader's job: backups that are due or were asked for, one after another, and the end of old ones.

Guarantees: a backup that was interrupted (a kill, a lost lock) is found, marked and alarmed by the next leader, and the schedule
goes on; a schedule that was missed while nobody led is followed once. Every failure is a row ``alarm:backup_failed``. Old files
are removed only after a new one is there, and only those that this incarnation of this instance made for this target, under the
names that it gave them; what was asked for displaces nothing of the schedule. An instance that was restored
or copied follows no schedule until somebody says that it takes the other's place (``overseer backup resume``): it may be a
drill, and the other one may run.

What it will not do: look whether a file still is where it was written, or open one (``overseer backup verify`` does).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.backup_retention import Retention
from overseer.core.errors import NotReady, OverseerError
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.server.backup_settings import BackupTarget
from overseer.server.services.backup_making import Made, file_name, is_named_so, make_backup
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.standing_rights import standing_refusal, stopped_events
from overseer.server.storage import backup_rows
from overseer.server.storage.backup_places import Place, make_place
from overseer.server.storage.backup_rows import Kept, Taken

REQUEST_ID: Final = "backup"
#: A place that does not answer so often in one round is away: each further file would wait as long.
MOST_AWAY: Final = 3
UNKNOWN_TARGET: Final = "unknown_target"
_LOG: Final = logging.getLogger("overseer.server")


class BackupSchedule:
    """See the module's text. ``url`` is the database's."""

    def __init__(self, gate: Gate, keys: KeyService, url: str, targets: Mapping[str, BackupTarget]) -> None:
        self._gate = gate
        self._keys = keys
        self._url = url
        self._targets = targets

    async def run(self) -> None:
        """One round. Raises :class:`StoreUnavailable` where the database cannot say what is to be done."""
        if self._keys.sealed:
            return
        await self._end_left_over()
        await self._follow_schedules()
        while True:
            async with self._gate.own_work() as (session, _):
                taken = await backup_rows.take_backup(session)
                now: datetime = await session.fetchval("database_clock")
            if taken is None:
                return
            if not await self._refused(taken):
                await self._make(taken.id, taken.target, now)

    async def _refused(self, taken: Taken) -> bool:
        """Whether whoever asked for it may not any more. A schedule is the configuration's."""
        if taken.reason != "asked":
            return False
        async with self._gate.own_work() as (session, events):
            wanted = [(Permission.BACKUP_CREATE, Resource("backup", taken.target))]
            code = await standing_refusal(session, taken.asked_by, wanted)
            if code:
                await backup_rows.fail(session, taken.id, code)
                denied = _event(AuditAction.BACKUP_CREATE, taken.id, taken.target, code)
                events.extend(stopped_events(denied, taken.asked_by, code, first=False))
        return bool(code)

    async def _end_left_over(self) -> None:
        async with self._gate.own_work() as (session, events):
            for run_id, target in await backup_rows.end_left_over(session):
                events.append(_event(AuditAction.ALARM_BACKUP_FAILED, run_id, target, "interrupted", failed=True))
                _LOG.error("the backup to %s was interrupted", target)

    async def _follow_schedules(self) -> None:
        async with self._gate.own_work() as (session, _):
            if await backup_rows.schedules_held(session):
                return
            now = await session.fetchval("database_clock")
            for name, target in self._targets.items():
                last = await backup_rows.last_scheduled(session, name)
                due = target.due_after(last or datetime.fromtimestamp(0, now.tzinfo))
                if due is not None and due <= now and not await backup_rows.backup_is_open(session, name):
                    await backup_rows.ask_for_backup(session, new_id(now), name, "schedule", None)

    async def _make(self, run_id: UUID, name: str, now: datetime) -> None:
        target = self._targets.get(name)
        if target is None:  # asked of a replica whose configuration has it
            await self._failed(run_id, name, UNKNOWN_TARGET)
            return
        place = make_place(target.to, target.region, target.endpoint)
        file = file_name(self._keys.instance_id, now, run_id)
        try:
            async with place.writing(file) as write:
                made = await make_backup(self._url, target.sealing_keys(), write, self._keys.keyring.signing_key)
        except OverseerError as error:
            _LOG.error("the backup to %s failed: %s", name, error.message)
            await self._failed(run_id, name, error.code, error.message)
            return
        except Exception as error:  # noqa: BLE001 - ours or a library's: the type says what can be said
            _LOG.error("the backup to %s failed", name, exc_info=True)
            await self._failed(run_id, name, type(error).__name__.lower())
            return
        await self._succeeded(run_id, name, file, made)
        await self._remove_old(name, target, place)

    async def _succeeded(self, run_id: UUID, name: str, file: str, made: Made) -> None:
        async with self._gate.own_work() as (session, events):
            await backup_rows.succeed(session, run_id, file, made.size, made.rows, made.log_size)
            events.append(_event(AuditAction.BACKUP_MADE, run_id, name, f"rows:{made.rows}"))
        _LOG.info("a backup of %d rows went to %s", made.rows, name)

    async def _failed(self, run_id: UUID, name: str, code: str, why: str = "") -> None:
        async with self._gate.own_work() as (session, events):
            await backup_rows.fail(session, run_id, f"{code}: {why}" if why else code)
            events.append(_event(AuditAction.ALARM_BACKUP_FAILED, run_id, name, code, failed=True))

    async def _remove_old(self, name: str, target: BackupTarget, place: Place) -> None:
        async with self._gate.own_work() as (session, _):
            found = await backup_rows.kept_backups(session, name)
        kept = [one for one in found if is_named_so(one.file, self._keys.instance_id, one.id)]
        if len(kept) < len(found):
            _LOG.error("%d backups of %s have other names in the database than they were given", len(found) - len(kept), name)
        away = 0
        for one in _gone(kept, target.retention):
            try:
                await place.remove(one.file)
            except OverseerError as error:
                _LOG.warning("an old backup of %s could not be removed: %s", name, error.message)
                away += isinstance(error, NotReady)
                if away == MOST_AWAY:
                    return
                continue
            async with self._gate.own_work() as (session, events):
                await backup_rows.mark_removed(session, one.id)
                events.append(_event(AuditAction.BACKUP_REMOVE, one.id, name, ""))


def _gone(kept: Sequence[Kept], retention: Retention) -> list[Kept]:
    """Those of the schedule and those that were asked for each on their own: who may ask for many displaces none but such."""
    gone: list[Kept] = []
    for asked in (False, True):
        mine = [one for one in kept if (one.reason == "asked") == asked]
        gone += [mine[index] for index in retention.to_remove([one.finished_at for one in mine])]
    return gone


def _event(action: AuditAction, run_id: UUID, target: str, code: str, *, failed: bool = False) -> AuditEvent:
    return AuditEvent(
        action,
        Outcome.FAILED if failed else Outcome.ALLOWED,
        request_id=REQUEST_ID,
        actor_name="server",
        actor_kind="server",
        resource_kind="backup",
        resource_id=run_id,
        resource_name=target,
        code=code,
        client="server",
    )
