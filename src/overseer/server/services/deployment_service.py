"""Deployments as people and CI make and see them: one execution of a stored bundle on one node.

Making one decides everything: ``app:deploy`` at the place, ``secret:use`` on each secret, and which version each reference gets.
The agent then executes exactly that (``agent_service``).
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

from overseer.compose.references import find_references
from overseer.core.access import Allowed, Resource, decide
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, InvalidInput, Problem, ReferencesRefused
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.deployment_planning import Place, plan_references
from overseer.server.services.deployment_views import deployment_view
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.value_opener import ValueOpener
from overseer.server.services.work_signal import WorkSignal
from overseer.server.storage import deployment_rows
from overseer.server.storage.deployment_rows import BundleRow, DeploymentRow
from overseer.server.storage.node_rows import all_nodes
from overseer.server.storage.scope_rows import find_scope
from overseer.wire.deployments import DeploymentCreate, DeploymentView
from overseer.wire.messages import Page

MAX_LIMIT: Final = 200
MAX_WAIT_SECONDS: Final = 1800
ACTIONS: Final = frozenset({"deploy", "undeploy"})
STATES: Final = frozenset({"queued", "released", "applying", "succeeded", "failed", "superseded"})
_CHUNK: Final = 200
_MAX_CHUNKS: Final = 25


class DeploymentService:
    """See the module's text."""

    def __init__(
        self,
        gate: Gate,
        bundles: BundleService,
        opener: ValueOpener,
        idempotency: IdempotencyKeeper,
        signal: WorkSignal,
    ) -> None:
        self._gate = gate
        self._bundles = bundles
        self._opener = opener
        self._idempotency = idempotency
        self._signal = signal

    async def create_deployment(
        self, caller: Caller, body: DeploymentCreate, idempotency: Idempotency | None = None
    ) -> DeploymentView:
        """Queue a deployment (or an undeployment) for the node's agent.

        Raises :class:`ReferencesRefused` with every missing and denied reference and its place, :class:`Conflict` for a revoked
        node or a project name that another app has there, :class:`InvalidInput`.
        """
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_CREATE) as entry:
            place = await self._place(entry, body)
            _check(body)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                return await self._again(entry, first.resource_id)
            deployment_id = new_id(entry.now)
            entry.amend(resource_id=deployment_id)
            await self._check_node(entry, body.node)
            project = project_name(body.app, body.environment)
            assert place.scope.node is not None  # noqa: S101  # _place found all parts
            assert place.scope.app is not None  # noqa: S101
            bundle = await self._bundle(entry, body, place) if body.action == "deploy" else None
            rows = []
            if bundle is not None:
                packed = await self._bundles.open(bundle)
                scan = find_references(packed.bundle(), allow_persisting=body.allow_persisting)
                plan = await plan_references(entry, scan, place, deployment_id, self._opener)
                if plan.problems:
                    raise ReferencesRefused("the bundle cannot be deployed there; nothing was changed", problems=plan.problems)
                rows = plan.rows
            # After the plan, which holds its secrets: locks are taken in the order secrets, nodes, deployments.
            if not await deployment_rows.claim_project(
                entry.session, place.scope.node, project, place.scope.app, place.scope.environment
            ):
                raise Conflict(f"another app has the Compose project {project} on this node already; rename one of them")
            await deployment_rows.insert_deployment(
                entry.session,
                deployment_id,
                place.scope,
                body.action,
                bundle.id if bundle else None,
                project,
                {"allow_persisting": body.allow_persisting, "wait_timeout": body.wait_timeout},
                entry.actor.id,
            )
            await deployment_rows.insert_deployment_secrets(entry.session, rows)
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=deployment_id)
            view = await self._again(entry, deployment_id)
        self._signal.notify()
        return view

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
            row = await deployment_rows.deployment_by_id(entry.session, deployment_id)
            if row is None:
                entry.missing(Resource("deployment", id=deployment_id))
            entry.authorise(Permission.DEPLOYMENT_LIST, _resource(row), hide_without=Permission.DEPLOYMENT_LIST)
            secrets = await deployment_rows.secrets_of(entry.session, [row.id])
        return deployment_view(row, secrets[row.id])

    async def _place(self, entry: Entry, body: DeploymentCreate) -> Place:
        names = Scope(body.app, body.environment, body.node)
        found = await find_scope(entry.session, names)
        if found.missing:
            entry.missing(Resource("deployment", body.app, scope_names=names))
        resource = Resource("deployment", body.app, found.scope, scope_names=names)
        entry.authorise(Permission.APP_DEPLOY, resource, hide_without=Permission.DEPLOYMENT_LIST)
        return Place(found.scope, names)

    async def _check_node(self, entry: Entry, name: str) -> None:
        nodes = await all_nodes(entry.session, name=name)
        if not nodes or nodes[0].state == "revoked":
            raise Conflict("this node was revoked: enrol it again, or choose another one")

    async def _bundle(self, entry: Entry, body: DeploymentCreate, place: Place) -> BundleRow:
        assert place.scope.app is not None  # noqa: S101  # _place found all parts
        bundle = await deployment_rows.bundle_by_digest(entry.session, place.scope.app, body.bundle or "")
        if bundle is None:
            rule = "this app has no bundle of that digest; store it first"
            raise InvalidInput(rule, problems=[Problem("body.bundle", rule, "unknown_bundle")])
        return bundle

    async def _again(self, entry: Entry, deployment_id: UUID) -> DeploymentView:
        row = await deployment_rows.deployment_by_id(entry.session, deployment_id)
        if row is None:
            raise Conflict("the deployment that this idempotency key made is gone")
        secrets = await deployment_rows.secrets_of(entry.session, [row.id])
        return deployment_view(row, secrets[row.id])


def project_name(app: str, environment: str | None) -> str:
    """The Compose project of an app in an environment: lower case, ``[a-z0-9][a-z0-9_-]*`` as Compose demands.

    Two apps may come to the same text; the store refuses the second on the same node.
    """
    text = (f"{app}-{environment}" if environment else app).lower()
    return re.sub(r"^[^a-z0-9]+", "", re.sub(r"[^a-z0-9_-]", "-", text)) or "app"


def _check(body: DeploymentCreate) -> None:
    problems = []
    if body.action not in ACTIONS:
        problems.append(Problem("body.action", "deploy or undeploy", "bad_action"))
    elif (body.action == "deploy") != (body.bundle is not None):
        problems.append(Problem("body.bundle", "a digest for deploy, and nothing for undeploy", "bad_bundle"))
    if not 1 <= body.wait_timeout <= MAX_WAIT_SECONDS:
        problems.append(Problem("body.wait_timeout", f"1 to {MAX_WAIT_SECONDS} seconds", "bad_timeout"))
    if problems:
        raise InvalidInput("the deployment cannot be made", problems=problems)


def _resource(row: DeploymentRow) -> Resource:
    return Resource("deployment", row.app, row.scope, row.id, row.scope_names)


def _visible(entry: Entry, row: DeploymentRow) -> bool:
    return isinstance(decide(entry.actor.bindings, Permission.DEPLOYMENT_LIST, _resource(row), entry.now), Allowed)


def _cursor(cursor: str | None) -> UUID | None:
    try:
        return UUID(cursor) if cursor is not None else None
    except ValueError:
        rule = "cursor is the next_cursor of the page before"
        raise InvalidInput(rule, problems=[Problem("query.cursor", rule, "bad_cursor")]) from None
