"""Roles, bindings, service accounts and tokens. A token is shown once, in the answer to the request that made it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final
from uuid import UUID

from overseer.core.errors import Denied, InvalidInput, OverseerError
from overseer.core.permissions import PERMISSION_MEANING, Permission
from overseer.server.web.attempts import attempt
from overseer.server.web.forms import Form
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.places import known_places
from overseer.server.web.visit import Visit
from overseer.wire.access import BindingCreate, RoleCreate, RolePatch, ServiceAccountCreate, TokenCreate

DAY: Final = 86400


@page("GET", "/roles", permission=Permission.BINDING_LIST)
async def list_roles(visit: Visit) -> Answer:
    return await _roles(visit)


@page("POST", "/roles", permission=Permission.ROLE_WRITE)
async def create_role(visit: Visit) -> Answer:
    async def change() -> Answer:
        form = visit.form
        body = RoleCreate(name=form.text("name"), description=form.text("description"), permissions=form.all("permission"))
        made = await visit.services.identity.create_role(visit.caller, body)
        return Redirect(f"/roles/{made.id}")

    return await attempt(change, lambda error: _roles(visit, error))


@page("GET", "/roles/{role_id}", permission=Permission.BINDING_LIST)
async def show_role(visit: Visit, role_id: UUID) -> Answer:
    return await _role(visit, role_id)


@page("POST", "/roles/{role_id}/change", permission=Permission.ROLE_WRITE)
async def change_role(visit: Visit, role_id: UUID) -> Answer:
    identity, caller, form = visit.services.identity, visit.caller, visit.form

    async def change() -> Answer:
        if form.text("change") == "delete":
            await identity.delete_role(caller, role_id, cascade=form.checked("cascade"), if_match=form.optional("etag"))
            return Redirect("/roles")
        body = RolePatch(description=form.text("description"), permissions=form.all("permission"))
        await identity.patch_role(caller, role_id, body, form.optional("etag"))
        return Redirect(f"/roles/{role_id}?done=changed")

    return await attempt(change, lambda error: _role(visit, role_id, error))


@page("GET", "/bindings", permission=Permission.BINDING_LIST)
async def list_bindings(visit: Visit) -> Answer:
    return await _bindings(visit)


@page("POST", "/bindings", permission=Permission.BINDING_WRITE)
async def create_binding(visit: Visit) -> Answer:
    async def change() -> Answer:
        form = visit.form
        holder: dict[str, Any] = {form.text("kind") if form.text("kind") == "group" else "principal": form.text("subject")}
        minutes = form.number("active_minutes")
        body = BindingCreate(
            **holder,
            role=form.text("role"),
            app=selector(form, "app"),
            environment=selector(form, "environment"),
            node=selector(form, "node"),
            name=form.text("name") or "*",
            expires_at=form.moment("expires_at"),
            active_seconds=None if minutes is None else minutes * 60,
        )
        await visit.services.identity.create_binding(visit.caller, body)
        return Redirect("/bindings?done=created")

    return await attempt(change, lambda error: _bindings(visit, error))


@page("POST", "/bindings/{binding_id}/delete", permission=Permission.BINDING_WRITE)
async def delete_binding(visit: Visit, binding_id: UUID) -> Answer:
    async def change() -> Answer:
        await visit.services.identity.delete_binding(visit.caller, binding_id)
        return Redirect("/bindings?done=deleted")

    return await attempt(change, lambda error: _bindings(visit, error))


@page("GET", "/tokens", permission=Permission.TOKEN_LIST)
async def list_tokens(visit: Visit) -> Answer:
    return await _tokens(visit)


@page("POST", "/tokens", permission=Permission.TOKEN_WRITE)
async def create_token(visit: Visit) -> Answer:
    async def change() -> Answer:
        form = visit.form
        networks = [part for part in form.text("networks").replace(",", " ").split() if part]
        body = TokenCreate(
            principal=form.text("principal"),
            description=form.text("description"),
            expires_in=(form.number("days", 90) or 0) * DAY,
            networks=networks or None,
        )
        made = await visit.services.identity.create_token(visit.caller, body)
        return View("access/token.html", {"made": made, "principal": body.principal})

    return await attempt(change, lambda error: _tokens(visit, error))


@page("POST", "/tokens/{token_id}/revoke", permission=Permission.TOKEN_WRITE)
async def revoke_token(visit: Visit, token_id: UUID) -> Answer:
    async def change() -> Answer:
        await visit.services.identity.revoke_token(visit.caller, token_id)
        return Redirect("/tokens?done=revoked")

    return await attempt(change, lambda error: _tokens(visit, error))


@page("POST", "/service-accounts", permission=Permission.PRINCIPAL_WRITE)
async def create_service_account(visit: Visit) -> Answer:
    async def change() -> Answer:
        body = ServiceAccountCreate(name=visit.form.text("name"), description=visit.form.text("description"))
        await visit.services.identity.create_service_account(visit.caller, body)
        return Redirect("/tokens?done=account")

    return await attempt(change, lambda error: _tokens(visit, error))


async def _roles(visit: Visit, error: OverseerError | None = None) -> Answer:
    found = await visit.services.identity.list_roles(visit.caller, visit.query.optional("cursor"))
    return _view("access/roles.html", visit, error, found=found, meanings=PERMISSION_MEANING)


async def _role(visit: Visit, role_id: UUID, error: OverseerError | None = None) -> Answer:
    tagged = await visit.services.identity.get_role(visit.caller, role_id)
    return _view("access/role.html", visit, error, role=tagged.view, etag=tagged.etag, meanings=PERMISSION_MEANING)


async def _bindings(visit: Visit, error: OverseerError | None = None) -> Answer:
    identity, caller = visit.services.identity, visit.caller
    found = await identity.list_bindings(
        caller, principal=visit.query.optional("principal"), cursor=visit.query.optional("cursor")
    )
    roles = await identity.list_roles(caller, limit=200)
    return _view("access/bindings.html", visit, error, found=found, roles=roles, places=await known_places(visit))


async def _tokens(visit: Visit, error: OverseerError | None = None) -> Answer:
    identity, caller, query = visit.services.identity, visit.caller, visit.query
    found = await identity.list_tokens(caller, principal=query.optional("principal"), cursor=query.optional("cursor"))
    accounts = None
    with suppress(Denied):
        if visit.may(Permission.PRINCIPAL_LIST):
            accounts = await identity.list_service_accounts(caller)
    return _view("access/tokens.html", visit, error, found=found, accounts=accounts)


def selector(form: Form, part: str) -> str:
    """``*``, ``-`` or a name. All three parts are always chosen: an empty field says nothing, so it is refused."""
    chosen = form.text(part)
    if chosen != "is":
        return chosen
    name = form.text(f"{part}_name")
    if not name:
        raise InvalidInput(f"{part}: choose which one, any, or only where none is set")
    return name


def _view(template: str, visit: Visit, error: OverseerError | None, **content: Any) -> View:
    content |= {"error": error, "done": visit.query.text("done"), "given": visit.form}
    return View(template, content, status=error.status if error else 200)
