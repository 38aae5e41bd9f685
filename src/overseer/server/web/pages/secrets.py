"""The pages of secrets: the list, one secret with what was done to it, and its changes.

No page holds a value. A reveal is a request of its own, made by a person's click, with its own audit row; its answer is a part of
the page that empties itself after half a minute and that the browser is told not to keep.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote
from uuid import UUID

from overseer.core.audit_events import AuditAction
from overseer.core.audit_filter import AuditFilter
from overseer.core.errors import ApprovalRequired, Denied, InvalidInput, OverseerError
from overseer.core.permissions import Permission
from overseer.core.scopes import PRECEDENCE
from overseer.server.api.route import LARGE_BODY
from overseer.server.api.value_answers import value_answer
from overseer.server.web.attempts import attempt
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.pages.rotations import schedule_text
from overseer.server.web.pages.secret_making import GENERATORS, given_labels, given_value
from overseer.server.web.places import Places, known_places
from overseer.server.web.visit import Visit
from overseer.wire.secrets import (
    SecretActivate,
    SecretPatch,
    SecretRotate,
    SecretUpdate,
    SecretView,
    ValueRequest,
)

PAGE_ROWS: Final = 50
AUDIT_ROWS: Final = 10
_AUDIT_LOOKED_AT: Final = 100
#: Looking at this very page leaves rows, too: they would hide what matters, and stand in the whole log.
_LOOKS: Final = frozenset(
    {AuditAction.SECRET_READ, AuditAction.SECRET_VERSIONS, AuditAction.SECRET_USAGE, AuditAction.ROTATION_LIST}
)
_FILTERS: Final = ("app", "environment", "node", "scope", "name", "label", "q")


@page("GET", "/secrets", permission=Permission.SECRET_LIST)
async def list_secrets(visit: Visit) -> Answer:
    wanted: dict[str, Any] = {name: visit.query.optional(name) for name in _FILTERS}
    error: OverseerError | None = None
    found = None
    try:
        found = await visit.services.secrets.list(
            visit.caller, **wanted, cursor=visit.query.optional("cursor"), limit=PAGE_ROWS
        )
    except InvalidInput as refused:
        error = refused
    template = "secrets/rows.html" if visit.fragment else "secrets/list.html"
    content = {
        "found": found,
        "wanted": wanted,
        "error": error,
        "scopes": PRECEDENCE,
        "places": Places() if visit.fragment else await known_places(visit),
        "filtered": any(wanted.values()),
    }
    return View(template, content, status=422 if error and not visit.fragment else 200, fragment=visit.fragment)


@page("GET", "/secrets/{secret_id}", permission=Permission.SECRET_LIST)
async def show_secret(visit: Visit, secret_id: UUID) -> Answer:
    return await _shown(visit, secret_id)


@page("POST", "/secrets/{secret_id}/reveal", permission=Permission.SECRET_REVEAL)
async def reveal_secret(visit: Visit, secret_id: UUID) -> Answer:
    body = ValueRequest(version=visit.form.number("version"), reason=visit.form.text("reason"))
    try:
        revealed = await visit.services.secrets.reveal(visit.caller, secret_id, body)
    except ApprovalRequired as error:
        content = {"action": "reveal", "secret_id": str(secret_id), "version": body.version, "error": error}
        return View("approvals/ask.html", content, status=200 if visit.fragment else error.status, fragment=True)
    answer = value_answer(revealed)
    return View("secrets/value.html", {"answer": answer, "wanted": body.version}, fragment=True)


@page("POST", "/secrets/{secret_id}/value", permission=Permission.SECRET_WRITE, body_limit=LARGE_BODY)
async def update_secret(visit: Visit, secret_id: UUID) -> Answer:
    form = visit.form

    async def change() -> str:
        body = SecretUpdate(**given_value(form), activate=form.checked("activate"), immediate=form.checked("immediate"))
        await visit.services.secrets.update(visit.caller, secret_id, body, form.optional("etag"))
        return "updated"

    return await _changed(visit, secret_id, change, ("activate", ""))


@page("POST", "/secrets/{secret_id}/rotate", permission=Permission.SECRET_ROTATE)
async def rotate_secret(visit: Visit, secret_id: UUID) -> Answer:
    async def change() -> str:
        body = SecretRotate(immediate=visit.form.checked("immediate"))
        await visit.services.secrets.rotate(visit.caller, secret_id, body, visit.form.optional("etag"))
        return "rotated"

    return await _changed(visit, secret_id, change, ("activate", ""))


@page("POST", "/secrets/{secret_id}/activate", permission=Permission.SECRET_ACTIVATE)
async def activate_version(visit: Visit, secret_id: UUID) -> Answer:
    async def change() -> str:
        body = SecretActivate(version=visit.form.number("version", 0) or 0)
        await visit.services.secrets.activate(visit.caller, secret_id, body, visit.form.optional("etag"))
        return "activated"

    return await _changed(visit, secret_id, change, ("activate", visit.form.text("version")))


@page("POST", "/secrets/{secret_id}/details", permission=Permission.SECRET_WRITE)
async def patch_secret(visit: Visit, secret_id: UUID) -> Answer:
    form = visit.form

    async def change() -> str:
        body = SecretPatch(
            description=form.text("description"),
            labels=given_labels(form),
            owner=form.text("owner"),
            expires_at=form.moment("expires_at"),
        )
        await visit.services.secrets.patch(visit.caller, secret_id, body, form.optional("etag"))
        return "changed"

    return await _changed(visit, secret_id, change)


@page("POST", "/secrets/{secret_id}/delete", permission=Permission.SECRET_DELETE)
async def delete_secret(visit: Visit, secret_id: UUID) -> Answer:
    form = visit.form
    async def delete() -> Answer:
        view = (await visit.services.secrets.get(visit.caller, secret_id)).view
        if form.text("confirm") != view.name:
            raise InvalidInput("type the name of the secret to delete it with all of its history")
        await visit.services.secrets.delete(visit.caller, secret_id, form.optional("etag"), force=form.checked("force"))
        return Redirect(f"/secrets?deleted={quote(view.name)}")

    return await attempt(delete, lambda error: _shown(visit, secret_id, error, ("delete", "")))


async def _changed(
    visit: Visit, secret_id: UUID, change: Callable[[], Awaitable[str]], asking: tuple[str, str] | None = None
) -> Answer:
    """Do it and show the secret; where it is refused show it too, with the reason. ``asking``: what others could approve."""

    async def done() -> Answer:
        return Redirect(f"/secrets/{secret_id}?done={await change()}")

    return await attempt(done, lambda error: _shown(visit, secret_id, error, asking))


async def _shown(
    visit: Visit, secret_id: UUID, error: OverseerError | None = None, asking: tuple[str, str] | None = None
) -> Answer:
    """The page of one secret. Its audit rows and consumers stand there for those who may see them."""
    secrets, caller = visit.services.secrets, visit.caller
    tagged = await secrets.get(caller, secret_id)
    versions = await secrets.versions(caller, secret_id, limit=25)
    usage = audit = None
    with suppress(Denied):
        usage = await visit.services.usage.usage(caller, secret_id)
    if visit.may(Permission.AUDIT_READ):
        with suppress(Denied):
            rows = await visit.services.audit.list(caller, AuditFilter(resource_id=secret_id), limit=_AUDIT_LOOKED_AT)
            audit = [row for row in rows.items if row.action not in _LOOKS][:AUDIT_ROWS]
    source = None if tagged.view.source is None else await visit.services.sourcing.get_source(caller, secret_id)
    rotation = await visit.services.rotations.get_rotation(caller, secret_id)
    content = {
        "secret": tagged.view,
        "etag": tagged.etag,
        "source": source,
        "rotation": rotation,
        "schedule": schedule_text(rotation.policy),
        "versions": versions,
        "usage": usage,
        "audit": audit,
        "error": error,
        "asking": asking if isinstance(error, ApprovalRequired) else None,
        "done": visit.query.text("done"),
        "reference": f"${{SECRET:{tagged.view.name}}}",
        "generators": GENERATORS,
        "scope_text": scope_text(tagged.view),
    }
    return View("secrets/show.html", content, status=error.status if error else 200)


def scope_text(view: SecretView) -> str:
    """The scope in one line, for a command that a person may copy."""
    parts = (("--app", view.scope.app), ("--env", view.scope.environment), ("--node", view.scope.node))
    return "".join(f" {flag} {name}" for flag, name in parts if name)
