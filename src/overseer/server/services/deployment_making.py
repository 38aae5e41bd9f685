"""Ordering deployments: one execution of a stored bundle on one node, on several, or an earlier one again.

Making one decides everything: ``app:deploy`` at the place, ``secret:use`` on each secret, and which version each reference gets.
The agent then executes exactly that (``agent_service``). Locks are taken in the order secrets, nodes, deployments.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final
from uuid import UUID

from overseer.compose.references import BundleScan
from overseer.compose.swarm import COMPOSE, SWARM
from overseer.core.access import Resource
from overseer.core.approvals import Asked, Operation
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, Denied, InvalidInput, Problem, ReferencesRefused, TooLarge, Unavailable
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scope_selection import select_winners
from overseer.server.services.approval_guard import deployment_place, guard
from overseer.server.services.bundle_packing import PackedBundle
from overseer.server.services.bundle_scanning import beside, scan_bundle
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.deployment_places import MAX_NODES, authorised_places, check_nodes
from overseer.server.services.deployment_planning import Place, Plan, plan_references
from overseer.server.services.deployment_refusals import MAX_TOLD, refuse_problems
from overseer.server.services.deployment_views import deployment_resource, deployment_view
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.plan_making import Facts, check_pinned, compare, facts_of, former_of
from overseer.server.services.project_names import project_name
from overseer.server.services.source_refresh import SourceRefresh
from overseer.server.services.value_opener import ValueOpener
from overseer.server.services.work_signal import WorkSignal
from overseer.server.storage import deployment_rows, group_rows
from overseer.server.storage.deployment_rows import BundleRow, DeploymentRow, DeploymentSecretRow
from overseer.server.storage.plan_rows import plan_by_digest
from overseer.server.storage.secret_rows import SecretRow, candidates, secret_by_id
from overseer.server.storage.version_rows import version_exists
from overseer.wire.deployments import DeploymentCreate, DeploymentRollback, DeploymentView

MAX_WAIT_SECONDS: Final = 1800
MAX_DECISIONS: Final = 20_000
ACTIONS: Final = frozenset({"deploy", "undeploy"})
TARGETS: Final = frozenset({COMPOSE, SWARM})


@dataclass(frozen=True, slots=True)
class _Ordered:
    """One deployment that is about to be written."""

    id: UUID
    place: Place
    rows: list[DeploymentSecretRow]
    plan: Plan | None = None


@dataclass(frozen=True, slots=True)
class _Opened:
    """A stored bundle, opened and scanned once for all nodes."""

    row: BundleRow
    packed: PackedBundle
    scan: BundleScan
    facts: Facts | TooLarge | None = None
    asked: frozenset[UUID] = frozenset()


class DeploymentMaking:
    """See the module's text."""

    def __init__(
        self,
        gate: Gate,
        bundles: BundleService,
        opener: ValueOpener,
        idempotency: IdempotencyKeeper,
        signal: WorkSignal,
        sources: SourceRefresh,
    ) -> None:
        self._sources = sources
        self._gate = gate
        self._bundles = bundles
        self._opener = opener
        self._idempotency = idempotency
        self._signal = signal

    async def create_deployment(
        self, caller: Caller, body: DeploymentCreate, idempotency: Idempotency | None = None
    ) -> DeploymentView:
        """Queue a deployment (or an undeployment) for the agent of one node, or of each of several: then the first of the group.

        Raises :class:`ReferencesRefused` with every missing and denied reference and its place, :class:`Conflict` for a revoked
        node, a project name that another app has there or a plan that does not hold any more, :class:`InvalidInput`.
        """
        bundle = None
        if body.action == "deploy":
            # First all that takes long, with no transaction open and no lock held; then everything is decided anew.
            async with self._gate.enter(caller, AuditAction.DEPLOYMENT_CREATE) as entry:
                places = await authorised_places(entry, body)
                _check(body)
                first = await self._idempotency.first_result(entry, idempotency)
                if first is not None:
                    return await _view(entry, first.resource_id)
                row = await self._bundle(entry, body, places[0])
                packed = await self._bundles.open(row)
                content = packed.bundle()
                former = await former_of(entry, self._bundles, places[0]) if body.plan is not None else None
                entry.postpone()
            scan = await scan_bundle(content, allow_persisting=body.allow_persisting)
            pinned = body.plan is not None and not scan.problems
            bundle = _Opened(row, packed, scan, await beside(partial(facts_of, former, packed, scan)) if pinned else None)
            if scan.references and not scan.problems:
                bundle = replace(bundle, asked=await self._ask_backends(caller, body, scan))
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_CREATE) as entry:
            places = await authorised_places(entry, body)
            decided = len(entry.events) - len(places)
            _check(body)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                return await _view(entry, first.resource_id)
            for number, place in enumerate(places):
                await _guard(entry, place, await _asked(entry, body, place), decided + number)
            if bundle is not None:
                await self._check_bundle(entry, body, places, bundle)
            ordered = await self._ordered(entry, places, bundle)
            for number, one in enumerate(ordered):
                entry.events[decided + number] = replace(entry.events[decided + number], resource_id=one.id)
            await _claim(entry, [one.place for one in ordered])
            if body.plan is not None and bundle is not None:
                await self._check_plan(entry, body.plan, bundle, ordered[0], body.target)
            group = None
            if body.node is None:
                group = new_id(entry.now)
                await group_rows.insert_group(entry.session, group, min(body.parallel, len(ordered)))
            options: dict[str, Any] = {"allow_persisting": body.allow_persisting, "wait_timeout": body.wait_timeout}
            if body.plan is not None:
                options["plan"] = body.plan
            if body.target != COMPOSE:
                options["target"] = body.target
            for turn, one in enumerate(ordered):
                await self._insert(entry, body.action, bundle.row.id if bundle else None, one, options, group, turn)
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=ordered[0].id)
            view = await _view(entry, ordered[0].id)
        self._signal.notify()
        return view

    async def rollback(
        self, caller: Caller, deployment_id: UUID, body: DeploymentRollback, idempotency: Idempotency | None = None
    ) -> DeploymentView:
        """Queue a deployment with the bundle of an earlier one that succeeded, and with exactly the versions that it had.

        Needs ``app:deploy`` there and ``secret:use`` on each secret now. Raises :class:`ReferencesRefused` with every version
        that is gone or refused, :class:`Conflict` where that one never succeeded or the node was revoked.
        """
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_ROLLBACK) as entry:
            old = await deployment_rows.deployment_by_id(entry.session, deployment_id)
            if old is None:
                entry.missing(Resource("deployment", id=deployment_id))
            entry.authorise(Permission.APP_DEPLOY, deployment_resource(old), hide_without=Permission.DEPLOYMENT_LIST)
            _check_wait(body.wait_timeout)
            first = await self._idempotency.first_result(entry, idempotency, target=old.id)
            if first is not None:
                return await _view(entry, first.resource_id)
            if old.action != "deploy" or old.bundle_id is None or old.state != "succeeded":
                raise Conflict("only a deployment that succeeded can be gone back to: see `overseer deployment list`")
            place = Place(old.scope, old.scope_names)
            await _guard(entry, place, rollback_of(entry, old))
            await check_nodes(entry, [old.node], old.action)
            new = new_id(entry.now)
            rows = await _pinned(entry, old, new)
            await _claim(entry, [place])
            options: dict[str, Any] = {"rollback_of": str(old.id)}
            options |= {key: old.options[key] for key in ("allow_persisting", "wait_timeout", "target") if key in old.options}
            if body.wait_timeout is not None:
                options["wait_timeout"] = body.wait_timeout
            await self._insert(entry, "deploy", old.bundle_id, _Ordered(new, place, rows), options, None, 0)
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=new, target=old.id)
            view = await _view(entry, new)
        self._signal.notify()
        return view

    async def _ask_backends(self, caller: Caller, body: DeploymentCreate, scan: BundleScan) -> frozenset[UUID]:
        """Bring what the caller may use, and what comes from backends, up to date before everything is decided."""
        names = sorted({reference.name for reference in scan.references})
        async with self._gate.enter(caller, AuditAction.DEPLOYMENT_CREATE) as entry:
            winners: dict[UUID, SecretRow] = {}
            for place in await authorised_places(entry, body):
                found = select_winners(await candidates(entry.session, names, place.scope), place.scope)
                winners |= {row.id: row for row in found.values() if entry.permits(Permission.SECRET_USE, row.resource())}
            due = await self._sources.due(entry, winners.values())
            entry.postpone()
        await self._sources.refresh(due, caller.request_id)
        return frozenset(source.secret_id for source in due)

    async def _check_bundle(self, entry: Entry, body: DeploymentCreate, places: Sequence[Place], opened: _Opened) -> None:
        """That it is still there, and that what is to be decided for all nodes together has an end."""
        if (await self._bundle(entry, body, places[0])).id != opened.row.id:
            raise Conflict("the bundle was stored anew at this moment; try again")
        if len(places) > 1 and len(places) * len(opened.scan.references) > MAX_DECISIONS:
            raise TooLarge(f"nodes times references are at most {MAX_DECISIONS} in one request; deploy to fewer nodes at once")

    async def _bundle(self, entry: Entry, body: DeploymentCreate, place: Place) -> BundleRow:
        assert place.scope.app is not None  # noqa: S101  # a place of a deployment has an app
        row = await deployment_rows.bundle_by_digest(entry.session, place.scope.app, body.bundle or "")
        if row is None:
            rule = "this app has no bundle of that digest; store it first"
            raise InvalidInput(rule, problems=[Problem("body.bundle", rule, "unknown_bundle")])
        return row

    async def _ordered(self, entry: Entry, places: Sequence[Place], bundle: _Opened | None) -> list[_Ordered]:
        """What is about to be written for each place. :class:`ReferencesRefused` with the problems of all of them."""
        ids = [new_id(entry.now) for _ in places]
        if bundle is None:
            return [_Ordered(one, place, []) for one, place in zip(ids, places, strict=True)]
        plans: list[Plan] = []
        told = 0
        for one, place in zip(ids, places, strict=True):
            plans.append(await plan_references(entry, bundle.scan, place, one, self._opener))
            told += len(plans[-1].problems)
            if told >= MAX_TOLD:
                break  # it is refused: what the other nodes would add is not worth the time
        refuse_problems(places, plans)
        for plan in plans:  # whether what comes from backends is fresh enough to be used
            used = {row.secret_id for row in plan.rows}
            winners = [found[0] for found in plan.applying.values() if found and found[0].id in used]
            await self._sources.judge(entry, winners, bundle.asked)
        return [_Ordered(one, place, plan.rows, plan) for one, place, plan in zip(ids, places, plans, strict=True)]

    async def _check_plan(self, entry: Entry, pinned: str, bundle: _Opened, one: _Ordered, target: str) -> None:
        """After the locks: what runs in the place cannot change any more before this deployment is written."""
        assert one.plan is not None  # noqa: S101  # a deployment of a bundle without problems has both
        assert bundle.facts is not None  # noqa: S101
        now = await compare(entry, one.place, bundle.row.digest, one.plan, bundle.facts, bundle.scan, target)
        check_pinned(pinned, await plan_by_digest(entry.session, pinned), now)

    async def _insert(
        self,
        entry: Entry,
        action: str,
        bundle_id: UUID | None,
        one: _Ordered,
        options: dict[str, Any],
        group: UUID | None,
        turn: int,
    ) -> None:
        project = project_name(one.place.names.app or "", one.place.names.environment)
        member = None if group is None else (group, turn)
        await deployment_rows.insert_deployment(
            entry.session, one.id, one.place.scope, action, bundle_id, project, options, entry.actor.id, group=member
        )
        await deployment_rows.insert_deployment_secrets(entry.session, one.rows)


async def _guard(entry: Entry, place: Place, asked: Asked, event: int = -1) -> None:
    await guard(entry, asked, [deployment_place(asked.name, place.scope, place.names)], [Permission.APP_DEPLOY], event=event)


async def _asked(entry: Entry, body: DeploymentCreate, place: Place) -> Asked:
    """What is about to be done at one place, as an approval has to say it."""
    if body.action == "deploy":
        return deployment_of(entry, place, body.plan, body.target)
    return await undeployment_of(entry, place)


def deployment_of(entry: Entry, place: Place, plan: str | None, target: str) -> Asked:
    """To carry out a plan; without one there is nothing that could be approved."""
    return Asked(entry.actor.id, Operation.DEPLOY, place.names.app or "", place.scope, plan=plan, runtime=target)


async def undeployment_of(entry: Entry, place: Place) -> Asked:
    """To take down what runs there now."""
    assert place.scope.node is not None  # noqa: S101  # a place of a deployment has a node
    project = project_name(place.names.app or "", place.names.environment)
    running = await deployment_rows.current_deployment(entry.session, place.scope.node, project)
    deployment = None if running is None else running.id
    return Asked(entry.actor.id, Operation.UNDEPLOY, place.names.app or "", place.scope, deployment=deployment)


def rollback_of(entry: Entry, old: DeploymentRow) -> Asked:
    """To repeat an earlier deployment."""
    return Asked(entry.actor.id, Operation.ROLLBACK, old.scope_names.app or "", old.scope, deployment=old.id)


async def _claim(entry: Entry, places: Sequence[Place]) -> None:
    """Lock the nodes, in one order for everybody, and refuse a project name that something else has on one of them."""
    for place in sorted(places, key=lambda one: str(one.scope.node)):
        scope = place.scope
        assert scope.node is not None  # noqa: S101  # a place of a deployment has a node and an app
        assert scope.app is not None  # noqa: S101
        project = project_name(place.names.app or "", place.names.environment)
        if not await deployment_rows.claim_project(entry.session, scope.node, project, scope.app, scope.environment):
            raise Conflict(f"another app has the Compose project {project} on this node already; rename one of them")


async def _pinned(entry: Entry, old: DeploymentRow, new: UUID) -> list[DeploymentSecretRow]:
    """The references of ``old`` for a new deployment, each decided anew; :class:`ReferencesRefused` names all that cannot be."""
    rows, problems = [], []
    for row in (await deployment_rows.secrets_of(entry.session, [old.id]))[old.id]:
        refused = await _refused(entry, row)
        if refused is None:
            rows.append(replace(row, deployment_id=new, matches=None, checked_at=None))
        else:
            problems.append(Problem(row.reference, *refused))
    if problems:
        raise ReferencesRefused("that deployment cannot be repeated; nothing was changed", problems=problems)
    return rows


async def _refused(entry: Entry, row: DeploymentSecretRow) -> tuple[str, str] | None:
    secret = await secret_by_id(entry.session, row.secret_id)
    gone = f"version {row.version} of this secret is gone, or you may not use it"
    if secret is None:
        entry.refuse(Resource("secret", row.secret_name, id=row.secret_id), "unavailable", action=AuditAction.SECRET_USE)
        return gone, "unavailable"
    try:
        entry.authorise(
            Permission.SECRET_USE,
            secret.resource(row.version),
            hide_without=Permission.SECRET_LIST,
            action=AuditAction.SECRET_USE,
        )
    except Unavailable:
        return gone, "unavailable"
    except Denied:
        return f"you lack {Permission.SECRET_USE} for this secret; ask an owner for it", "denied"
    if not await version_exists(entry.session, secret.id, row.version):
        return gone, "no_version"
    return None


async def _view(entry: Entry, deployment_id: UUID) -> DeploymentView:
    row = await deployment_rows.deployment_by_id(entry.session, deployment_id)
    if row is None:
        raise Conflict("the deployment that this idempotency key made is gone")
    secrets = await deployment_rows.secrets_of(entry.session, [row.id])
    return deployment_view(row, secrets[row.id])


def _check(body: DeploymentCreate) -> None:
    problems = []
    if body.action not in ACTIONS:
        problems.append(Problem("body.action", "deploy or undeploy", "bad_action"))
    elif (body.action == "deploy") != (body.bundle is not None):
        problems.append(Problem("body.bundle", "a digest for deploy, and nothing for undeploy", "bad_bundle"))
    if body.target not in TARGETS:
        problems.append(Problem("body.target", "compose or swarm", "bad_target"))
    if not 1 <= body.parallel <= MAX_NODES:
        problems.append(Problem("body.parallel", f"1 to {MAX_NODES}", "bad_parallel"))
    if body.plan is not None and (body.node is None or body.action != "deploy"):
        problems.append(Problem("body.plan", "a plan is of a deployment on one node", "bad_plan"))
    if problems:
        raise InvalidInput("the deployment cannot be made", problems=problems)
    _check_wait(body.wait_timeout)


def _check_wait(seconds: int | None) -> None:
    if seconds is not None and not 1 <= seconds <= MAX_WAIT_SECONDS:
        problem = Problem("body.wait_timeout", f"1 to {MAX_WAIT_SECONDS} seconds", "bad_timeout")
        raise InvalidInput("the deployment cannot be made", problems=[problem])
