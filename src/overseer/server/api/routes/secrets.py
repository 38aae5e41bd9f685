"""Secrets: the mission's endpoints, versions, resolution and explanation."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, Reply
from overseer.server.api.queries import ForceQuery, PageQuery, SecretsQuery
from overseer.server.api.route import LARGE_BODY, route
from overseer.server.api.value_answers import value_answer
from overseer.server.services.tagged import Tagged
from overseer.wire.messages import Page
from overseer.wire.secret_batches import SecretBatch, SecretBatchAnswer, SecretMove, SecretMoved
from overseer.wire.secrets import (
    ExplainAnswer,
    ExplainRequest,
    ResolveAnswer,
    ResolveRequest,
    SecretActivate,
    SecretCreate,
    SecretPatch,
    SecretRotate,
    SecretUpdate,
    SecretView,
    ValueAnswer,
    ValueRequest,
    VersionView,
)

#: So many ids stand in a header at most.
MAX_NOTED: Final = 50


@route(
    "POST",
    "/api/secrets",
    permission=Permission.SECRET_WRITE,
    summary="Create a secret at a scope",
    body=SecretCreate,
    returns=SecretView,
    status=201,
    body_limit=LARGE_BODY,
    location="/api/secrets/{id}",
    tagged=True,
)
async def create_secret(call: Call[SecretCreate, None]) -> Reply[SecretView]:
    return _tagged(await call.services.secrets.create(call.caller, call.body, call.idempotency))


@route(
    "GET",
    "/api/secrets",
    permission=Permission.SECRET_LIST,
    summary="List secrets, their metadata only, that the caller may list",
    query=SecretsQuery,
    returns=Page[SecretView],
)
async def list_secrets(call: Call[None, SecretsQuery]) -> Page[SecretView]:
    q = call.query
    return await call.services.secrets.list(
        call.caller,
        app=q.app,
        environment=q.environment,
        node=q.node,
        scope=q.scope,
        name=q.name,
        label=q.label,
        q=q.q,
        cursor=q.cursor,
        limit=q.limit,
    )


# Before the paths with an id, which would take its word for one.
@route(
    "POST",
    "/api/secrets/batch",
    permission=Permission.SECRET_WRITE,
    summary="Change up to 500 secrets in one moment, all or nothing; each operation needs what its own request needs",
    body=SecretBatch,
    returns=SecretBatchAnswer,
    body_limit=LARGE_BODY,
)
async def change_secrets(call: Call[SecretBatch, None]) -> SecretBatchAnswer:
    return await call.services.secrets.batch(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/secrets/{secret_id}",
    permission=Permission.SECRET_LIST,
    summary="Show a secret's metadata, never its value",
    returns=SecretView,
    tagged=True,
)
async def get_secret(call: Call[None, None], secret_id: UUID) -> Reply[SecretView]:
    return _tagged(await call.services.secrets.get(call.caller, secret_id))


@route(
    "PUT",
    "/api/secrets/{secret_id}",
    permission=Permission.SECRET_WRITE,
    summary="Add a version with a new value",
    body=SecretUpdate,
    returns=SecretView,
    body_limit=LARGE_BODY,
    tagged=True,
)
async def update_secret(call: Call[SecretUpdate, None], secret_id: UUID) -> Reply[SecretView]:
    return _tagged(await call.services.secrets.update(call.caller, secret_id, call.body, call.if_match, call.idempotency))


@route(
    "PATCH",
    "/api/secrets/{secret_id}",
    permission=Permission.SECRET_WRITE,
    summary="Change metadata; the versions stay",
    body=SecretPatch,
    returns=SecretView,
    tagged=True,
)
async def patch_secret(call: Call[SecretPatch, None], secret_id: UUID) -> Reply[SecretView]:
    return _tagged(await call.services.secrets.patch(call.caller, secret_id, call.body, call.if_match))


@route(
    "DELETE",
    "/api/secrets/{secret_id}",
    permission=Permission.SECRET_DELETE,
    summary="Delete a secret with all of its history; refused while something that is deployed uses it, unless force is true",
    query=ForceQuery,
    status=204,
    tagged=True,
    notes={"Overseer-Unshadows": "Ids of secrets that consumers may get instead from now on, as far as the caller may list them"},
)
async def delete_secret(call: Call[None, ForceQuery], secret_id: UUID) -> Reply[None]:
    unshadowed = await call.services.secrets.delete(call.caller, secret_id, call.if_match, force=call.query.force)
    return Reply(None, notes={"Overseer-Unshadows": ", ".join(one.id for one in unshadowed[:MAX_NOTED])} if unshadowed else {})


@route(
    "POST",
    "/api/secrets/{secret_id}/move",
    permission=Permission.SECRET_DELETE,
    summary="Move a secret to another scope or name; it needs secret:reveal as well, and secret:write at the new place",
    body=SecretMove,
    returns=SecretMoved,
    tagged=True,
)
async def move_secret(call: Call[SecretMove, None], secret_id: UUID) -> Reply[SecretMoved]:
    moved = await call.services.secrets.move(call.caller, secret_id, call.body, call.if_match, call.idempotency)
    return Reply(moved.view, etag=moved.etag)


@route(
    "POST",
    "/api/secrets/{secret_id}/value",
    permission=Permission.SECRET_REVEAL,
    summary="Reveal a value; the audit row is committed before the value leaves",
    body=ValueRequest,
    returns=ValueAnswer,
)
async def reveal_secret(call: Call[ValueRequest, None], secret_id: UUID) -> ValueAnswer:
    return value_answer(await call.services.secrets.reveal(call.caller, secret_id, call.body))


@route(
    "POST",
    "/api/secrets/{secret_id}/rotate",
    permission=Permission.SECRET_ROTATE,
    summary="Add a version with a generated or a given value and make it the active one",
    body=SecretRotate,
    returns=SecretView,
    body_limit=LARGE_BODY,
    tagged=True,
)
async def rotate_secret(call: Call[SecretRotate, None], secret_id: UUID) -> Reply[SecretView]:
    return _tagged(await call.services.secrets.rotate(call.caller, secret_id, call.body, call.if_match, call.idempotency))


@route(
    "GET",
    "/api/secrets/{secret_id}/versions",
    permission=Permission.SECRET_LIST,
    summary="List the versions of a secret, newest first, without values",
    query=PageQuery,
    returns=Page[VersionView],
)
async def list_versions(call: Call[None, PageQuery], secret_id: UUID) -> Page[VersionView]:
    return await call.services.secrets.versions(call.caller, secret_id, call.query.cursor, call.query.limit)


@route(
    "POST",
    "/api/secrets/{secret_id}/activate",
    permission=Permission.SECRET_ACTIVATE,
    summary="Make another version the active one",
    body=SecretActivate,
    returns=SecretView,
    tagged=True,
)
async def activate_version(call: Call[SecretActivate, None], secret_id: UUID) -> Reply[SecretView]:
    return _tagged(await call.services.secrets.activate(call.caller, secret_id, call.body, call.if_match, call.idempotency))


@route(
    "POST",
    "/api/resolve",
    permission=Permission.SECRET_REVEAL,
    summary="Reveal what a consumer at a scope gets, all names or nothing",
    body=ResolveRequest,
    returns=ResolveAnswer,
)
async def resolve_secrets(call: Call[ResolveRequest, None]) -> ResolveAnswer:
    return ResolveAnswer(values=[value_answer(value) for value in await call.services.resolve.resolve(call.caller, call.body)])


@route(
    "POST",
    "/api/explain",
    permission=Permission.SECRET_LIST,
    summary="Say which secret of a name wins at a scope, and what it shadows",
    body=ExplainRequest,
    returns=ExplainAnswer,
)
async def explain_secret(call: Call[ExplainRequest, None]) -> ExplainAnswer:
    return await call.services.resolve.explain(call.caller, call.body)


def _tagged(tagged: Tagged[SecretView]) -> Reply[SecretView]:
    return Reply(tagged.view, etag=tagged.etag)
