"""Emergency bindings of the visitor's own: woken with a reason, which raises an alarm, and ended before their time."""

from __future__ import annotations

from uuid import UUID

from overseer.core.errors import OverseerError
from overseer.server.api.route import AnyIdentity
from overseer.server.web.attempts import attempt
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.visit import Visit, emergencies
from overseer.wire.access import BindingActivate

_OWN = AnyIdentity("everybody sees their own emergency bindings; only who holds one can activate it, and needs no other right")


@page("GET", "/emergencies", permission=_OWN)
async def list_emergencies(visit: Visit) -> Answer:
    return _shown(visit, None)


@page("POST", "/emergencies/{binding_id}/activate", permission=_OWN)
async def activate_emergency(visit: Visit, binding_id: UUID) -> Answer:
    async def activate() -> Answer:
        body = BindingActivate(reason=visit.form.text("reason"))
        await visit.services.identity.activate_binding(visit.caller, binding_id, body)
        return Redirect("/emergencies?done=activated")

    return await attempt(activate, lambda error: _again(visit, error))


@page("POST", "/emergencies/{binding_id}/end", permission=_OWN)
async def end_emergency(visit: Visit, binding_id: UUID) -> Answer:
    async def end() -> Answer:
        await visit.services.identity.deactivate_binding(visit.caller, binding_id)
        return Redirect("/emergencies?done=ended")

    return await attempt(end, lambda error: _again(visit, error))


async def _again(visit: Visit, error: OverseerError) -> Answer:
    return _shown(visit, error)


def _shown(visit: Visit, error: OverseerError | None) -> View:
    content = {"own": emergencies(visit), "error": error, "done": visit.query.text("done")}
    return View("access/emergencies.html", content, status=error.status if error else 200)
