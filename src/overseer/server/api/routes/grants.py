"""What is given to whom: roles, groups, bindings, and bindings for an emergency."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, Reply
from overseer.server.api.queries import BindingsQuery, PageQuery, RoleDeleteQuery
from overseer.server.api.route import AnyIdentity, route
from overseer.wire.access import (
    BindingActivate,
    BindingCreate,
    BindingView,
    GroupCreate,
    GroupPatch,
    GroupView,
    PrincipalView,
    RoleCreate,
    RolePatch,
    RoleView,
)
from overseer.wire.messages import Page


@route(
    "POST",
    "/api/roles",
    permission=Permission.ROLE_WRITE,
    summary="Create a role",
    body=RoleCreate,
    returns=RoleView,
    status=201,
    location="/api/roles/{id}",
)
async def create_role(call: Call[RoleCreate, None]) -> RoleView:
    return await call.services.identity.create_role(call.caller, call.body, call.idempotency)


@route(
    "GET", "/api/roles", permission=Permission.BINDING_LIST, summary="List roles", query=PageQuery, returns=Page[RoleView]
)
async def list_roles(call: Call[None, PageQuery]) -> Page[RoleView]:
    return await call.services.identity.list_roles(call.caller, call.query.cursor, call.query.limit)


@route(
    "GET",
    "/api/roles/{role_id}",
    permission=Permission.BINDING_LIST,
    summary="Show a role",
    returns=RoleView,
    tagged=True,
)
async def get_role(call: Call[None, None], role_id: UUID) -> Reply[RoleView]:
    tagged = await call.services.identity.get_role(call.caller, role_id)
    return Reply(tagged.view, etag=tagged.etag)


@route(
    "PATCH",
    "/api/roles/{role_id}",
    permission=Permission.ROLE_WRITE,
    summary="Change a role and what every binding that uses it gives; not beyond what the caller holds over each",
    body=RolePatch,
    returns=RoleView,
    tagged=True,
)
async def patch_role(call: Call[RolePatch, None], role_id: UUID) -> Reply[RoleView]:
    tagged = await call.services.identity.patch_role(call.caller, role_id, call.body, call.if_match)
    return Reply(tagged.view, etag=tagged.etag)


@route(
    "DELETE",
    "/api/roles/{role_id}",
    permission=Permission.ROLE_WRITE,
    summary="Delete a role that no binding uses, or with cascade=true its bindings too",
    query=RoleDeleteQuery,
    status=204,
    tagged=True,
)
async def delete_role(call: Call[None, RoleDeleteQuery], role_id: UUID) -> None:
    await call.services.identity.delete_role(call.caller, role_id, cascade=call.query.cascade, if_match=call.if_match)


@route(
    "POST",
    "/api/groups",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Create a group of principals",
    body=GroupCreate,
    returns=GroupView,
    status=201,
    location="/api/groups/{id}",
)
async def create_group(call: Call[GroupCreate, None]) -> GroupView:
    return await call.services.identity.create_group(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/groups",
    permission=Permission.PRINCIPAL_LIST,
    summary="List groups",
    query=PageQuery,
    returns=Page[GroupView],
)
async def list_groups(call: Call[None, PageQuery]) -> Page[GroupView]:
    return await call.services.identity.list_groups(call.caller, call.query.cursor, call.query.limit)


@route(
    "GET",
    "/api/groups/{group_id}",
    permission=Permission.PRINCIPAL_LIST,
    summary="Show a group",
    returns=GroupView,
    tagged=True,
)
async def get_group(call: Call[None, None], group_id: UUID) -> Reply[GroupView]:
    tagged = await call.services.identity.get_group(call.caller, group_id)
    return Reply(tagged.view, etag=tagged.etag)


@route(
    "PATCH",
    "/api/groups/{group_id}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Rename a group or describe it anew",
    body=GroupPatch,
    returns=GroupView,
    tagged=True,
)
async def patch_group(call: Call[GroupPatch, None], group_id: UUID) -> Reply[GroupView]:
    tagged = await call.services.identity.patch_group(call.caller, group_id, call.body, call.if_match)
    return Reply(tagged.view, etag=tagged.etag)


@route(
    "DELETE",
    "/api/groups/{group_id}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Delete a group with its bindings",
    status=204,
    tagged=True,
)
async def delete_group(call: Call[None, None], group_id: UUID) -> None:
    await call.services.identity.delete_group(call.caller, group_id, call.if_match)


@route(
    "GET",
    "/api/groups/{group_id}/members",
    permission=Permission.PRINCIPAL_LIST,
    summary="List the members of a group",
    query=PageQuery,
    returns=Page[PrincipalView],
)
async def list_members(call: Call[None, PageQuery], group_id: UUID) -> Page[PrincipalView]:
    return await call.services.identity.list_members(call.caller, group_id, call.query.cursor, call.query.limit)


@route(
    "PUT",
    "/api/groups/{group_id}/members/{principal}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Add a member, who then holds all that the group holds; not beyond what the caller holds",
    status=204,
)
async def add_member(call: Call[None, None], group_id: UUID, principal: str) -> None:
    await call.services.identity.add_member(call.caller, group_id, principal)


@route(
    "DELETE",
    "/api/groups/{group_id}/members/{principal}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Remove a member",
    status=204,
)
async def remove_member(call: Call[None, None], group_id: UUID, principal: str) -> None:
    await call.services.identity.remove_member(call.caller, group_id, principal)


@route(
    "POST",
    "/api/bindings",
    permission=Permission.BINDING_WRITE,
    summary="Give a principal or a group a role over a selector; nobody grants what they do not hold",
    body=BindingCreate,
    returns=BindingView,
    status=201,
    location="/api/bindings/{id}",
)
async def create_binding(call: Call[BindingCreate, None]) -> BindingView:
    return await call.services.identity.create_binding(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/bindings",
    permission=Permission.BINDING_LIST,
    summary="List bindings",
    query=BindingsQuery,
    returns=Page[BindingView],
)
async def list_bindings(call: Call[None, BindingsQuery]) -> Page[BindingView]:
    q = call.query
    return await call.services.identity.list_bindings(
        call.caller, q.principal, group=q.group, role=q.role, emergency=q.emergency, cursor=q.cursor, limit=q.limit
    )


@route(
    "GET",
    "/api/bindings/{binding_id}",
    permission=Permission.BINDING_LIST,
    summary="Show a binding",
    returns=BindingView,
)
async def get_binding(call: Call[None, None], binding_id: UUID) -> BindingView:
    return await call.services.identity.get_binding(call.caller, binding_id)


@route(
    "DELETE",
    "/api/bindings/{binding_id}",
    permission=Permission.BINDING_WRITE,
    summary="Take a role away",
    status=204,
)
async def delete_binding(call: Call[None, None], binding_id: UUID) -> None:
    await call.services.identity.delete_binding(call.caller, binding_id)


@route(
    "POST",
    "/api/bindings/{binding_id}/activate",
    permission=AnyIdentity("only who holds an emergency binding can activate it, and needs no other right for that"),
    summary="Break the glass: wake an emergency binding for its stated time, with a reason; it raises an alarm",
    body=BindingActivate,
    returns=BindingView,
)
async def activate_binding(call: Call[BindingActivate, None], binding_id: UUID) -> BindingView:
    return await call.services.identity.activate_binding(call.caller, binding_id, call.body)


@route(
    "POST",
    "/api/bindings/{binding_id}/deactivate",
    permission=AnyIdentity("who holds an emergency binding can end it, and so can whoever may delete it"),
    summary="End an emergency before its time",
    returns=BindingView,
)
async def deactivate_binding(call: Call[None, None], binding_id: UUID) -> BindingView:
    return await call.services.identity.deactivate_binding(call.caller, binding_id)
