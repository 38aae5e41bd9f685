"""Questions about access: why one may or may not, and who may what."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import AccessReviewQuery
from overseer.server.api.route import AnyIdentity, route
from overseer.wire.messages import Page
from overseer.wire.reviews import AccessEntry, AccessExplainRequest, AccessExplanation


@route(
    "POST",
    "/api/access/explain",
    permission=AnyIdentity("everybody may ask about themselves; about others it needs access:review"),
    summary="Say whether a principal may do something with a secret, by which binding, or what is lacking",
    body=AccessExplainRequest,
    returns=AccessExplanation,
)
async def explain_access(call: Call[AccessExplainRequest, None]) -> AccessExplanation:
    return await call.services.access.explain(call.caller, call.body)


@route(
    "GET",
    "/api/access/review",
    permission=Permission.ACCESS_REVIEW,
    summary="List who may do what with secrets",
    query=AccessReviewQuery,
    returns=Page[AccessEntry],
)
async def review_access(call: Call[None, AccessReviewQuery]) -> Page[AccessEntry]:
    q = call.query
    return await call.services.access.review(
        call.caller,
        permission=q.permission,
        principal=q.principal,
        secret=q.secret,
        app=q.app,
        environment=q.environment,
        node=q.node,
        name=q.name,
        cursor=q.cursor,
        limit=q.limit,
    )
