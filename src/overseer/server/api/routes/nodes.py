"""Nodes and the tokens that enrol their agents."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.route import route
from overseer.wire.messages import Page
from overseer.wire.scopes import EnrolmentTokenCreate, EnrolmentTokenCreated, NodeCreate, NodePatch, NodeView


@route(
    "POST",
    "/api/nodes",
    permission=Permission.NODE_WRITE,
    summary="Create a node, before its agent joins",
    body=NodeCreate,
    returns=NodeView,
    status=201,
    location="/api/nodes/{name}",
)
async def create_node(call: Call[NodeCreate, None]) -> NodeView:
    return await call.services.nodes.create_node(call.caller, call.body, call.idempotency)


@route("GET", "/api/nodes", permission=Permission.NODE_LIST, summary="List nodes", returns=Page[NodeView])
async def list_nodes(call: Call[None, None]) -> Page[NodeView]:
    return await call.services.nodes.list_nodes(call.caller)


@route("GET", "/api/nodes/{name}", permission=Permission.NODE_LIST, summary="Show a node", returns=NodeView)
async def get_node(call: Call[None, None], name: str) -> NodeView:
    return await call.services.nodes.get_node(call.caller, name)


@route(
    "PATCH",
    "/api/nodes/{name}",
    permission=Permission.NODE_WRITE,
    summary="Change a node's description or labels, or drain it: no new deployments",
    body=NodePatch,
    returns=NodeView,
)
async def patch_node(call: Call[NodePatch, None], name: str) -> NodeView:
    return await call.services.nodes.patch_node(call.caller, name, call.body)


@route(
    "POST",
    "/api/nodes/{name}/revoke",
    permission=Permission.NODE_WRITE,
    summary="Revoke a node: its credentials and keys end with the next request",
    returns=NodeView,
)
async def revoke_node(call: Call[None, None], name: str) -> NodeView:
    return await call.services.nodes.revoke_node(call.caller, name)


@route(
    "POST",
    "/api/enrolment-tokens",
    permission=Permission.NODE_WRITE,
    summary="Create a single-use token with which a node's agent enrols; it is shown once",
    body=EnrolmentTokenCreate,
    returns=EnrolmentTokenCreated,
    status=201,
)
async def create_enrolment_token(call: Call[EnrolmentTokenCreate, None]) -> EnrolmentTokenCreated:
    return await call.services.nodes.create_enrolment_token(call.caller, call.body)
