"""Backends, and secrets whose values come from them."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, Reply
from overseer.server.api.queries import BackendRefsQuery, PageQuery
from overseer.server.api.route import route
from overseer.server.services.tagged import Tagged
from overseer.wire.backends import (
    BackendCreate,
    BackendPatch,
    BackendRefs,
    BackendTest,
    BackendView,
    SecretSource,
    SourcedSecretCreate,
    SourceView,
)
from overseer.wire.messages import Page
from overseer.wire.secrets import SecretView


@route(
    "POST",
    "/api/backends",
    permission=Permission.BACKEND_WRITE,
    summary="Set up a backend; its credentials are never shown again",
    body=BackendCreate,
    returns=BackendView,
    status=201,
    location="/api/backends/{id}",
    tagged=True,
)
async def create_backend(call: Call[BackendCreate, None]) -> Reply[BackendView]:
    return _tagged(await call.services.backends.create_backend(call.caller, call.body, call.idempotency))


@route(
    "GET",
    "/api/backends",
    permission=Permission.BACKEND_LIST,
    summary="List backends, never a credential",
    query=PageQuery,
    returns=Page[BackendView],
)
async def list_backends(call: Call[None, PageQuery]) -> Page[BackendView]:
    return await call.services.backends.list_backends(call.caller, call.query.cursor, call.query.limit)


@route(
    "POST",
    "/api/backends/secrets",
    permission=Permission.SECRET_WRITE,
    summary="Create a secret whose value comes from a backend; needs backend:use of the reference at the secret's scope as well",
    body=SourcedSecretCreate,
    returns=SecretView,
    status=201,
    location="/api/secrets/{id}",
    tagged=True,
)
async def create_sourced_secret(call: Call[SourcedSecretCreate, None]) -> Reply[SecretView]:
    made = await call.services.sourcing.create_sourced(call.caller, call.body, call.idempotency)
    return Reply(made.view, etag=made.etag)


@route(
    "GET",
    "/api/backends/{backend_id}",
    permission=Permission.BACKEND_LIST,
    summary="Show a backend, never a credential",
    returns=BackendView,
    tagged=True,
)
async def get_backend(call: Call[None, None], backend_id: UUID) -> Reply[BackendView]:
    return _tagged(await call.services.backends.get_backend(call.caller, backend_id))


@route(
    "PATCH",
    "/api/backends/{backend_id}",
    permission=Permission.BACKEND_WRITE,
    summary="Change a backend; new settings need the credentials beside them",
    body=BackendPatch,
    returns=BackendView,
    tagged=True,
)
async def patch_backend(call: Call[BackendPatch, None], backend_id: UUID) -> Reply[BackendView]:
    return _tagged(await call.services.backends.patch_backend(call.caller, backend_id, call.body, call.if_match))


@route(
    "DELETE",
    "/api/backends/{backend_id}",
    permission=Permission.BACKEND_WRITE,
    summary="Delete a backend that no secret comes from",
    status=204,
)
async def delete_backend(call: Call[None, None], backend_id: UUID) -> None:
    await call.services.backends.delete_backend(call.caller, backend_id, call.if_match)


@route(
    "POST",
    "/api/backends/{backend_id}/test",
    permission=Permission.BACKEND_WRITE,
    summary="Sign in to a backend and say what is wrong",
    returns=BackendTest,
)
async def test_backend(call: Call[None, None], backend_id: UUID) -> BackendTest:
    return await call.services.backends.test_backend(call.caller, backend_id)


@route(
    "GET",
    "/api/backends/{backend_id}/secrets",
    permission=Permission.BACKEND_LIST,
    summary="List the secrets that come from a backend: those that you may list",
    query=PageQuery,
    returns=Page[SourceView],
)
async def list_backend_secrets(call: Call[None, PageQuery], backend_id: UUID) -> Page[SourceView]:
    return await call.services.backends.list_sources(
        call.caller, backend_id, cursor=call.query.cursor, limit=call.query.limit
    )


@route(
    "GET",
    "/api/backends/{backend_id}/refs",
    permission=Permission.BACKEND_USE,
    summary="List what is directly in a folder of a backend, never values; for secrets of the scope that is named",
    query=BackendRefsQuery,
    returns=BackendRefs,
)
async def list_backend_refs(call: Call[None, BackendRefsQuery], backend_id: UUID) -> BackendRefs:
    q = call.query
    return await call.services.backends.list_refs(
        call.caller, backend_id, folder=q.folder, app=q.app, environment=q.environment, node=q.node
    )


@route(
    "GET",
    "/api/secrets/{secret_id}/source",
    permission=Permission.SECRET_LIST,
    summary="Show where a secret's value comes from, and how old what is kept is; 409 where it has values of its own",
    returns=SourceView,
)
async def get_secret_source(call: Call[None, None], secret_id: UUID) -> SourceView:
    return await call.services.sourcing.get_source(call.caller, secret_id)


@route(
    "PUT",
    "/api/secrets/{secret_id}/source",
    permission=Permission.SECRET_WRITE,
    summary="Take a secret's value from a backend from now on; needs backend:use of the reference at its scope as well",
    body=SecretSource,
    returns=SecretView,
    tagged=True,
)
async def set_secret_source(call: Call[SecretSource, None], secret_id: UUID) -> Reply[SecretView]:
    changed = await call.services.sourcing.set_source(call.caller, secret_id, call.body, call.if_match)
    return Reply(changed.view, etag=changed.etag)


@route(
    "DELETE",
    "/api/secrets/{secret_id}/source",
    permission=Permission.SECRET_WRITE,
    summary="Untie a secret from its backend; it keeps its versions",
    returns=SecretView,
    tagged=True,
)
async def remove_secret_source(call: Call[None, None], secret_id: UUID) -> Reply[SecretView]:
    changed = await call.services.sourcing.remove_source(call.caller, secret_id, call.if_match)
    return Reply(changed.view, etag=changed.etag)


def _tagged(found: Tagged[BackendView]) -> Reply[BackendView]:
    return Reply(found.view, etag=found.etag)
