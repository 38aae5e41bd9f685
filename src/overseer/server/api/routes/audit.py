"""The audit log as a list."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import AuditQuery
from overseer.server.api.route import route
from overseer.wire.audit import AuditView
from overseer.wire.messages import Page


@route(
    "GET",
    "/api/audit",
    permission=Permission.AUDIT_READ,
    summary="List audit rows, newest first",
    query=AuditQuery,
    returns=Page[AuditView],
)
async def list_audit(call: Call[None, AuditQuery]) -> Page[AuditView]:
    q = call.query
    return await call.services.audit.list(
        call.caller,
        actor=q.actor,
        action=q.action,
        outcome=q.outcome,
        request_id=q.request_id,
        resource=q.resource,
        app=q.app,
        since=q.since,
        until=q.until,
        cursor=q.cursor,
        limit=q.limit,
    )
