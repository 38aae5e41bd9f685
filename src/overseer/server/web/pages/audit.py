"""The audit log as a page: filters, one row after the other, and whether the log is whole."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, OverseerError, Problem
from overseer.core.permissions import Permission
from overseer.server.web.forms import Form
from overseer.server.web.page import Answer, View, page
from overseer.server.web.visit import Visit

ROWS: Final = 100
OUTCOMES: Final = ("allowed", "denied", "failed")
_TEXTS: Final = ("actor", "action", "outcome", "request_id", "resource", "app")


@page("GET", "/audit", permission=Permission.AUDIT_READ)
async def explore_audit(visit: Visit) -> Answer:
    query = visit.query
    error: OverseerError | None = None
    found = None
    try:
        found = await visit.services.audit.list(
            visit.caller, **_filters(query), cursor=query.optional("cursor"), limit=ROWS
        )
    except InvalidInput as refused:
        error = refused
    content: dict[str, Any] = {
        "found": found,
        "error": error,
        "wanted": {name: query.text(name) for name in (*_TEXTS, "resource_id", "since", "until")},
        "actions": sorted(AuditAction),
        "outcomes": OUTCOMES,
    }
    if not visit.fragment:
        content["integrity"] = await visit.services.audit_log.integrity(visit.caller)
    template = "audit/rows.html" if visit.fragment else "audit/explore.html"
    return View(template, content, status=422 if error and not visit.fragment else 200, fragment=visit.fragment)


def _filters(query: Form) -> dict[str, Any]:
    filters: dict[str, Any] = {name: query.optional(name) for name in _TEXTS}
    filters |= {"since": query.moment("since"), "until": query.moment("until")}
    if (text := query.optional("resource_id")) is not None:
        try:
            filters["resource_id"] = UUID(text)
        except ValueError:
            rule = "is an id such as those in addresses of pages"
            raise InvalidInput(f"resource_id {rule}", problems=[Problem("resource_id", rule, "bad_id")]) from None
    return filters
