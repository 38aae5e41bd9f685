"""The agent's conversation: enrolment and tokens without a bearer credential, then work, release and report with one."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.route import KIBIBYTE, Open, route
from overseer.wire.agent import (
    AgentTokenAnswer,
    AgentTokenRequest,
    ConfirmRequest,
    DeploymentReport,
    EnrolAnswer,
    EnrolRequest,
    HoldingsAnswer,
    HoldingsReport,
    KeysAnswer,
    KeysRequest,
    LostAnswer,
    LostRequest,
    PollAnswer,
    PollRequest,
    ReleaseAnswer,
    ReleaseRequest,
)
from overseer.wire.deployments import DeploymentView
from overseer.wire.scopes import NodeView

#: 64 KiB of output, six times as long where it is all escaped, and the states and fingerprints beside it.
REPORT_BODY = 1024 * KIBIBYTE


@route(
    "POST",
    "/api/agent/enrol",
    permission=Open("the credential is the single-use enrolment token in the body, with a proof of the node's key"),
    summary="Enrol a node's keys",
    body=EnrolRequest,
    returns=EnrolAnswer,
)
async def enrol_node(call: Call[EnrolRequest, None]) -> EnrolAnswer:
    return await call.services.enrolment.enrol(call.caller, call.body)


@route(
    "POST",
    "/api/agent/confirm",
    permission=Open("the credential is the opened challenge, which only the holder of the node's key can send"),
    summary="Confirm an enrolment",
    body=ConfirmRequest,
    returns=NodeView,
)
async def confirm_node(call: Call[ConfirmRequest, None]) -> NodeView:
    return await call.services.enrolment.confirm(call.caller, call.body)


@route(
    "POST",
    "/api/agent/token",
    permission=Open("the credential is an assertion signed by the node's key (RFC 7523)"),
    summary="Exchange a signed assertion for a short-lived token",
    body=AgentTokenRequest,
    returns=AgentTokenAnswer,
)
async def create_agent_token(call: Call[AgentTokenRequest, None]) -> AgentTokenAnswer:
    return await call.services.enrolment.authenticate(call.caller, call.body)


@route(
    "POST",
    "/api/agent/poll",
    permission=Permission.NODE_SERVE,
    summary="Wait for work, at most 55 seconds",
    body=PollRequest,
    returns=PollAnswer,
    held=True,
)
async def poll_work(call: Call[PollRequest, None]) -> PollAnswer:
    return await call.services.agents.poll(call.caller, call.body, call.ended)


@route(
    "POST",
    "/api/agent/lost",
    permission=Permission.NODE_SERVE,
    summary="After a restart of the machine: ask which deployments may be released once more, because their files are gone",
    body=LostRequest,
    returns=LostAnswer,
)
async def ask_for_lost(call: Call[LostRequest, None]) -> LostAnswer:
    return await call.services.agents.lost(call.caller, call.body)


@route(
    "POST",
    "/api/agent/keys",
    permission=Permission.NODE_SERVE,
    summary="Replace the own node's keys, proven by the old and the new ones; /api/agent/confirm puts them in force",
    body=KeysRequest,
    returns=KeysAnswer,
)
async def rotate_node_keys(call: Call[KeysRequest, None]) -> KeysAnswer:
    return await call.services.enrolment.rotate_keys(call.caller, call.body)


@route(
    "POST",
    "/api/agent/deployments/{deployment_id}/release",
    permission=Permission.NODE_SERVE,
    summary="Get a deployment's bundle and values, sealed to the node; audited before it leaves",
    body=ReleaseRequest,
    returns=ReleaseAnswer,
)
async def release_deployment(call: Call[ReleaseRequest, None], deployment_id: UUID) -> ReleaseAnswer:
    return await call.services.agents.release(call.caller, deployment_id, call.body)


@route(
    "POST",
    "/api/agent/deployments/{deployment_id}/report",
    permission=Permission.NODE_SERVE,
    summary="Report how a deployment goes",
    body=DeploymentReport,
    returns=DeploymentView,
    body_limit=REPORT_BODY,
)
async def report_deployment(call: Call[DeploymentReport, None], deployment_id: UUID) -> DeploymentView:
    return await call.services.agents.report(call.caller, deployment_id, call.body)


@route(
    "POST",
    "/api/agent/holdings",
    permission=Permission.NODE_SERVE,
    summary="Say what the containers of the own node hold, as fingerprints; the answer does not say what matched",
    body=HoldingsReport,
    returns=HoldingsAnswer,
    body_limit=REPORT_BODY,
)
async def report_holdings(call: Call[HoldingsReport, None]) -> HoldingsAnswer:
    return await call.services.drift.holdings(call.caller, call.body)
