"""Apps and environments, two of the three parts of a scope."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.route import route
from overseer.wire.messages import Page
from overseer.wire.scopes import AppView, EnvironmentView, ScopePartCreate


@route(
    "POST",
    "/api/apps",
    permission=Permission.APP_WRITE,
    summary="Create an app",
    body=ScopePartCreate,
    returns=AppView,
    status=201,
)
async def create_app(call: Call[ScopePartCreate, None]) -> AppView:
    return await call.services.scopes.create_app(call.caller, call.body, call.idempotency)


@route("GET", "/api/apps", permission=Permission.APP_LIST, summary="List apps", returns=Page[AppView])
async def list_apps(call: Call[None, None]) -> Page[AppView]:
    return await call.services.scopes.list_apps(call.caller)


@route(
    "DELETE", "/api/apps/{name}", permission=Permission.APP_WRITE, summary="Delete an app that nothing belongs to", status=204
)
async def delete_app(call: Call[None, None], name: str) -> None:
    await call.services.scopes.delete_app(call.caller, name)


@route(
    "POST",
    "/api/environments",
    permission=Permission.ENVIRONMENT_WRITE,
    summary="Create an environment",
    body=ScopePartCreate,
    returns=EnvironmentView,
    status=201,
)
async def create_environment(call: Call[ScopePartCreate, None]) -> EnvironmentView:
    return await call.services.scopes.create_environment(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/environments",
    permission=Permission.ENVIRONMENT_LIST,
    summary="List environments",
    returns=Page[EnvironmentView],
)
async def list_environments(call: Call[None, None]) -> Page[EnvironmentView]:
    return await call.services.scopes.list_environments(call.caller)


@route(
    "DELETE",
    "/api/environments/{name}",
    permission=Permission.ENVIRONMENT_WRITE,
    summary="Delete an environment that nothing belongs to",
    status=204,
)
async def delete_environment(call: Call[None, None], name: str) -> None:
    await call.services.scopes.delete_environment(call.caller, name)
