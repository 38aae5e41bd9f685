"""The apps, environments and nodes that a visitor may see, for the choices of a form."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from overseer.core.errors import Denied
from overseer.core.permissions import Permission
from overseer.server.web.visit import Visit


@dataclass(frozen=True, slots=True)
class Places:
    """Names, in order; empty where the visitor may see none."""

    apps: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


async def known_places(visit: Visit) -> Places:
    """What the visitor may choose from; a part that is not theirs to see is left empty, and can be typed."""
    services, caller = visit.services, visit.caller
    apps: tuple[str, ...] = ()
    environments: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    if visit.may(Permission.APP_LIST):
        with suppress(Denied):
            apps = tuple(view.name for view in (await services.scopes.list_apps(caller)).items)
    if visit.may(Permission.ENVIRONMENT_LIST):
        with suppress(Denied):
            environments = tuple(view.name for view in (await services.scopes.list_environments(caller)).items)
    if visit.may(Permission.NODE_LIST):
        with suppress(Denied):
            nodes = tuple(view.name for view in (await services.nodes.list_nodes(caller)).items)
    return Places(apps, environments, nodes)
