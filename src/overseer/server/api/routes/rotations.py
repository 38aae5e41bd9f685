"""Rotations: who is rotated when and how, and the runs of it."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import PageQuery
from overseer.server.api.route import route
from overseer.wire.messages import Page
from overseer.wire.rotations import RotationRunView, RotationSet, RotationView


@route(
    "GET",
    "/api/rotations",
    permission=Permission.SECRET_LIST,
    summary="List the secrets that have a schedule or a rotator",
    query=PageQuery,
    returns=Page[RotationView],
)
async def list_rotations(call: Call[None, PageQuery]) -> Page[RotationView]:
    return await call.services.rotations.list_rotations(call.caller, cursor=call.query.cursor, limit=call.query.limit)


@route(
    "GET",
    "/api/secrets/{secret_id}/rotation",
    permission=Permission.SECRET_LIST,
    summary="Show how a secret is rotated, and when it is due",
    returns=RotationView,
)
async def get_rotation(call: Call[None, None], secret_id: UUID) -> RotationView:
    return await call.services.rotations.get_rotation(call.caller, secret_id)


@route(
    "PATCH",
    "/api/secrets/{secret_id}/rotation",
    permission=Permission.SECRET_WRITE,
    summary="Set a schedule, a rotator, or hold the schedule; a rotator needs rotator:write, and to see what it sends",
    body=RotationSet,
    returns=RotationView,
)
async def set_rotation(call: Call[RotationSet, None], secret_id: UUID) -> RotationView:
    return await call.services.rotations.set_rotation(call.caller, secret_id, call.body)


@route(
    "POST",
    "/api/secrets/{secret_id}/rotation/runs",
    permission=Permission.SECRET_ROTATE,
    summary="Rotate now, by the rotator where there is one; the answer is the run, which goes on by itself",
    returns=RotationRunView,
    status=202,
)
async def run_rotation(call: Call[None, None], secret_id: UUID) -> RotationRunView:
    return await call.services.rotations.run_rotation(call.caller, secret_id)


@route(
    "GET",
    "/api/secrets/{secret_id}/rotation/runs",
    permission=Permission.SECRET_LIST,
    summary="List the rotations of a secret, newest first",
    query=PageQuery,
    returns=Page[RotationRunView],
)
async def list_runs(call: Call[None, PageQuery], secret_id: UUID) -> Page[RotationRunView]:
    return await call.services.rotations.list_runs(
        call.caller, secret_id, cursor=call.query.cursor, limit=call.query.limit
    )
