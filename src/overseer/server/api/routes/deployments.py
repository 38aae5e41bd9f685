"""Bundles of Compose files and their deployments, as people and CI ask for them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, EventStream
from overseer.server.api.queries import DeploymentsQuery, PageQuery
from overseer.server.api.route import LARGE_BODY, route
from overseer.server.services.deployment_watch import DeploymentWatch
from overseer.wire.deployments import (
    BundleCreate,
    BundleView,
    DeploymentCreate,
    DeploymentEvent,
    DeploymentGroupView,
    DeploymentRollback,
    DeploymentView,
    VerificationView,
)
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
)
async def create_bundle(call: Call[BundleCreate, None], name: str) -> BundleView:
    return await call.services.bundles.create_bundle(call.caller, name, call.body, call.idempotency)


@route(
    "GET",
    "/api/apps/{name}/bundles",
    permission=Permission.DEPLOYMENT_LIST,
    summary="List the bundles of an app, newest first, without their contents",
    query=PageQuery,
    returns=Page[BundleView],
)
async def list_bundles(call: Call[None, PageQuery], name: str) -> Page[BundleView]:
    return await call.services.bundles.list_bundles(call.caller, name, call.query.cursor, call.query.limit)


@route(
    "POST",
    "/api/deployments",
    permission=Permission.APP_DEPLOY,
    summary="Deploy a stored bundle on one node or several, or undeploy; needs secret:use on every secret it refers to",
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


@route(
    "GET",
    "/api/deployments/{deployment_id}/events",
    permission=Permission.DEPLOYMENT_LIST,
    summary="Follow a deployment: its states and its redacted output as they come, until it has ended",
    returns=DeploymentEvent,
    streams=True,
)
async def watch_deployment(call: Call[None, None], deployment_id: UUID) -> EventStream:
    return EventStream(_events(await call.services.deployments.watch(call.caller, deployment_id, call.last_event_id)))


@route(
    "POST",
    "/api/deployments/{deployment_id}/rollback",
    permission=Permission.APP_DEPLOY,
    summary="Deploy the bundle of an earlier deployment again, with exactly the versions that it had",
    body=DeploymentRollback,
    returns=DeploymentView,
    status=201,
    location="/api/deployments/{id}",
)
async def rollback_deployment(call: Call[DeploymentRollback, None], deployment_id: UUID) -> DeploymentView:
    return await call.services.deployments.rollback(call.caller, deployment_id, call.body, call.idempotency)


@route(
    "GET",
    "/api/deployments/{deployment_id}/verification",
    permission=Permission.DEPLOYMENT_LIST,
    summary="Compare what containers hold with what they should hold, by the agent's last report",
    returns=VerificationView,
)
async def verify_deployment(call: Call[None, None], deployment_id: UUID) -> VerificationView:
    return await call.services.deployments.verify(call.caller, deployment_id)


@route(
    "GET",
    "/api/deployment-groups/{group_id}",
    permission=Permission.DEPLOYMENT_LIST,
    summary="Show the deployments that were ordered together for several nodes",
    returns=DeploymentGroupView,
)
async def get_deployment_group(call: Call[None, None], group_id: UUID) -> DeploymentGroupView:
    return await call.services.deployments.get_group(call.caller, group_id)


@route(
    "GET",
    "/api/deployment-groups/{group_id}/events",
    permission=Permission.DEPLOYMENT_LIST,
    summary="Follow all deployments of a group, until they have ended",
    returns=DeploymentEvent,
    streams=True,
)
async def watch_deployment_group(call: Call[None, None], group_id: UUID) -> EventStream:
    return EventStream(_events(await call.services.deployments.watch_group(call.caller, group_id, call.last_event_id)))


async def _events(watch: DeploymentWatch) -> AsyncGenerator[tuple[str, str, DeploymentEvent] | None, None]:
    updates = watch.updates()
    try:
        async for update in updates:
            yield None if update is None else (update.position, update.kind, update.event)
    finally:
        await updates.aclose()
