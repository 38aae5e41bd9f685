"""Users: who they are, whether they may sign in, and how they get a new start."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import PageQuery
from overseer.server.api.route import route
from overseer.wire.messages import Page
from overseer.wire.people import ExternalIdentity, InvitationCreated, UserCreate, UserPatch, UserReset, UserView


@route(
    "POST",
    "/api/users",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Create a user; a reset gives it the invitation to set a password",
    body=UserCreate,
    returns=UserView,
    status=201,
    location="/api/users/{id}",
)
async def create_user(call: Call[UserCreate, None]) -> UserView:
    return await call.services.users.create_user(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/users",
    permission=Permission.PRINCIPAL_LIST,
    summary="List users",
    query=PageQuery,
    returns=Page[UserView],
)
async def list_users(call: Call[None, PageQuery]) -> Page[UserView]:
    return await call.services.users.list_users(call.caller, call.query.cursor, call.query.limit)


@route("GET", "/api/users/{user_id}", permission=Permission.PRINCIPAL_LIST, summary="Show a user", returns=UserView)
async def get_user(call: Call[None, None], user_id: UUID) -> UserView:
    return await call.services.users.get_user(call.caller, user_id)


@route(
    "PATCH",
    "/api/users/{user_id}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Change a user's description",
    body=UserPatch,
    returns=UserView,
)
async def patch_user(call: Call[UserPatch, None], user_id: UUID) -> UserView:
    return await call.services.users.patch_user(call.caller, user_id, call.body)


@route(
    "DELETE",
    "/api/users/{user_id}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Delete a user with its tokens, sessions and bindings; the last owner stays",
    status=204,
)
async def delete_user(call: Call[None, None], user_id: UUID) -> None:
    await call.services.users.delete_user(call.caller, user_id)


@route(
    "POST",
    "/api/users/{user_id}/disable",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Disable a user; its tokens and sessions end, the last owner stays",
    returns=UserView,
)
async def disable_user(call: Call[None, None], user_id: UUID) -> UserView:
    return await call.services.users.disable_user(call.caller, user_id)


@route(
    "POST",
    "/api/users/{user_id}/enable",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Let a disabled user sign in again",
    returns=UserView,
)
async def enable_user(call: Call[None, None], user_id: UUID) -> UserView:
    return await call.services.users.enable_user(call.caller, user_id)


@route(
    "POST",
    "/api/users/{user_id}/reset",
    permission=Permission.USER_RESET,
    summary="Make an invitation with which the user sets a password; the old one and all sessions end now",
    body=UserReset,
    returns=InvitationCreated,
    status=201,
)
async def reset_user(call: Call[UserReset, None], user_id: UUID) -> InvitationCreated:
    return await call.services.users.reset_user(call.caller, user_id, call.body)


@route(
    "POST",
    "/api/users/{user_id}/identities",
    permission=Permission.USER_RESET,
    summary="Let a provider's subject sign in as this user",
    body=ExternalIdentity,
    returns=UserView,
)
async def link_identity(call: Call[ExternalIdentity, None], user_id: UUID) -> UserView:
    return await call.services.users.link_identity(call.caller, user_id, call.body)


@route(
    "POST",
    "/api/users/{user_id}/identities/remove",
    permission=Permission.USER_RESET,
    summary="Untie a provider's subject from this user",
    body=ExternalIdentity,
    returns=UserView,
)
async def unlink_identity(call: Call[ExternalIdentity, None], user_id: UUID) -> UserView:
    return await call.services.users.unlink_identity(call.caller, user_id, call.body)
