"""Users and groups: who there is, how they get in, and who belongs where. An invitation is shown once, to whoever made it."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

from overseer.core.errors import Denied, InvalidInput, OverseerError
from overseer.core.permissions import Permission
from overseer.server.web.attempts import attempt
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.visit import Visit
from overseer.wire.access import GroupCreate
from overseer.wire.people import UserCreate, UserReset


@page("GET", "/users", permission=Permission.PRINCIPAL_LIST)
async def list_users(visit: Visit) -> Answer:
    return await _users(visit)


@page("POST", "/users", permission=Permission.PRINCIPAL_WRITE)
async def create_user(visit: Visit) -> Answer:
    async def change() -> Answer:
        body = UserCreate(name=visit.form.text("name"), description=visit.form.text("description"))
        made = await visit.services.users.create_user(visit.caller, body)
        if not visit.form.checked("invite"):
            return Redirect(f"/users/{made.id}?done=created")
        invited = await visit.services.users.reset_user(visit.caller, UUID(made.id), UserReset())
        return View("access/invitation.html", {"invited": invited, "user_id": made.id})

    return await attempt(change, lambda error: _users(visit, error))


@page("GET", "/users/{user_id}", permission=Permission.PRINCIPAL_LIST)
async def show_user(visit: Visit, user_id: UUID) -> Answer:
    return await _user(visit, user_id)


@page("POST", "/users/{user_id}/change", permission=Permission.PRINCIPAL_WRITE)
async def change_user(visit: Visit, user_id: UUID) -> Answer:
    users, caller, wanted = visit.services.users, visit.caller, visit.form.text("change")

    async def change() -> Answer:
        if wanted == "reset":
            body = UserReset(second_factor=visit.form.checked("second_factor"))
            invited = await users.reset_user(caller, user_id, body)
            return View("access/invitation.html", {"invited": invited, "user_id": str(user_id)})
        if wanted == "disable":
            await users.disable_user(caller, user_id)
        elif wanted == "enable":
            await users.enable_user(caller, user_id)
        elif wanted == "sign_out":
            await visit.services.sessions.revoke_sessions(caller, user_id)
        elif wanted == "delete":
            await users.delete_user(caller, user_id)
            return Redirect("/users?done=deleted")
        else:
            raise InvalidInput("change is one of reset, disable, enable, sign_out, delete")
        return Redirect(f"/users/{user_id}?done={wanted}")

    return await attempt(change, lambda error: _user(visit, user_id, error))


@page("GET", "/groups", permission=Permission.PRINCIPAL_LIST)
async def list_groups(visit: Visit) -> Answer:
    return await _groups(visit)


@page("POST", "/groups", permission=Permission.PRINCIPAL_WRITE)
async def create_group(visit: Visit) -> Answer:
    async def change() -> Answer:
        body = GroupCreate(name=visit.form.text("name"), description=visit.form.text("description"))
        made = await visit.services.identity.create_group(visit.caller, body)
        return Redirect(f"/groups/{made.id}")

    return await attempt(change, lambda error: _groups(visit, error))


@page("GET", "/groups/{group_id}", permission=Permission.PRINCIPAL_LIST)
async def show_group(visit: Visit, group_id: UUID) -> Answer:
    return await _group(visit, group_id)


@page("POST", "/groups/{group_id}/change", permission=Permission.PRINCIPAL_WRITE)
async def change_group(visit: Visit, group_id: UUID) -> Answer:
    identity, caller, form = visit.services.identity, visit.caller, visit.form

    async def change() -> Answer:
        wanted = form.text("change")
        if wanted == "add":
            await identity.add_member(caller, group_id, form.text("principal"))
        elif wanted == "remove":
            await identity.remove_member(caller, group_id, form.text("principal"))
        elif wanted == "delete":
            await identity.delete_group(caller, group_id)
            return Redirect("/groups?done=deleted")
        else:
            raise InvalidInput("change is one of add, remove, delete")
        return Redirect(f"/groups/{group_id}")

    return await attempt(change, lambda error: _group(visit, group_id, error))


async def _users(visit: Visit, error: OverseerError | None = None) -> Answer:
    found = await visit.services.users.list_users(visit.caller)
    return _view("access/users.html", visit, error, found=found)


async def _user(visit: Visit, user_id: UUID, error: OverseerError | None = None) -> Answer:
    user = await visit.services.users.get_user(visit.caller, user_id)
    bindings = sessions = None
    with suppress(Denied):
        bindings = await visit.services.identity.list_bindings(visit.caller, principal=user.name)
    with suppress(Denied):
        if visit.may(Permission.TOKEN_LIST):
            sessions = await visit.services.sessions.list_sessions(visit.caller, user_id)
    return _view("access/user.html", visit, error, user=user, bindings=bindings, sessions=sessions)


async def _groups(visit: Visit, error: OverseerError | None = None) -> Answer:
    found = await visit.services.identity.list_groups(visit.caller, visit.query.optional("cursor"))
    return _view("access/groups.html", visit, error, found=found)


async def _group(visit: Visit, group_id: UUID, error: OverseerError | None = None) -> Answer:
    identity, caller = visit.services.identity, visit.caller
    group = (await identity.get_group(caller, group_id)).view
    members = await identity.list_members(caller, group_id, visit.query.optional("cursor"))
    return _view("access/group.html", visit, error, group=group, members=members)


def _view(template: str, visit: Visit, error: OverseerError | None, **content: Any) -> View:
    content |= {"error": error, "done": visit.query.text("done"), "given": visit.form}
    return View(template, content, status=error.status if error else 200)
