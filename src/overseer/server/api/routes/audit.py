"""The audit log as a list, as text, and the erasing of free text."""

from __future__ import annotations

from overseer.core.audit_filter import AuditFilter
from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import AuditExportQuery, AuditQuery
from overseer.server.api.route import route
from overseer.wire.audit import AuditErase, AuditErased, AuditExport, AuditView
from overseer.wire.messages import Page


@route(
    "GET",
    "/api/audit",
    permission=Permission.AUDIT_READ,
    summary="List audit rows, newest first; a page with a next_cursor may hold few rows or none, the search goes on there",
    query=AuditQuery,
    returns=Page[AuditView],
)
async def list_audit(call: Call[None, AuditQuery]) -> Page[AuditView]:
    return await call.services.audit.list(call.caller, _wanted(call.query), cursor=call.query.cursor, limit=call.query.limit)


@route(
    "GET",
    "/api/audit/export",
    permission=Permission.AUDIT_READ,
    summary="Export matching audit rows as text (JSON Lines or CSV), newest first, part by part",
    query=AuditExportQuery,
    returns=AuditExport,
)
async def export_audit(call: Call[None, AuditExportQuery]) -> AuditExport:
    q = call.query
    return await call.services.audit.export(call.caller, q.format, _wanted(q), cursor=q.cursor, limit=q.limit)


@route(
    "POST",
    "/api/audit/erase-text",
    permission=Permission.AUDIT_ERASE,
    summary="Erase free text (reasons, user agents) beside the rows of a principal, or beside one row; the rows stay",
    body=AuditErase,
    returns=AuditErased,
)
async def erase_audit_text(call: Call[AuditErase, None]) -> AuditErased:
    return await call.services.audit.erase_texts(call.caller, call.body)


def _wanted(query: AuditQuery) -> AuditFilter:
    return AuditFilter(**{name: getattr(query, name) for name in AuditFilter.__slots__ if name != "action_prefix"})
