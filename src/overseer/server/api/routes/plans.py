"""Plans: what a deployment would change."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.route import LARGE_BODY, route
from overseer.wire.plans import PlanCreate, PlanView


@route(
    "POST",
    "/api/plans",
    permission=Permission.DEPLOYMENT_LIST,
    summary="Say what a deployment would change, without a value; needs secret:list on every secret it refers to",
    body=PlanCreate,
    returns=PlanView,
    body_limit=LARGE_BODY,
)
async def create_plan(call: Call[PlanCreate, None]) -> PlanView:
    return await call.services.plans.create_plan(call.caller, call.body)
