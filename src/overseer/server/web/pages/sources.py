"""Where one secret's value comes from: tied to a reference of a backend, asked anew, untied. No value is in any of it."""

from __future__ import annotations

from uuid import UUID

from overseer.core.errors import OverseerError
from overseer.core.permissions import Permission
from overseer.server.web.attempts import attempt, problems_of
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.pages.backends import STAGES, backend_names
from overseer.server.web.visit import Visit
from overseer.wire.backends import SecretSource, SourceView


@page("GET", "/secrets/{secret_id}/source", permission=Permission.SECRET_LIST)
async def show_source(visit: Visit, secret_id: UUID) -> Answer:
    return await _shown(visit, secret_id)


@page("POST", "/secrets/{secret_id}/source", permission=Permission.SECRET_WRITE)
async def tie_secret(visit: Visit, secret_id: UUID) -> Answer:
    form = visit.form

    async def tie() -> Answer:
        source = SecretSource(
            backend=form.text("backend"),
            ref=form.text("ref"),
            field=form.text("field"),
            mode="sync" if form.text("mode") == "sync" else "pull",
        )
        await visit.services.sourcing.set_source(visit.caller, secret_id, source, form.optional("etag"))
        return Redirect(f"/secrets/{secret_id}/source?done={'asked' if form.checked('again') else 'tied'}")

    return await attempt(tie, lambda error: _shown(visit, secret_id, error))


@page("POST", "/secrets/{secret_id}/source/remove", permission=Permission.SECRET_WRITE)
async def untie_secret(visit: Visit, secret_id: UUID) -> Answer:
    async def untie() -> Answer:
        await visit.services.sourcing.remove_source(visit.caller, secret_id, visit.form.optional("etag"))
        return Redirect(f"/secrets/{secret_id}/source?done=untied")

    return await attempt(untie, lambda error: _shown(visit, secret_id, error))


async def _shown(visit: Visit, secret_id: UUID, error: OverseerError | None = None) -> Answer:
    tagged = await visit.services.secrets.get(visit.caller, secret_id)
    source: SourceView | None = None
    if tagged.view.source is not None:
        source = await visit.services.sourcing.get_source(visit.caller, secret_id)
    given = {name: visit.form.get(name, getattr(source, name, "")) for name in ("backend", "ref", "field", "mode")}
    content = {
        "secret": tagged.view,
        "etag": tagged.etag,
        "source": source,
        "given": given,
        "names": await backend_names(visit) if visit.may(Permission.SECRET_WRITE) else (),
        "stages": STAGES,
        "error": error,
        "problems": problems_of(error),
        "done": visit.query.text("done"),
    }
    return View("secrets/source.html", content, status=error.status if error else 200)
