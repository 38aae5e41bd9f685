"""Apps and environments, two of the three parts of a scope."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, Reply
from overseer.server.api.queries import CascadeQuery, PageQuery
from overseer.server.api.route import route
from overseer.wire.messages import Page
from overseer.wire.scopes import AppView, ContentsView, EnvironmentView, ScopePartCreate, ScopePartPatch


@route(
    "POST",
    "/api/apps",
    permission=Permission.APP_WRITE,
    summary="Create an app",
    body=ScopePartCreate,
    returns=AppView,
    status=201,
    location="/api/apps/{name}",
)
async def create_app(call: Call[ScopePartCreate, None]) -> AppView:
    return await call.services.scopes.create_app(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/apps",
    permission=Permission.APP_LIST,
    summary="List apps",
    query=PageQuery,
    returns=Page[AppView],
)
async def list_apps(call: Call[None, PageQuery]) -> Page[AppView]:
    return await call.services.scopes.list_apps(call.caller, call.query.cursor, call.query.limit)


@route(
    "GET",
    "/api/apps/{name}",
    permission=Permission.APP_LIST,
    summary="Show an app",
    returns=AppView,
    tagged=True,
)
async def get_app(call: Call[None, None], name: str) -> Reply[AppView]:
    found = await call.services.scopes.get_app(call.caller, name)
    return Reply(found.view, etag=found.etag)


@route(
    "PATCH",
    "/api/apps/{name}",
    permission=Permission.APP_WRITE,
    summary="Change an app's description",
    body=ScopePartPatch,
    returns=AppView,
    tagged=True,
)
async def patch_app(call: Call[ScopePartPatch, None], name: str) -> Reply[AppView]:
    found = await call.services.scopes.patch_app(call.caller, name, call.body, call.if_match)
    return Reply(found.view, etag=found.etag)


@route(
    "GET",
    "/api/apps/{name}/contents",
    permission=Permission.APP_WRITE,
    summary="List what belongs to an app and would go with it",
    returns=ContentsView,
)
async def show_contents_of_app(call: Call[None, None], name: str) -> ContentsView:
    return await call.services.scopes.contents_of_app(call.caller, name)


@route(
    "DELETE",
    "/api/apps/{name}",
    permission=Permission.APP_WRITE,
    summary="Delete an app that nothing belongs to, or with cascade what belongs to it, too; refused while it is in use",
    query=CascadeQuery,
    returns=ContentsView,
    may_be_empty=True,
)
async def delete_app(call: Call[None, CascadeQuery], name: str) -> Reply[ContentsView] | Reply[None]:
    went = await call.services.scopes.delete_app(call.caller, name, cascade=call.query.cascade)
    return Reply(None) if went is None else Reply(went)


@route(
    "POST",
    "/api/environments",
    permission=Permission.ENVIRONMENT_WRITE,
    summary="Create an environment",
    body=ScopePartCreate,
    returns=EnvironmentView,
    status=201,
    location="/api/environments/{name}",
)
async def create_environment(call: Call[ScopePartCreate, None]) -> EnvironmentView:
    return await call.services.scopes.create_environment(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/environments",
    permission=Permission.ENVIRONMENT_LIST,
    summary="List environments",
    query=PageQuery,
    returns=Page[EnvironmentView],
)
async def list_environments(call: Call[None, PageQuery]) -> Page[EnvironmentView]:
    return await call.services.scopes.list_environments(call.caller, call.query.cursor, call.query.limit)


@route(
    "GET",
    "/api/environments/{name}",
    permission=Permission.ENVIRONMENT_LIST,
    summary="Show an environment",
    returns=EnvironmentView,
    tagged=True,
)
async def get_environment(call: Call[None, None], name: str) -> Reply[EnvironmentView]:
    found = await call.services.scopes.get_environment(call.caller, name)
    return Reply(found.view, etag=found.etag)


@route(
    "PATCH",
    "/api/environments/{name}",
    permission=Permission.ENVIRONMENT_WRITE,
    summary="Change an environment's description",
    body=ScopePartPatch,
    returns=EnvironmentView,
    tagged=True,
)
async def patch_environment(call: Call[ScopePartPatch, None], name: str) -> Reply[EnvironmentView]:
    found = await call.services.scopes.patch_environment(call.caller, name, call.body, call.if_match)
    return Reply(found.view, etag=found.etag)


@route(
    "GET",
    "/api/environments/{name}/contents",
    permission=Permission.ENVIRONMENT_WRITE,
    summary="List what belongs to an environment and would go with it",
    returns=ContentsView,
)
async def show_contents_of_environment(call: Call[None, None], name: str) -> ContentsView:
    return await call.services.scopes.contents_of_environment(call.caller, name)


@route(
    "DELETE",
    "/api/environments/{name}",
    permission=Permission.ENVIRONMENT_WRITE,
    summary="Delete an environment that nothing belongs to, or with cascade what belongs to it, too; refused while it is in use",
    query=CascadeQuery,
    returns=ContentsView,
    may_be_empty=True,
)
async def delete_environment(call: Call[None, CascadeQuery], name: str) -> Reply[ContentsView] | Reply[None]:
    went = await call.services.scopes.delete_environment(call.caller, name, cascade=call.query.cascade)
    return Reply(None) if went is None else Reply(went)
