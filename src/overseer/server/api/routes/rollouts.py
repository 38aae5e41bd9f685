"""Rollouts: list, show, withdraw. One starts with a rotation, an update or an activation of its secret."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import RolloutsQuery
from overseer.server.api.route import route
from overseer.wire.messages import Page
from overseer.wire.rollouts import RolloutView


@route(
    "GET",
    "/api/rollouts",
    permission=Permission.SECRET_LIST,
    summary="List rollouts, newest first",
    query=RolloutsQuery,
    returns=Page[RolloutView],
)
async def list_rollouts(call: Call[None, RolloutsQuery]) -> Page[RolloutView]:
    q = call.query
    return await call.services.rollouts.list_rollouts(
        call.caller, state=q.state, secret=q.secret, cursor=q.cursor, limit=q.limit
    )


@route(
    "GET",
    "/api/rollouts/{rollout_id}",
    permission=Permission.SECRET_LIST,
    summary="Show a rollout: its nodes and what became of each",
    returns=RolloutView,
)
async def get_rollout(call: Call[None, None], rollout_id: UUID) -> RolloutView:
    return await call.services.rollouts.get_rollout(call.caller, rollout_id)


@route(
    "POST",
    "/api/rollouts/{rollout_id}/withdraw",
    permission=Permission.SECRET_ACTIVATE,
    summary="Withdraw a running rollout: every node gets the previous version back",
    returns=RolloutView,
)
async def withdraw_rollout(call: Call[None, None], rollout_id: UUID) -> RolloutView:
    return await call.services.rollouts.withdraw_rollout(call.caller, rollout_id)
