"""Backups over the API: ask for one, see what became of them. Where they go and who can open them is the configuration's.

Whoever may ask gets nothing of the content: the file goes to a place that the operator chose, for recipients that the operator
chose. The work is the leader's (``backup_schedule``).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.backup_settings import BackupTarget
from overseer.server.services.cursors import check_limit, read_id_cursor, write_cursor
from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.storage.backup_rows import BackupRun, ask_for_backup, backup_is_open, backup_page
from overseer.wire.backups import BackupCreate, BackupTargetView, BackupView
from overseer.wire.messages import Page


class BackupService:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper, targets: Mapping[str, BackupTarget]) -> None:
        self._gate = gate
        self._idempotency = idempotency
        self._targets = targets

    async def create_backup(self, caller: Caller, body: BackupCreate, idempotency: Idempotency | None = None) -> BackupView:
        """Ask the leader for a backup to a target. Needs ``backup:create``. :class:`Conflict` while one of it waits or runs."""
        async with self._gate.enter(caller, AuditAction.BACKUP_CREATE) as entry:
            entry.authorise(Permission.BACKUP_CREATE, Resource("backup", body.target))
            first = await self._idempotency.first_result(entry, idempotency)
            run_id = first.resource_id if first else new_id(entry.now)
            if first is None:
                if body.target not in self._targets:
                    entry.hide("backup target")
                if await backup_is_open(entry.session, body.target):
                    raise Conflict("a backup to this target is under way: see GET /api/backups")
                await ask_for_backup(entry.session, run_id, body.target, "asked", entry.actor.id)
                await self._idempotency.remember(entry, idempotency, status=202, resource_id=run_id)
            found = await backup_page(entry.session, None, 1, run_id)
            if not found:
                raise Conflict("the backup that this idempotency key asked for is not known any more")
        return backup_view(found[0])

    async def list_targets(self, caller: Caller) -> Page[BackupTargetView]:
        """The targets of this server's configuration, by name. Needs ``backup:list``."""
        async with self._gate.enter(caller, AuditAction.BACKUP_LIST) as entry:
            entry.authorise(Permission.BACKUP_LIST, Resource("backup"))
            views = [target_view(name, target, entry.now) for name, target in sorted(self._targets.items())]
        return Page(items=views, next_cursor=None)

    async def list_backups(self, caller: Caller, *, cursor: str | None = None, limit: int = 50) -> Page[BackupView]:
        """Newest first; ``limit`` 1 to 500. Needs ``backup:list``."""
        async with self._gate.enter(caller, AuditAction.BACKUP_LIST) as entry:
            entry.authorise(Permission.BACKUP_LIST, Resource("backup"))
            check_limit(limit)
            before = None if cursor is None else read_id_cursor(cursor)
            rows = await backup_page(entry.session, before, limit + 1)
        following = write_cursor(str(rows[limit - 1].id)) if len(rows) > limit else None
        return Page(items=[backup_view(one) for one in rows[:limit]], next_cursor=following)

    async def get_backup(self, caller: Caller, backup_id: UUID) -> BackupView:
        """One of them. Needs ``backup:list``."""
        async with self._gate.enter(caller, AuditAction.BACKUP_LIST) as entry:
            entry.authorise(Permission.BACKUP_LIST, Resource("backup", id=backup_id))
            found = await backup_page(entry.session, None, 1, backup_id)
            if not found:
                entry.hide("backup")
        return backup_view(found[0])


def target_view(name: str, target: BackupTarget, now: datetime) -> BackupTargetView:
    """The table as people see it."""
    return BackupTargetView(
        name=name,
        to=target.to,
        recipients=list(target.recipients),
        schedule=target.schedule,
        next_at=target.due_after(now),
        keep_last=target.keep_last,
        keep_daily=target.keep_daily,
        keep_weekly=target.keep_weekly,
    )


def backup_view(row: BackupRun) -> BackupView:
    """The row as people see it."""
    names = BackupView.__struct_fields__
    return BackupView(**{name: getattr(row, name) for name in names if name != "id"}, id=str(row.id))
