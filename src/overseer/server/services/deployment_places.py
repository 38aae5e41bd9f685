"""Where deployments go: the app, the environment and the nodes of a request, with the permission on each of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from overseer.core.access import Resource
from overseer.core.errors import Conflict, InvalidInput, Problem
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.deployment_planning import Place
from overseer.server.services.gate import Entry
from overseer.server.services.places import find_place
from overseer.server.storage.group_rows import TargetRow, targets
from overseer.server.storage.scope_rows import find_scope
from overseer.wire.deployments import DeploymentCreate

MAX_NODES: Final = 200
_TARGET_RULE: Final = "exactly one of node, nodes and labels"


async def authorised_places(entry: Entry, body: DeploymentCreate) -> list[Place]:
    """The places of a request, each with its decision about ``app:deploy``, in the order of their turn.

    Raises :class:`InvalidInput` for a wrong selection, :class:`Conflict` for a revoked node and for a drained one (but to
    undeploy); nobody learns of a node at which they could not deploy.
    """
    chosen = [one for one in (body.node, body.nodes, body.labels) if one is not None]
    if len(chosen) != 1 or body.nodes == [] or body.labels == {}:
        await authorised_place(entry, body, None)
        raise InvalidInput(_TARGET_RULE, problems=[Problem("body.node", _TARGET_RULE, "bad_target")])
    if body.node is not None:
        place = await authorised_place(entry, body, body.node)
        await check_nodes(entry, [body.node], body.action)
        return [place]
    if body.nodes is not None:
        names: Sequence[str] = list(dict.fromkeys(body.nodes))
    else:
        names = [target.name for target in await targets(entry.session, labels=body.labels or {})]
    if not 1 <= len(names) <= MAX_NODES:
        await authorised_place(entry, body, None)
        rule = f"1 to {MAX_NODES} nodes" if names else "no node has all of these labels"
        raise InvalidInput(rule, problems=[Problem("body.nodes" if names else "body.labels", rule, "bad_target")])
    places = [await authorised_place(entry, body, name) for name in names]
    await check_nodes(entry, names, body.action)
    return places


async def authorised_place(entry: Entry, body: DeploymentCreate, node: str | None) -> Place:
    """One place with its decision; ``node`` None asks for the app as a whole."""
    names = Scope(body.app, body.environment, node)
    found = await find_scope(entry.session, names)
    if found.missing:
        resource = Resource("deployment", body.app, scope_names=names)
        place = await find_place(entry.session, names)
        if place.known_to(entry):
            entry.refuse(resource, "unavailable")
            raise place.unknown()
        entry.missing(resource)
    resource = Resource("deployment", body.app, found.scope, scope_names=names)
    entry.authorise(Permission.APP_DEPLOY, resource, hide_without=Permission.DEPLOYMENT_LIST)
    return Place(found.scope, names)


async def check_nodes(entry: Entry, names: Sequence[str], action: str) -> None:
    """Raise :class:`Conflict` for a node that was revoked, or that is drained unless ``action`` is undeploy."""
    found: dict[str, TargetRow] = {one.name: one for one in await targets(entry.session, names=names)}
    for name in names:
        target = found.get(name)
        if target is None or target.state == "revoked":
            raise Conflict(f"node {name} was revoked: enrol it again, or choose another one")
        if target.drained and action != "undeploy":
            raise Conflict(f"node {name} is drained and takes no new deployments; choose another one")
