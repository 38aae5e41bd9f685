"""Every route of the API, in the order in which paths are tried: the busiest noun first."""

from __future__ import annotations

from typing import Final

from overseer.server.api.route import Route, routes_of
from overseer.server.api.routes import (
    access_reviews,
    agents,
    approvals,
    audit,
    audit_log,
    backends,
    backups,
    deployments,
    external_sign_in,
    grants,
    identities,
    imports,
    keys,
    migrations,
    nodes,
    plans,
    rollouts,
    rotations,
    scopes,
    secrets,
    server_state,
    sign_in,
    usage,
    users,
)

ROUTE_MODULES: Final = (
    secrets,
    backends,
    imports,
    migrations,
    agents,
    server_state,
    deployments,
    plans,
    rollouts,
    rotations,
    usage,
    scopes,
    nodes,
    identities,
    sign_in,
    external_sign_in,
    users,
    grants,
    access_reviews,
    approvals,
    keys,
    backups,
    audit,
    audit_log,
)
ROUTES: Final[tuple[Route, ...]] = tuple(route for module in ROUTE_MODULES for route in routes_of(module))
