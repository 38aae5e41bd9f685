"""Imports, their undo, and exports."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import PageQuery
from overseer.server.api.route import LARGE_BODY, route
from overseer.server.api.value_answers import export_answer
from overseer.wire.imports import (
    ExportAnswer,
    ExportRequest,
    ImportAnswer,
    ImportRequest,
    ImportUndo,
    ImportUndone,
    ImportView,
    LiveImportRequest,
)
from overseer.wire.messages import Page


@route(
    "POST",
    "/api/import",
    permission=Permission.SECRET_WRITE,
    summary="Import up to 5,000 secrets into one scope, all or nothing; a dry run says what would be done",
    body=ImportRequest,
    returns=ImportAnswer,
    body_limit=LARGE_BODY,
)
async def import_secrets(call: Call[ImportRequest, None]) -> ImportAnswer:
    return await call.services.imports.import_secrets(call.caller, call.body, call.idempotency)


@route(
    "POST",
    "/api/import/backend",
    permission=Permission.BACKEND_USE,
    summary="Import what is below a folder of a backend into one scope, all or nothing; needs secret:write for each as well",
    body=LiveImportRequest,
    returns=ImportAnswer,
    body_limit=LARGE_BODY,
)
async def import_from_backend(call: Call[LiveImportRequest, None]) -> ImportAnswer:
    return await call.services.live_imports.import_from_backend(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/imports",
    permission=Permission.SECRET_LIST,
    summary="List imports: your own, and those of which you may list every secret",
    query=PageQuery,
    returns=Page[ImportView],
)
async def list_imports(call: Call[None, PageQuery]) -> Page[ImportView]:
    return await call.services.imports.list(call.caller, call.query.cursor, call.query.limit)


@route(
    "GET",
    "/api/imports/{import_id}",
    permission=Permission.SECRET_LIST,
    summary="Show an import, and what an undo would take back",
    returns=ImportView,
)
async def get_import(call: Call[None, None], import_id: UUID) -> ImportView:
    return await call.services.imports.get(call.caller, import_id)


@route(
    "POST",
    "/api/imports/{import_id}/undo",
    permission=Permission.SECRET_ACTIVATE,
    summary="Undo an import where nothing changed since; what it made needs secret:delete",
    body=ImportUndo,
    returns=ImportUndone,
)
async def undo_import(call: Call[ImportUndo, None], import_id: UUID) -> ImportUndone:
    return await call.services.imports.undo(call.caller, import_id, call.body)


@route(
    "POST",
    "/api/export",
    permission=Permission.SECRET_REVEAL,
    summary="Export the secrets of one scope as a file, encrypted for age recipients; plain text needs secret:export",
    body=ExportRequest,
    returns=ExportAnswer,
)
async def export_secrets(call: Call[ExportRequest, None]) -> ExportAnswer:
    return export_answer(await call.services.exports.export(call.caller, call.body))
