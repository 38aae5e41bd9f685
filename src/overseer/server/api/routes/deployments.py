"""Bundles of Compose files and their deployments, as people and CI ask for them."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import DeploymentsQuery
from overseer.server.api.route import LARGE_BODY, route
from overseer.wire.deployments import BundleCreate, BundleView, DeploymentCreate, DeploymentView
from overseer.wire.messages import Page


@route(
    "POST",
    "/api/apps/{name}/bundles",
    permission=Permission.APP_BUNDLE_WRITE,
    summary="Store a bundle of an app, encrypted; an equal bundle is stored once",
    body=BundleCreate,
    returns=BundleView,
    status=201,
    body_limit=LARGE_BODY,
    location="/api/apps/{app}/bundles/{id}",
)
async def create_bundle(call: Call[BundleCreate, None], name: str) -> BundleView:
    return await call.services.bundles.create_bundle(call.caller, name, call.body, call.idempotency)


@route(
    "GET",
    "/api/apps/{name}/bundles",
    permission=Permission.DEPLOYMENT_LIST,
    summary="List the bundles of an app, without their contents",
    returns=Page[BundleView],
)
async def list_bundles(call: Call[None, None], name: str) -> Page[BundleView]:
    return await call.services.bundles.list_bundles(call.caller, name)


@route(
    "POST",
    "/api/deployments",
    permission=Permission.APP_DEPLOY,
    summary="Deploy a stored bundle on a node, or undeploy; needs secret:use on every secret it refers to",
    body=DeploymentCreate,
    returns=DeploymentView,
    status=201,
    location="/api/deployments/{id}",
)
async def create_deployment(call: Call[DeploymentCreate, None]) -> DeploymentView:
    return await call.services.deployments.create_deployment(call.caller, call.body, call.idempotency)


@route(
    "GET",
    "/api/deployments",
    permission=Permission.DEPLOYMENT_LIST,
    summary="List deployments, newest first",
    query=DeploymentsQuery,
    returns=Page[DeploymentView],
)
async def list_deployments(call: Call[None, DeploymentsQuery]) -> Page[DeploymentView]:
    q = call.query
    return await call.services.deployments.list_deployments(
        call.caller, app=q.app, environment=q.environment, node=q.node, state=q.state, cursor=q.cursor, limit=q.limit
    )


@route(
    "GET",
    "/api/deployments/{deployment_id}",
    permission=Permission.DEPLOYMENT_LIST,
    summary="Show a deployment: its state, references and redacted output",
    returns=DeploymentView,
)
async def get_deployment(call: Call[None, None], deployment_id: UUID) -> DeploymentView:
    return await call.services.deployments.get_deployment(call.caller, deployment_id)
