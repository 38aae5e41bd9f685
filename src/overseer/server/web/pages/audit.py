"""The audit log as a page: filters, one row after the other, whether the log is whole, and what matches as a file."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from overseer.core.audit_events import AuditAction
from overseer.core.audit_filter import AuditFilter
from overseer.core.errors import InvalidInput, OverseerError, Problem
from overseer.core.permissions import Permission
from overseer.server.web.forms import Form
from overseer.server.web.page import Answer, Download, View, page
from overseer.server.web.visit import Visit

ROWS: Final = 100
OUTCOMES: Final = ("allowed", "denied", "failed")
MAX_EXPORT: Final = 20_000
_STEPS: Final = 50
_TEXTS: Final = (
    "actor", "on_behalf_of", "action", "outcome", "code", "request_id", "resource_kind", "resource",
    "app", "environment", "node", "peer", "text",
)  # fmt: skip
_MORE: Final = ("on_behalf_of", "code", "resource_kind", "environment", "node", "peer")


@page("GET", "/audit", permission=Permission.AUDIT_READ)
async def explore_audit(visit: Visit) -> Answer:
    query = visit.query
    error: OverseerError | None = None
    found = None
    try:
        found = await visit.services.audit.list(
            visit.caller, _filters(query), cursor=query.optional("cursor"), limit=ROWS
        )
    except InvalidInput as refused:
        error = refused
    content: dict[str, Any] = {
        "found": found,
        "error": error,
        "wanted": {name: query.text(name) for name in (*_TEXTS, "resource_id", "since", "until")},
        "actions": sorted(AuditAction),
        "outcomes": OUTCOMES,
        "more_filters": _MORE,
    }
    if not visit.fragment:
        content["integrity"] = await visit.services.audit_log.integrity(visit.caller)
    template = "audit/rows.html" if visit.fragment else "audit/explore.html"
    return View(template, content, status=422 if error and not visit.fragment else 200, fragment=visit.fragment)


@page("POST", "/audit/export", permission=Permission.AUDIT_READ)
async def export_audit(visit: Visit) -> Answer:
    """What matches, as CSV. Raises :class:`InvalidInput` where it is too much for a page."""
    filters = _filters(visit.form)
    parts: list[str] = []
    rows, cursor = 0, None
    for _ in range(_STEPS):
        part = await visit.services.audit.export(visit.caller, "csv", filters, cursor=cursor)
        parts.append(part.text)
        rows, cursor = rows + part.rows, part.next_cursor
        if cursor is None and rows <= MAX_EXPORT:
            return Download("audit.csv", "text/csv; charset=utf-8", "".join(parts).encode())
        if rows > MAX_EXPORT:
            break
    raise InvalidInput("this is too much for a page: narrow the time, or use `overseer audit export --format csv`")


def _filters(query: Form) -> AuditFilter:
    filters: dict[str, Any] = {name: query.optional(name) for name in _TEXTS}
    filters |= {"since": query.moment("since"), "until": query.moment("until")}
    if (text := query.optional("resource_id")) is not None:
        try:
            filters["resource_id"] = UUID(text)
        except ValueError:
            rule = "is an id such as those in addresses of pages"
            raise InvalidInput(f"resource_id {rule}", problems=[Problem("resource_id", rule, "bad_id")]) from None
    return AuditFilter(**filters)
