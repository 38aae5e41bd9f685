"""Rollouts as people see them and take them back. They start with an activation (``secret_writing``) and go on by themselves.

A rollout is seen by whoever may list its secret, and of its nodes those on which the caller may list deployments. Withdrawing
one needs what activating a version needs.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from overseer.core.access import Allowed, Resource, decide, sees_part
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, InvalidInput, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.secret_access import lock_as_seen
from overseer.server.storage import rollout_rows
from overseer.server.storage.rollout_rows import RolloutNodeRow, RolloutRow, StepRow
from overseer.server.storage.secret_rows import SecretRow, secret_by_id, secrets_by_id
from overseer.wire.messages import Page
from overseer.wire.rollouts import RolloutNodeView, RolloutStepView, RolloutView
from overseer.wire.secrets import ScopeView

STATES: Final = frozenset({"running", "succeeded", "withdrawn"})
MAX_LIMIT: Final = 200
_CHUNK: Final = 200
_MAX_CHUNKS: Final = 25


class RolloutService:
    """See the module's text."""

    def __init__(self, gate: Gate, driver: RolloutDriver) -> None:
        self._gate = gate
        self._driver = driver

    async def list_rollouts(
        self,
        caller: Caller,
        *,
        state: str | None = None,
        secret: UUID | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[RolloutView]:
        """Rollouts of secrets that the caller may list, newest first; ``limit`` 1 to 200, ``secret`` an id."""
        async with self._gate.enter(caller, AuditAction.ROLLOUT_LIST) as entry:
            entry.authorise_list(Permission.SECRET_LIST, Resource("rollout"))
            before = _cursor(cursor)
            if not 1 <= limit <= MAX_LIMIT or (state is not None and state not in STATES):
                rule = f"limit is 1 to {MAX_LIMIT}, state is one of {', '.join(sorted(STATES))}"
                raise InvalidInput(rule, problems=[Problem("query", rule, "bad_filter")])
            seen: list[tuple[RolloutRow, SecretRow]] = []
            for _ in range(_MAX_CHUNKS):
                rows = await rollout_rows.rollout_page(entry.session, state, secret, before, _CHUNK)
                owners = {one.id: one for one in await secrets_by_id(entry.session, [row.secret_id for row in rows])}
                pairs = [(row, owners[row.secret_id]) for row in rows if row.secret_id in owners]
                seen += [(row, one) for row, one in pairs if entry.permits(Permission.SECRET_LIST, one.resource())]
                before = rows[-1].id if len(rows) == _CHUNK else None
                if before is None or len(seen) > limit:
                    break
            more = seen[limit - 1][0].id if len(seen) > limit else before
            views = await _views(entry, seen[:limit])
        return Page(items=views, next_cursor=None if more is None else str(more))

    async def get_rollout(self, caller: Caller, rollout_id: UUID) -> RolloutView:
        """One rollout. Needs ``secret:list`` on its secret."""
        async with self._gate.enter(caller, AuditAction.ROLLOUT_READ) as entry:
            row, secret = await self._known(entry, rollout_id, Permission.SECRET_LIST)
            [view] = await _views(entry, [(row, secret)])
        return view

    async def withdraw_rollout(self, caller: Caller, rollout_id: UUID) -> RolloutView:
        """Bring the previous version back wherever the new one is. Needs ``secret:activate`` on the secret.

        Raises :class:`Conflict` where the rollout has ended. The deployments that bring it back are then on their way.
        """
        async with self._gate.enter(caller, AuditAction.ROLLOUT_WITHDRAWN) as entry:
            _, seen = await self._known(entry, rollout_id, Permission.SECRET_ACTIVATE)
            secret = await lock_as_seen(entry, seen)
            row = await rollout_rows.rollout_by_id(entry.session, rollout_id)
            if row is None:
                raise Conflict("the secret was deleted meanwhile, and the rollout with it")
            if row.state != "running":
                raise Conflict(f"this rollout has ended already ({row.state}); to go back activate the version that you want")
            await self._driver.withdraw(entry.session, secret, row, f"withdrawn by {entry.actor.name}")
            after = await rollout_rows.rollout_by_id(entry.session, rollout_id)
            [view] = await _views(entry, [(after or row, secret)])
        self._driver.wake()
        return view

    async def _known(self, entry: Entry, rollout_id: UUID, permission: Permission) -> tuple[RolloutRow, SecretRow]:
        row = await rollout_rows.rollout_by_id(entry.session, rollout_id)
        secret = await secret_by_id(entry.session, row.secret_id) if row is not None else None
        if row is None or secret is None:
            entry.missing(Resource("rollout", id=rollout_id))
        resource = secret.resource(row.candidate_version)
        if not entry.permits(Permission.SECRET_LIST, resource):
            entry.refuse(resource, "no_binding")
            entry.hide("rollout")  # as one that does not exist, not as a secret
        entry.authorise(permission, resource)
        return row, secret


async def _views(entry: Entry, rows: list[tuple[RolloutRow, SecretRow]]) -> list[RolloutView]:
    ids = [row.id for row, _ in rows]
    nodes = await rollout_rows.rollout_nodes(entry.session, ids)
    steps = await rollout_rows.steps_of(entry.session, ids)
    return [_view(entry, row, secret, nodes[row.id], [s for s in steps if s.rollout == str(row.id)]) for row, secret in rows]


def _view(
    entry: Entry, row: RolloutRow, secret: SecretRow, nodes: list[RolloutNodeRow], steps: list[StepRow]
) -> RolloutView:
    bindings, names = entry.actor.bindings, secret.scope_names
    listed = [n for n in nodes if sees_part(bindings, Permission.DEPLOYMENT_LIST, "node", n.node_id, entry.now)]
    return RolloutView(
        id=str(row.id),
        secret_id=str(row.secret_id),
        name=secret.name,
        scope=ScopeView(app=names.app, environment=names.environment, node=names.node),
        previous_version=row.previous_version,
        candidate_version=row.candidate_version,
        state=row.state,
        error=row.error,
        node_count=len(nodes),
        nodes=[
            RolloutNodeView(
                node=node.node,
                state=node.state,
                started_at=node.started_at,
                acknowledged_at=node.acknowledged_at,
                steps=[_step(step) for step in steps if step.node_id == node.node_id and _visible(entry, step)],
            )
            for node in listed
        ],
        created_by=row.creator,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )


def _step(step: StepRow) -> RolloutStepView:
    return RolloutStepView(
        deployment_id=str(step.id),
        app=step.app,
        environment=step.environment,
        project=step.project,
        step=step.step,
        state=step.state,
        error=step.error,
    )


def _visible(entry: Entry, step: StepRow) -> bool:
    resource = Resource("deployment", step.app, step.scope)
    return isinstance(decide(entry.actor.bindings, Permission.DEPLOYMENT_LIST, resource, entry.now), Allowed)


def _cursor(cursor: str | None) -> UUID | None:
    try:
        return UUID(cursor) if cursor is not None else None
    except ValueError:
        rule = "cursor is the next_cursor of the page before"
        raise InvalidInput(rule, problems=[Problem("query.cursor", rule, "bad_cursor")]) from None
