"""From a request for approval to exactly what is asked, for whoever may do it but for the approval.

Needs what the action itself needs, and hides what the caller may not know of as the action does. What no policy guards needs no
approval and cannot be asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import Asked, Guarded, Operation
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import is_name
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.approval_guard import (
    activation_of,
    creation_of,
    deletion_of,
    deployment_place,
    move_of,
    new_place,
    reveal_of,
    secret_place,
)
from overseer.server.services.deployment_making import TARGETS, deployment_of, rollback_of, undeployment_of
from overseer.server.services.deployment_places import authorised_place
from overseer.server.services.deployment_planning import Place
from overseer.server.services.deployment_views import deployment_resource
from overseer.server.services.gate import Entry
from overseer.server.services.places import authorise_at, find_place
from overseer.server.services.secret_access import known_secret, no_such_version
from overseer.server.services.secret_input import check_secret_name
from overseer.server.storage import deployment_rows
from overseer.server.storage.plan_rows import plan_by_digest
from overseer.server.storage.secret_rows import SecretRow, secret_by_id, secrets_at
from overseer.server.storage.version_rows import version_exists
from overseer.wire.approvals import ApprovalCreate
from overseer.wire.deployments import DeploymentCreate

_FIELDS: Final[dict[Operation, tuple[frozenset[str], frozenset[str]]]] = {
    Operation.REVEAL: (frozenset({"secret_id"}), frozenset({"version"})),
    Operation.ACTIVATE: (frozenset({"secret_id"}), frozenset({"version"})),
    Operation.DELETE: (frozenset({"secret_id"}), frozenset()),
    Operation.MOVE: (frozenset({"secret_id"}), frozenset({"app", "environment", "node", "name"})),
    Operation.CREATE: (frozenset({"name"}), frozenset({"app", "environment", "node"})),
    Operation.DEPLOY: (frozenset({"app", "node", "plan"}), frozenset({"environment"})),
    Operation.UNDEPLOY: (frozenset({"app", "node"}), frozenset({"environment"})),
    Operation.ROLLBACK: (frozenset({"deployment_id"}), frozenset()),
}
"""For each operation the fields that it needs, and those that it may have."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked, the places it touches (the first is the one it is known by), and its names for people."""

    asked: Asked
    places: Sequence[Guarded]
    names: dict[str, Any]


async def read_request(entry: Entry, body: ApprovalCreate) -> Wanted:
    """Find, authorise and read what ``body`` asks for. Raises what the action raises, and :class:`InvalidInput`."""
    operation = _operation(entry, body)
    if operation is Operation.CREATE:
        return await _creation(entry, body)
    if operation is Operation.ROLLBACK:
        return await _rollback(entry, body)
    if operation in {Operation.DEPLOY, Operation.UNDEPLOY}:
        return await _deployment(entry, body, operation)
    return await _of_secret(entry, body, operation)


def _operation(entry: Entry, body: ApprovalCreate) -> Operation:
    """Which it is, with the fields that it has. A request that says nothing that could be decided about is one that failed."""
    problems = []
    given = {name for name in ("secret_id", "version", "app", "environment", "node", "name", "plan", "deployment_id")
             if getattr(body, name) is not None}  # fmt: skip
    operation = Operation(body.action) if body.action in set(Operation) else None
    if operation is None:
        problems.append(Problem("body.action", f"one of {', '.join(Operation)}", "bad_action"))
    else:
        needed, possible = _FIELDS[operation]
        problems += [Problem(f"body.{name}", f"{operation} needs it", "missing") for name in sorted(needed - given)]
        foreign = sorted(given - needed - possible)
        problems += [Problem(f"body.{name}", f"{operation} has no such field", "foreign") for name in foreign]
    if body.target not in TARGETS:
        problems.append(Problem("body.target", "compose or swarm", "bad_target"))
    if problems or operation is None:
        entry.refuse(Resource("approval"), "unavailable")
        raise InvalidInput("the approval cannot be asked for", problems=problems)
    return operation


async def _of_secret(entry: Entry, body: ApprovalCreate, operation: Operation) -> Wanted:
    secret_id = body.secret_id or UUID(int=0)
    permission = {
        Operation.REVEAL: Permission.SECRET_REVEAL,
        Operation.DELETE: Permission.SECRET_DELETE,
        Operation.MOVE: Permission.SECRET_DELETE,
        Operation.ACTIVATE: Permission.SECRET_WRITE if body.version is None else Permission.SECRET_ACTIVATE,
    }[operation]
    if operation is Operation.ACTIVATE and body.version is None:
        permission = await _for_next_version(entry, secret_id)
    row = await known_secret(entry, secret_id, permission)
    places = [secret_place(operation, row)]
    names: dict[str, Any] = {"name": row.name, "scope": _names(row.scope_names)}
    if operation is Operation.DELETE:
        return Wanted(deletion_of(entry, row), places, names)
    if operation is Operation.MOVE:
        return await _move(entry, body, row, names)
    version = body.version
    if version is None:
        version = row.active_version if operation is Operation.REVEAL else row.latest_version + 1
    elif not await version_exists(entry.session, row.id, version):
        raise no_such_version()
    asked = reveal_of(entry, row, version) if operation is Operation.REVEAL else activation_of(entry, row, version)
    return Wanted(asked, places, names)


async def _for_next_version(entry: Entry, secret_id: UUID) -> Permission:
    """Whoever may write or rotate may make the next version."""
    row = await secret_by_id(entry.session, secret_id)
    rotates = row is not None and not entry.permits(Permission.SECRET_WRITE, row.resource())
    return Permission.SECRET_ROTATE if rotates else Permission.SECRET_WRITE


async def _move(entry: Entry, body: ApprovalCreate, row: SecretRow, names: dict[str, Any]) -> Wanted:
    if not entry.permits(Permission.SECRET_REVEAL, row.resource()):
        entry.deny("no_binding", f"to move a secret you need {Permission.SECRET_REVEAL} where it is: who may see it changes")
    name = row.name if body.name is None else check_secret_name(body.name)
    place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
    authorise_at(entry, place, Permission.SECRET_WRITE, name)
    if (place.scope, name) == (row.scope, row.name):
        raise Conflict("it is there already")
    places = [secret_place(Operation.MOVE, row), new_place(place.resource(name), row.labels)]
    names |= {"target": _names(place.names), "target_name": name}
    return Wanted(move_of(entry, row, place.scope, name), places, names)


async def _creation(entry: Entry, body: ApprovalCreate) -> Wanted:
    name = body.name or ""
    if not is_name(name):
        entry.refuse(Resource("secret"), "unavailable")
    check_secret_name(name)
    place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
    authorise_at(entry, place, Permission.SECRET_WRITE, name)
    if await secrets_at(entry.session, place.scope, name):
        raise AlreadyExists("there is a secret of that name at that scope already; add a version to it instead")
    names = {"name": name, "scope": _names(place.names)}
    return Wanted(creation_of(entry, place.scope, name), [new_place(place.resource(name), None)], names)


async def _deployment(entry: Entry, body: ApprovalCreate, operation: Operation) -> Wanted:
    order = DeploymentCreate(app=body.app or "", environment=body.environment, node=body.node, action=operation.value)
    place = await authorised_place(entry, order, body.node)
    if operation is Operation.DEPLOY:
        asked = deployment_of(entry, place, body.plan, body.target)
        await _check_plan(entry, place, body.plan or "")
    else:
        asked = await undeployment_of(entry, place)
        if asked.deployment is None:
            raise Conflict("nothing of this app runs there")
    return _at(asked, place)


async def _check_plan(entry: Entry, place: Place, digest: str) -> None:
    plan = await plan_by_digest(entry.session, digest)
    here = (place.names.app, place.names.environment, place.names.node)
    if plan is None or (plan.get("app"), plan.get("environment"), plan.get("node")) != here:
        rule = "no plan of this digest is known for this place: make it with 'overseer plan'"
        raise InvalidInput(rule, problems=[Problem("body.plan", rule, "unknown_plan")])


async def _rollback(entry: Entry, body: ApprovalCreate) -> Wanted:
    deployment_id = body.deployment_id or UUID(int=0)
    old = await deployment_rows.deployment_by_id(entry.session, deployment_id)
    if old is None:
        entry.missing(Resource("deployment", id=deployment_id))
    entry.authorise(Permission.APP_DEPLOY, deployment_resource(old), hide_without=Permission.DEPLOYMENT_LIST)
    if old.action != "deploy" or old.state != "succeeded":
        raise Conflict("only a deployment that succeeded can be gone back to: see `overseer deployment list`")
    return _at(rollback_of(entry, old), Place(old.scope, old.scope_names))


def _at(asked: Asked, place: Place) -> Wanted:
    names = {"name": asked.name, "scope": _names(place.names)}
    return Wanted(asked, [deployment_place(asked.name, place.scope, place.names)], names)


def _names(scope: Scope[str]) -> list[str | None]:
    return [scope.app, scope.environment, scope.node]
