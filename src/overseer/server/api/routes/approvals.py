"""Approvals: policies, requests, decisions."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, Reply
from overseer.server.api.queries import ApprovalsQuery, PageQuery
from overseer.server.api.route import AnyIdentity, route
from overseer.server.services.tagged import Tagged
from overseer.wire.approvals import (
    ApprovalCreate,
    ApprovalDecision,
    ApprovalPolicyCreate,
    ApprovalPolicyPatch,
    ApprovalPolicyView,
    ApprovalView,
)
from overseer.wire.messages import Page

_OWN = AnyIdentity("everybody sees their own requests; others' need approval:decide or approval:list over what is asked for")


@route(
    "POST",
    "/api/approval-policies",
    permission=Permission.APPROVAL_POLICY_WRITE,
    summary="Make a policy: what waits for the approval of other people",
    body=ApprovalPolicyCreate,
    returns=ApprovalPolicyView,
    status=201,
    location="/api/approval-policies/{id}",
    tagged=True,
)
async def create_approval_policy(call: Call[ApprovalPolicyCreate, None]) -> Reply[ApprovalPolicyView]:
    return _tagged(await call.services.approvals.create_policy(call.caller, call.body, call.idempotency))


@route(
    "GET",
    "/api/approval-policies",
    permission=Permission.APPROVAL_LIST,
    summary="List policies of approvals",
    query=PageQuery,
    returns=Page[ApprovalPolicyView],
)
async def list_approval_policies(call: Call[None, PageQuery]) -> Page[ApprovalPolicyView]:
    return await call.services.approvals.list_policies(call.caller, call.query.cursor, call.query.limit)


@route(
    "GET",
    "/api/approval-policies/{policy_id}",
    permission=Permission.APPROVAL_LIST,
    summary="Show a policy of approvals",
    returns=ApprovalPolicyView,
    tagged=True,
)
async def get_approval_policy(call: Call[None, None], policy_id: UUID) -> Reply[ApprovalPolicyView]:
    return _tagged(await call.services.approvals.get_policy(call.caller, policy_id))


@route(
    "PATCH",
    "/api/approval-policies/{policy_id}",
    permission=Permission.APPROVAL_POLICY_WRITE,
    summary="Change a policy of approvals; it needs the permission over all that it selects, before and after",
    body=ApprovalPolicyPatch,
    returns=ApprovalPolicyView,
    tagged=True,
)
async def patch_approval_policy(call: Call[ApprovalPolicyPatch, None], policy_id: UUID) -> Reply[ApprovalPolicyView]:
    return _tagged(await call.services.approvals.patch_policy(call.caller, policy_id, call.body, call.if_match))


@route(
    "DELETE",
    "/api/approval-policies/{policy_id}",
    permission=Permission.APPROVAL_POLICY_WRITE,
    summary="Delete a policy of approvals",
    status=204,
    tagged=True,
)
async def delete_approval_policy(call: Call[None, None], policy_id: UUID) -> None:
    await call.services.approvals.delete_policy(call.caller, policy_id, call.if_match)


@route(
    "POST",
    "/api/approvals",
    permission=AnyIdentity("it needs the permission of the action that it asks for, over what that acts on"),
    summary="Ask other people to approve exactly one action",
    body=ApprovalCreate,
    returns=ApprovalView,
    status=201,
    location="/api/approvals/{id}",
)
async def create_approval(call: Call[ApprovalCreate, None]) -> ApprovalView:
    return await call.services.approvals.ask(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/approvals",
    permission=_OWN,
    summary="List requests for approval",
    query=ApprovalsQuery,
    returns=Page[ApprovalView],
)
async def list_approvals(call: Call[None, ApprovalsQuery]) -> Page[ApprovalView]:
    q = call.query
    return await call.services.approvals.list_approvals(
        call.caller, view=q.view, state=q.state, action=q.action, cursor=q.cursor, limit=q.limit
    )


@route(
    "GET",
    "/api/approvals/{approval_id}",
    permission=_OWN,
    summary="Show a request for approval",
    returns=ApprovalView,
)
async def get_approval(call: Call[None, None], approval_id: UUID) -> ApprovalView:
    return await call.services.approvals.get_approval(call.caller, approval_id)


@route(
    "POST",
    "/api/approvals/{approval_id}/decision",
    permission=Permission.APPROVAL_DECIDE,
    summary="Approve or refuse what somebody else asks for",
    body=ApprovalDecision,
    returns=ApprovalView,
)
async def decide_approval(call: Call[ApprovalDecision, None], approval_id: UUID) -> ApprovalView:
    return await call.services.approvals.decide(call.caller, approval_id, call.body)


@route(
    "POST",
    "/api/approvals/{approval_id}/withdraw",
    permission=AnyIdentity("everybody may take back what they asked for"),
    summary="Take a request for approval back",
    returns=ApprovalView,
)
async def withdraw_approval(call: Call[None, None], approval_id: UUID) -> ApprovalView:
    return await call.services.approvals.withdraw_approval(call.caller, approval_id)


def _tagged(tagged: Tagged[ApprovalPolicyView]) -> Reply[ApprovalPolicyView]:
    return Reply(tagged.view, etag=tagged.etag)
