"""Nodes and the tokens that enrol their agents."""

from __future__ import annotations

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, Reply
from overseer.server.api.queries import CascadeQuery, PageQuery
from overseer.server.api.route import route
from overseer.wire.messages import Page
from overseer.wire.scopes import (
    ContentsView,
    EnrolmentTokenCreate,
    EnrolmentTokenCreated,
    NodeCreate,
    NodePatch,
    NodeView,
)


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


@route(
    "GET",
    "/api/nodes",
    permission=Permission.NODE_LIST,
    summary="List nodes",
    query=PageQuery,
    returns=Page[NodeView],
)
async def list_nodes(call: Call[None, PageQuery]) -> Page[NodeView]:
    return await call.services.nodes.list_nodes(call.caller, call.query.cursor, call.query.limit)


@route("GET", "/api/nodes/{name}", permission=Permission.NODE_LIST, summary="Show a node", returns=NodeView, tagged=True)
async def get_node(call: Call[None, None], name: str) -> Reply[NodeView]:
    found = await call.services.nodes.get_node(call.caller, name)
    return Reply(found.view, etag=found.etag)


@route(
    "PATCH",
    "/api/nodes/{name}",
    permission=Permission.NODE_WRITE,
    summary="Change a node's description or labels, or drain it: no new deployments",
    body=NodePatch,
    returns=NodeView,
    tagged=True,
)
async def patch_node(call: Call[NodePatch, None], name: str) -> Reply[NodeView]:
    found = await call.services.nodes.patch_node(call.caller, name, call.body, call.if_match)
    return Reply(found.view, etag=found.etag)


@route(
    "GET",
    "/api/nodes/{name}/contents",
    permission=Permission.NODE_WRITE,
    summary="List what belongs to a node and would go with it",
    returns=ContentsView,
)
async def show_contents_of_node(call: Call[None, None], name: str) -> ContentsView:
    return await call.services.nodes.contents_of_node(call.caller, name)


@route(
    "DELETE",
    "/api/nodes/{name}",
    permission=Permission.NODE_WRITE,
    summary="Delete a revoked node that nothing belongs to, or with cascade what belongs to it, too; refused while it is in use",
    query=CascadeQuery,
    returns=ContentsView,
    may_be_empty=True,
)
async def delete_node(call: Call[None, CascadeQuery], name: str) -> Reply[ContentsView] | Reply[None]:
    went = await call.services.nodes.delete_node(call.caller, name, cascade=call.query.cascade)
    return Reply(None) if went is None else Reply(went)


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
