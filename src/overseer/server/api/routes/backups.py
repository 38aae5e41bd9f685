"""Backups: ask for one, list them, show one."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import PageQuery
from overseer.server.api.route import route
from overseer.wire.backups import BackupCreate, BackupTargetView, BackupView
from overseer.wire.messages import Page


@route(
    "POST",
    "/api/backups",
    permission=Permission.BACKUP_CREATE,
    summary="Ask the server for a backup to a target of its configuration; GET shows how it ended. 409 while one is under way",
    body=BackupCreate,
    returns=BackupView,
    status=202,
)
async def create_backup(call: Call[BackupCreate, None]) -> BackupView:
    return await call.services.backups.create_backup(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/backups",
    permission=Permission.BACKUP_LIST,
    summary="List backups, newest first, with those that failed",
    query=PageQuery,
    returns=Page[BackupView],
)
async def list_backups(call: Call[None, PageQuery]) -> Page[BackupView]:
    return await call.services.backups.list_backups(call.caller, cursor=call.query.cursor, limit=call.query.limit)


@route(
    "GET",
    "/api/backup-targets",
    permission=Permission.BACKUP_LIST,
    summary="List where backups go, when they are made and how many stay, as the server's configuration says",
    returns=Page[BackupTargetView],
)
async def list_backup_targets(call: Call[None, None]) -> Page[BackupTargetView]:
    return await call.services.backups.list_targets(call.caller)


@route(
    "GET",
    "/api/backups/{backup_id}",
    permission=Permission.BACKUP_LIST,
    summary="Show a backup",
    returns=BackupView,
)
async def get_backup(call: Call[None, None], backup_id: UUID) -> BackupView:
    return await call.services.backups.get_backup(call.caller, backup_id)
