"""Backups: what the configuration says about them, what became of them, and one more now.

Verifying and restoring are the command line's: both need the identity that opens a backup, which is not on the server.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

from overseer.core.errors import Denied, OverseerError
from overseer.core.permissions import Permission
from overseer.server.web.attempts import attempt
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.visit import Visit
from overseer.wire.backups import BackupCreate, BackupTargetView, BackupView

FOLLOWED: Final = timedelta(minutes=5)


@page("GET", "/backups", permission=Permission.BACKUP_LIST)
async def list_backups(visit: Visit) -> Answer:
    return await _shown(visit)


@page("POST", "/backups", permission=Permission.BACKUP_CREATE)
async def create_backup(visit: Visit) -> Answer:
    async def create() -> Answer:
        made = await visit.services.backups.create_backup(visit.caller, BackupCreate(target=visit.form.text("target")))
        return Redirect(f"/backups/{made.id}" if visit.may(Permission.BACKUP_LIST) else "/")

    async def again(error: OverseerError) -> Answer:
        if not visit.may(Permission.BACKUP_LIST):
            raise error
        return await _shown(visit, error)

    return await attempt(create, again)


@page("GET", "/backups/{backup_id}", permission=Permission.BACKUP_LIST)
async def show_backup(visit: Visit, backup_id: UUID) -> Answer:
    backup = await visit.services.backups.get_backup(visit.caller, backup_id)
    targets = {one.name: one for one in (await visit.services.backups.list_targets(visit.caller)).items}
    target = targets.get(backup.target)
    content = {"backup": backup, "where": where(backup, target), "target": target, "follows": _is_young(backup)}
    template = "backups/state.html" if visit.fragment else "backups/show.html"
    return View(template, content, fragment=visit.fragment)


def where(backup: BackupView, target: BackupTargetView | None) -> str:
    """The whole name of its file, as a command takes it: ``overseer backup verify`` asks for nothing else."""
    if target is None or not backup.file:
        return backup.file
    return f"{target.to.rstrip('/')}/{backup.file}"


def _is_young(backup: BackupView) -> bool:
    """Whether the page asks for it again by itself: each look is audited."""
    return backup.finished_at is None and datetime.now(UTC) - backup.asked_at < FOLLOWED


def kept_text(target: BackupTargetView) -> str:
    """How many of a target's backups stay, in words."""
    numbers = (
        (target.keep_last, "the last {}"),
        (target.keep_daily, "one a day for {} days"),
        (target.keep_weekly, "one a week for {} weeks"),
    )
    return ", ".join(words.format(number) for number, words in numbers if number) or "all of them"


async def _shown(visit: Visit, error: OverseerError | None = None) -> Answer:
    backups, caller = visit.services.backups, visit.caller
    found = await backups.list_backups(caller, cursor=visit.query.optional("cursor"))
    targets: list[BackupTargetView] = []
    with suppress(Denied):
        targets = (await backups.list_targets(caller)).items
    newest = {one.target: one for one in reversed(found.items) if one.state == "succeeded" and one.removed_at is None}
    content = {"found": found, "targets": targets, "newest": newest, "kept": kept_text, "error": error}
    return View("backups/list.html", content, status=error.status if error else 200)
