"""The HTTP application: routes behind the front, and problem documents for every path that is not there.

Anything else that serves pages (``overseer.server.web``) is handed in as ``extra``, and stands behind the same front.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from starlette.routing import BaseRoute, Router

from overseer.core.errors import Unavailable
from overseer.server.api.catalogue import ROUTES
from overseer.server.api.documentation import documentation_routes
from overseer.server.api.endpoint import Edge, Endpoint
from overseer.server.api.error_responses import problem_response
from overseer.server.api.front import FACTS, App, Front, Receive, Scope, Send, respond
from overseer.server.api.hosts import HostRule
from overseer.server.api.path_index import PathIndex
from overseer.server.api.peers import PeerRule
from overseer.server.api.route import Route


def application(
    edge: Edge,
    *,
    routes: Sequence[Route] = ROUTES,
    allowed_hosts: Iterable[str] = (),
    trusted_proxies: Sequence[str] = (),
    extra: Sequence[BaseRoute] = (),
) -> App:
    """The ASGI application. Raises ValueError where two routes share method and path, or a path names a parameter otherwise."""
    by_path: dict[str, dict[str, Route]] = {}
    for route in (*routes, *documentation_routes(routes)):
        methods = by_path.setdefault(route.path, {})
        if route.method in methods:
            raise ValueError(f"{route.method} {route.path} is declared twice")
        methods[route.method] = route
    pages = Router([*extra], redirect_slashes=False, default=_no_such_path)
    index = PathIndex({path: Endpoint(methods, edge) for path, methods in by_path.items()}, pages)
    peers = PeerRule(trusted_proxies)
    return Front(index, HostRule(allowed_hosts, peers.from_proxy), peers)


async def _no_such_path(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001  # the signature is ASGI's
    await respond(send, *problem_response(Unavailable("there is nothing at this path"), scope[FACTS].request_id))
