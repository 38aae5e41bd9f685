"""Who may act: the caller itself, service accounts and their tokens."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, Reply
from overseer.server.api.queries import PageQuery, PrincipalQuery
from overseer.server.api.route import AnyIdentity, route
from overseer.wire.access import (
    MeView,
    PrincipalView,
    ServiceAccountCreate,
    ServiceAccountPatch,
    TokenCreate,
    TokenCreated,
    TokenRotate,
    TokenView,
)
from overseer.wire.messages import Page


@route(
    "GET",
    "/api/me",
    permission=AnyIdentity("everyone may know who they are and what they may do"),
    summary="Show whom the token speaks for",
    returns=MeView,
)
async def get_me(call: Call[None, None]) -> MeView:
    return await call.services.identity.me(call.caller)


@route(
    "POST",
    "/api/service-accounts",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Create a service account",
    body=ServiceAccountCreate,
    returns=PrincipalView,
    status=201,
    location="/api/service-accounts/{id}",
)
async def create_service_account(call: Call[ServiceAccountCreate, None]) -> PrincipalView:
    return await call.services.identity.create_service_account(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/service-accounts",
    permission=Permission.PRINCIPAL_LIST,
    summary="List service accounts",
    query=PageQuery,
    returns=Page[PrincipalView],
)
async def list_service_accounts(call: Call[None, PageQuery]) -> Page[PrincipalView]:
    return await call.services.identity.list_service_accounts(call.caller, call.query.cursor, call.query.limit)


@route(
    "GET",
    "/api/service-accounts/{principal_id}",
    permission=Permission.PRINCIPAL_LIST,
    summary="Show a service account",
    returns=PrincipalView,
    tagged=True,
)
async def get_service_account(call: Call[None, None], principal_id: UUID) -> Reply[PrincipalView]:
    tagged = await call.services.identity.get_service_account(call.caller, principal_id)
    return Reply(tagged.view, etag=tagged.etag)


@route(
    "PATCH",
    "/api/service-accounts/{principal_id}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Describe a service account anew, disable it or enable it",
    body=ServiceAccountPatch,
    returns=PrincipalView,
    tagged=True,
)
async def patch_service_account(call: Call[ServiceAccountPatch, None], principal_id: UUID) -> Reply[PrincipalView]:
    tagged = await call.services.identity.patch_service_account(call.caller, principal_id, call.body, call.if_match)
    return Reply(tagged.view, etag=tagged.etag)


@route(
    "DELETE",
    "/api/service-accounts/{principal_id}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Delete a service account with its tokens and bindings",
    status=204,
    tagged=True,
)
async def delete_service_account(call: Call[None, None], principal_id: UUID) -> None:
    await call.services.identity.delete_service_account(call.caller, principal_id, call.if_match)


@route(
    "POST",
    "/api/tokens",
    permission=Permission.TOKEN_WRITE,
    summary="Create a token; its text is shown once",
    body=TokenCreate,
    returns=TokenCreated,
    status=201,
    location="/api/tokens/{id}",
)
async def create_token(call: Call[TokenCreate, None]) -> TokenCreated:
    return await call.services.identity.create_token(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/tokens",
    permission=Permission.TOKEN_LIST,
    summary="List tokens, never their texts",
    query=PrincipalQuery,
    returns=Page[TokenView],
)
async def list_tokens(call: Call[None, PrincipalQuery]) -> Page[TokenView]:
    q = call.query
    return await call.services.identity.list_tokens(call.caller, q.principal, q.cursor, q.limit)


@route(
    "GET",
    "/api/tokens/{token_id}",
    permission=Permission.TOKEN_LIST,
    summary="Show a token, never its text",
    returns=TokenView,
)
async def get_token(call: Call[None, None], token_id: UUID) -> TokenView:
    return await call.services.identity.get_token(call.caller, token_id)


@route(
    "POST",
    "/api/tokens/{token_id}/rotate",
    permission=Permission.TOKEN_WRITE,
    summary="Make a successor of a token, which lives on for an overlap; its text is shown once",
    body=TokenRotate,
    returns=TokenCreated,
    status=201,
    location="/api/tokens/{id}",
)
async def rotate_token(call: Call[TokenRotate, None], token_id: UUID) -> TokenCreated:
    return await call.services.identity.rotate_token(call.caller, token_id, call.body, call.idempotency)


@route(
    "DELETE",
    "/api/tokens/{token_id}",
    permission=Permission.TOKEN_WRITE,
    summary="Revoke a token; it ends with the next request",
    status=204,
)
async def revoke_token(call: Call[None, None], token_id: UUID) -> None:
    await call.services.identity.revoke_token(call.caller, token_id)
