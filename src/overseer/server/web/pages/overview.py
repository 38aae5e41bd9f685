"""The first page after signing in: what there is, and what wants attention."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from overseer.core.audit_filter import AuditFilter
from overseer.core.errors import Denied, OverseerError
from overseer.core.permissions import Permission
from overseer.server.api.route import AnyIdentity
from overseer.server.web.page import Answer, View, page
from overseer.server.web.visit import Visit


@page("GET", "/", permission=AnyIdentity("it shows only what its visitor's own permissions show"))
async def overview(visit: Visit) -> Answer:
    services, caller = visit.services, visit.caller
    content: dict[str, Any] = {"secrets": None, "stale": None, "drift": None, "nodes": None, "denials": None, "rollouts": None}
    with suppress(Denied):
        if visit.may(Permission.SECRET_LIST):
            content["secrets"] = await services.secrets.list(caller, limit=8)
            content["stale"] = await services.usage.report(caller, "stale", limit=8)
    with suppress(Denied):
        if visit.may(Permission.DEPLOYMENT_LIST):
            content["drift"] = await services.drift.drift(caller)
    with suppress(Denied):
        if visit.may(Permission.NODE_LIST):
            content["nodes"] = await services.nodes.list_nodes(caller)
    with suppress(OverseerError):
        if visit.may(Permission.AUDIT_READ):
            content["denials"] = await services.audit.list(caller, AuditFilter(outcome="denied"), limit=8)
    return View("overview.html", content)
