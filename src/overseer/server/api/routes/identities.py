"""Who may act: the caller itself, service accounts, tokens, roles and bindings."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.core.principals import PrincipalKind
from overseer.server.api.call import Call
from overseer.server.api.queries import PrincipalQuery
from overseer.server.api.route import AnyIdentity, route
from overseer.wire.access import (
    BindingCreate,
    BindingView,
    MeView,
    PrincipalView,
    RoleView,
    ServiceAccountCreate,
    TokenCreate,
    TokenCreated,
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
)
async def create_service_account(call: Call[ServiceAccountCreate, None]) -> PrincipalView:
    return await call.services.identity.create_service_account(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/service-accounts",
    permission=Permission.PRINCIPAL_LIST,
    summary="List service accounts",
    returns=Page[PrincipalView],
)
async def list_service_accounts(call: Call[None, None]) -> Page[PrincipalView]:
    return await call.services.identity.list_principals(call.caller, PrincipalKind.SERVICE_ACCOUNT)


@route(
    "DELETE",
    "/api/service-accounts/{principal_id}",
    permission=Permission.PRINCIPAL_WRITE,
    summary="Delete a service account with its tokens and bindings",
    status=204,
)
async def delete_service_account(call: Call[None, None], principal_id: UUID) -> None:
    await call.services.identity.delete_principal(call.caller, principal_id)


@route(
    "POST",
    "/api/tokens",
    permission=Permission.TOKEN_WRITE,
    summary="Create a token; its text is shown once",
    body=TokenCreate,
    returns=TokenCreated,
    status=201,
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
    return await call.services.identity.list_tokens(call.caller, call.query.principal)


@route(
    "DELETE",
    "/api/tokens/{token_id}",
    permission=Permission.TOKEN_WRITE,
    summary="Revoke a token; it ends with the next request",
    status=204,
)
async def revoke_token(call: Call[None, None], token_id: UUID) -> None:
    await call.services.identity.revoke_token(call.caller, token_id)


@route("GET", "/api/roles", permission=Permission.BINDING_LIST, summary="List roles", returns=Page[RoleView])
async def list_roles(call: Call[None, None]) -> Page[RoleView]:
    return await call.services.identity.list_roles(call.caller)


@route(
    "POST",
    "/api/bindings",
    permission=Permission.BINDING_WRITE,
    summary="Give a principal a role over a selector; nobody grants what they do not hold",
    body=BindingCreate,
    returns=BindingView,
    status=201,
)
async def create_binding(call: Call[BindingCreate, None]) -> BindingView:
    return await call.services.identity.create_binding(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/bindings",
    permission=Permission.BINDING_LIST,
    summary="List bindings",
    query=PrincipalQuery,
    returns=Page[BindingView],
)
async def list_bindings(call: Call[None, PrincipalQuery]) -> Page[BindingView]:
    return await call.services.identity.list_bindings(call.caller, call.query.principal)


@route(
    "DELETE",
    "/api/bindings/{binding_id}",
    permission=Permission.BINDING_WRITE,
    summary="Take a role away",
    status=204,
)
async def delete_binding(call: Call[None, None], binding_id: UUID) -> None:
    await call.services.identity.delete_binding(call.caller, binding_id)
