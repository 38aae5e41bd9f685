"""Deployments as people and CI see them: lists, one of them, groups, verification, and what happens while it happens."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from overseer.core.access import Allowed, Resource, decide
from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.deployment_views import (
    deployment_resource,
    deployment_view,
    group_view,
    verification_view,
)
from overseer.server.services.deployment_watch import DeploymentWatch, Watchers, parse_position
from overseer.server.services.gate import Entry, Gate
from overseer.server.storage import deployment_rows, group_rows
from overseer.server.storage.deployment_rows import DeploymentRow
from overseer.wire.deployments import DeploymentGroupView, DeploymentView, VerificationView
from overseer.wire.messages import Page

MAX_LIMIT: Final = 200
STATES: Final = frozenset({"queued", "released", "applying", "succeeded", "failed", "superseded"})
_CHUNK: Final = 200
_MAX_CHUNKS: Final = 25


class DeploymentReading:
    """See the module's text. Needs ``deployment:list`` at the place of the deployment."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self._watchers = Watchers()

    async def list_deployments(
        self,
        caller: Caller,
        *,
        app: str | None = None,
        environment: str | None = None,
        node: str | None = None,
        state: str | None = None,
        cursor: str | None = None,
        limit: int = 50,
    ) -> Page[DeploymentView]:
        """Deployments that the caller may see, newest first; ``limit`` 1 to 200."""
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_LIST) as entry:
            entry.authorise_list(Permission.DEPLOYMENT_LIST, Resource("deployment"))
            before = _cursor(cursor)
            if not 1 <= limit <= MAX_LIMIT or (state is not None and state not in STATES):
                rule = f"limit is 1 to {MAX_LIMIT}, state is one of {', '.join(sorted(STATES))}"
                raise InvalidInput(rule, problems=[Problem("query", rule, "bad_filter")])
            seen: list[DeploymentRow] = []
            for _ in range(_MAX_CHUNKS):
                rows = await deployment_rows.deployment_page(entry.session, (app, environment, node, state), before, _CHUNK)
                seen += [row for row in rows if _visible(entry, row)]
                before = rows[-1].id if rows else before
                if len(rows) < _CHUNK or len(seen) > limit:
                    before = None if len(rows) < _CHUNK else before
                    break
            shown = seen[:limit]
            secrets = await deployment_rows.secrets_of(entry.session, [row.id for row in shown])
        more = shown[-1].id if len(seen) > limit else before
        return Page(
            items=[deployment_view(row, secrets[row.id]) for row in shown], next_cursor=str(more) if more is not None else None
        )

    async def get_deployment(self, caller: Caller, deployment_id: UUID) -> DeploymentView:
        """One deployment: its state, references and redacted output."""
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_READ) as entry:
            row = await _listed(entry, deployment_id)
            secrets = await deployment_rows.secrets_of(entry.session, [row.id])
        return deployment_view(row, secrets[row.id])

    async def get_group(self, caller: Caller, group_id: UUID) -> DeploymentGroupView:
        """Deployments that were ordered together; all of them must be visible to the caller."""
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_READ) as entry:
            group, rows = await _group(entry, group_id)
            secrets = await deployment_rows.secrets_of(entry.session, [row.id for row in rows])
        return group_view(group, [deployment_view(row, secrets[row.id]) for row in rows])

    async def verify(self, caller: Caller, deployment_id: UUID) -> VerificationView:
        """What containers hold against what they should hold, by the agent's last report."""
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_VERIFY) as entry:
            row = await _listed(entry, deployment_id)
            secrets = (await deployment_rows.secrets_of(entry.session, [row.id]))[row.id]
            current = await deployment_rows.current_deployment(entry.session, row.node_id, row.project)
        return verification_view(row, secrets, current=current is not None and current.id == row.id)

    async def watch(self, caller: Caller, deployment_id: UUID, after: str | None = None) -> DeploymentWatch:
        """What the deployment does from now on (or from the position ``after``), until it has ended.

        Decided and audited once, here: what is watched afterwards holds no connection while nothing happens. Raises
        :class:`RateLimited` where too many watch already.
        """
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_WATCH) as entry:
            row = await _listed(entry, deployment_id)
            positions = parse_position(after, 1)
        return DeploymentWatch(self._gate, self._watchers, [row.id], positions)

    async def watch_group(self, caller: Caller, group_id: UUID, after: str | None = None) -> DeploymentWatch:
        """As :meth:`watch`, for all deployments of a group at once."""
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_WATCH) as entry:
            _, rows = await _group(entry, group_id)
            positions = parse_position(after, len(rows))
        return DeploymentWatch(self._gate, self._watchers, [row.id for row in rows], positions)


async def _listed(entry: Entry, deployment_id: UUID) -> DeploymentRow:
    row = await deployment_rows.deployment_by_id(entry.session, deployment_id)
    if row is None:
        entry.missing(Resource("deployment", id=deployment_id))
    entry.authorise(Permission.DEPLOYMENT_LIST, deployment_resource(row), hide_without=Permission.DEPLOYMENT_LIST)
    return row


async def _group(entry: Entry, group_id: UUID) -> tuple[group_rows.GroupRow, list[DeploymentRow]]:
    """A group with its deployments, in their turn; one decision for all of them, on the first that refuses if one does."""
    group = await group_rows.group_by_id(entry.session, group_id)
    rows = []
    for deployment_id in await group_rows.group_members(entry.session, group_id):
        row = await deployment_rows.deployment_by_id(entry.session, deployment_id)
        rows += [row] if row is not None else []
    if group is None or not rows:
        entry.missing(Resource("deployment_group", id=group_id))
    asked = next((row for row in rows if not _visible(entry, row)), rows[0])
    if not _visible(entry, asked):
        entry.refuse(deployment_resource(asked), "no_binding")
        entry.hide("deployment_group")  # as one that does not exist, not as a deployment
    entry.authorise(Permission.DEPLOYMENT_LIST, deployment_resource(asked))
    return group, rows


def _visible(entry: Entry, row: DeploymentRow) -> bool:
    return isinstance(decide(entry.actor.bindings, Permission.DEPLOYMENT_LIST, deployment_resource(row), entry.now), Allowed)


def _cursor(cursor: str | None) -> UUID | None:
    try:
        return UUID(cursor) if cursor is not None else None
    except ValueError:
        rule = "cursor is the next_cursor of the page before"
        raise InvalidInput(rule, problems=[Problem("query.cursor", rule, "bad_cursor")]) from None
