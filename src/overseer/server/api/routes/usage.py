"""Where secrets are used, where containers drifted, and what to rotate after a compromise."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import DriftQuery, UsageQuery
from overseer.server.api.route import route
from overseer.wire.messages import Page
from overseer.wire.usage import CompromisedPlan, CompromisedRequest, DriftView, UsageView


@route(
    "GET",
    "/api/secrets/{secret_id}/usage",
    permission=Permission.SECRET_LIST,
    summary="Show what runs with a secret: apps, nodes, services, containers and the version of each",
    returns=UsageView,
)
async def show_usage(call: Call[None, None], secret_id: UUID) -> UsageView:
    return await call.services.usage.usage(call.caller, secret_id)


@route(
    "GET",
    "/api/usage",
    permission=Permission.SECRET_LIST,
    summary="List secrets that nothing uses, or that something runs with another version of than the active one",
    query=UsageQuery,
    returns=Page[UsageView],
)
async def list_usage(call: Call[None, UsageQuery]) -> Page[UsageView]:
    return await call.services.usage.report(call.caller, call.query.filter, call.query.cursor, call.query.limit)


@route(
    "GET",
    "/api/drift",
    permission=Permission.DEPLOYMENT_LIST,
    summary="List what is not as it was deployed: other values, containers that are gone, and what nobody has checked",
    query=DriftQuery,
    returns=Page[DriftView],
)
async def list_drift(call: Call[None, DriftQuery]) -> Page[DriftView]:
    q = call.query
    return await call.services.drift.drift(
        call.caller, app=q.app, environment=q.environment, node=q.node, cursor=q.cursor, limit=q.limit
    )


@route(
    "POST",
    "/api/compromised",
    permission=Permission.AUDIT_READ,
    summary="Plan the rotations after a compromise of secrets, a node or a principal; of secrets that the caller may list",
    body=CompromisedRequest,
    returns=CompromisedPlan,
)
async def plan_rotations(call: Call[CompromisedRequest, None]) -> CompromisedPlan:
    return await call.services.compromise.plan(call.caller, call.body)
