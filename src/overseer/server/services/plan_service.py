"""Plans: what a deployment would change, before anybody makes it; never a value.

Needs ``deployment:list`` at the place and ``secret:list`` on each secret that the bundle refers to; one that is asked for as for
a deployment (``deploying``) also ``app:deploy`` and ``secret:use``, so that it is refused for all that the deployment would be
refused for. A ``stack`` that comes with the request needs ``app:bundle_write``, too: comparing it with what runs would let its
sender guess at stored files, which whoever may write bundles can do anyway. The plan leaves one audit row, and one more for each
reference that is refused.
"""

from __future__ import annotations

from functools import partial

from overseer.compose.findings import RULES, Finding
from overseer.compose.lint import lint_bundle
from overseer.compose.references import BundleScan
from overseer.compose.swarm import COMPOSE, SWARM
from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, Outcome
from overseer.core.errors import Conflict, InvalidInput, Problem, ReferencesRefused, TooLarge
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.crypto.keyring import Purpose
from overseer.server.services.bundle_packing import PackedBundle, read_message
from overseer.server.services.bundle_scanning import beside, scan_bundle
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.deployment_planning import Place, Plan, plan_references
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.plan_making import Comparison, Facts, Version, compare, facts_of, former_of
from overseer.server.services.project_names import project_name
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage import deployment_rows
from overseer.server.storage.plan_rows import keep_plan
from overseer.server.storage.scope_rows import find_scope
from overseer.server.storage.secret_rows import SecretRow
from overseer.wire.plans import (
    PLAN_FORMAT,
    PlanCreate,
    PlanFinding,
    PlannedReference,
    PlannedService,
    PlanView,
    RunningDeployment,
    ShadowedSecret,
)
from overseer.wire.secrets import ScopeView


class PlanService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, bundles: BundleService, opener: ValueOpener) -> None:
        self._gate = gate
        self._opener = opener
        self._keys = keys
        self._bundles = bundles

    async def create_plan(self, caller: Caller, body: PlanCreate) -> PlanView:
        """What the deployment of a bundle (that of the message, a stored one, or the one that runs) would change.

        Raises :class:`ReferencesRefused` with the problems that the deployment would have, :class:`Conflict` where nothing runs
        and no bundle is given, :class:`InvalidInput`, :class:`TooLarge`.
        """
        # First all that takes long, with no transaction open and no lock held; then everything is decided anew.
        async with self._gate.enter(caller, AuditAction.PLAN_CREATE) as entry:
            place = await _place(entry, body)
            if body.target not in {None, COMPOSE, SWARM}:
                rule = f"target is {COMPOSE} or {SWARM}"
                raise InvalidInput(rule, problems=[Problem("body.target", rule, "bad_target")])
            packed, digest = await self._bundle(entry, place, body)
            content = packed.bundle()
            former = await former_of(entry, self._bundles, place)
            entry.postpone()
        scan = await scan_bundle(content, allow_persisting=body.allow_persisting)
        facts: Facts | TooLarge | None = None
        findings: tuple[Finding, ...] = ()
        if not scan.problems:
            facts = await beside(partial(facts_of, former, packed, scan))
            findings = await beside(partial(lint_bundle, content))
        async with self._gate.enter(caller, AuditAction.PLAN_CREATE) as entry:
            place = await _place(entry, body)
            plan = await plan_references(entry, scan, place, new_id(entry.now), self._opener if body.deploying else None)
            if plan.problems or facts is None:
                raise ReferencesRefused("the bundle could not be deployed there", problems=plan.problems)
            if body.deploying:
                _forget_uses(entry)
            target = body.target or (former.target if former else COMPOSE)
            comparison = await compare(entry, place, digest, plan, facts, scan, target)
            await keep_plan(entry.session, comparison.digest, comparison.content)
            references = _references(entry, comparison, plan, scan)
        return _view(place, digest, comparison, references, findings)

    async def _bundle(self, entry: Entry, place: Place, body: PlanCreate) -> tuple[PackedBundle, str]:
        """The bundle to plan and its address."""
        assert place.scope.app is not None  # noqa: S101  # _place found all parts
        assert place.scope.node is not None  # noqa: S101
        if body.stack is not None and body.bundle is not None:
            rule = "either a stack or the digest of a stored bundle"
            raise InvalidInput(rule, problems=[Problem("body.bundle", rule, "bad_bundle")])
        if body.stack is not None:
            packed = read_message(body.stack)
            return packed, packed.address(self._keys.keyring.hmac_key(Purpose.BUNDLE_ADDRESS), place.scope.app)
        digest = body.bundle
        if digest is None:
            project = project_name(body.app, body.environment)
            running = await deployment_rows.current_deployment(entry.session, place.scope.node, project)
            if running is None or running.bundle is None or running.app_id != place.scope.app:
                raise Conflict("nothing of this app runs there: say which bundle to plan")
            digest = running.bundle
        row = await deployment_rows.bundle_by_digest(entry.session, place.scope.app, digest)
        if row is None:
            rule = "this app has no bundle of that digest; store it first"
            raise InvalidInput(rule, problems=[Problem("body.bundle", rule, "unknown_bundle")])
        return await self._bundles.open(row), row.digest


async def _place(entry: Entry, body: PlanCreate) -> Place:
    names = Scope(body.app, body.environment, body.node)
    found = await find_scope(entry.session, names)
    if found.missing:
        entry.missing(Resource("plan", body.app, scope_names=names))
    resource = Resource("plan", body.app, found.scope, scope_names=names)
    entry.authorise(Permission.DEPLOYMENT_LIST, resource, hide_without=Permission.DEPLOYMENT_LIST)
    if body.deploying and not entry.permits(Permission.APP_DEPLOY, resource):
        entry.deny("no_binding", f"you lack {Permission.APP_DEPLOY} there; ask an owner for a role that holds it")
    if body.stack is not None:
        app = Resource("plan", body.app, Scope(app=found.scope.app), scope_names=names)
        if not entry.permits(Permission.APP_BUNDLE_WRITE, app):
            entry.deny("no_binding", f"you lack {Permission.APP_BUNDLE_WRITE} for this app: plan a stored bundle (--bundle)")
    return Place(found.scope, names)


def _forget_uses(entry: Entry) -> None:
    """Each secret was judged as if it were used; a plan uses none, so its audit log says nothing of a use."""
    entry.events[:] = [one for one in entry.events if one.action != AuditAction.SECRET_USE or one.outcome != Outcome.ALLOWED]


def _references(entry: Entry, comparison: Comparison, plan: Plan, scan: BundleScan) -> list[PlannedReference]:
    places: dict[str, list[str]] = {}
    for one in scan.occurrences:
        places.setdefault(str(one.reference), []).append(one.place)
    return [
        _reference(entry, name, version, plan.applying, places.get(name, [])) for name, version in comparison.versions.items()
    ]


def _reference(
    entry: Entry, reference: str, version: Version, applying: dict[str, list[SecretRow]], places: list[str]
) -> PlannedReference:
    row = version.after or version.before
    assert row is not None  # noqa: S101  # a version has one of the two
    secrets = applying.get(row.secret_name, []) if version.after else []
    seen = [one for one in secrets[1:] if entry.permits(Permission.SECRET_LIST, one.resource())]
    return PlannedReference(
        reference=reference,
        name=row.secret_name,
        secret_id=str(row.secret_id),
        scope=_scope(secrets[0]) if secrets else None,
        change=version.change,
        before=version.before.version if version.before else None,
        after=version.after.version if version.after else None,
        replaced=version.replaced,
        services=row.services,
        kinds=row.kinds,
        places=places,
        persists=row.persists,
        shadows=[
            ShadowedSecret(secret_id=str(one.id), scope=_scope(one), active_version=one.active_version) for one in seen
        ],
    )


def _scope(row: SecretRow) -> ScopeView:
    names = row.scope_names
    return ScopeView(app=names.app, environment=names.environment, node=names.node)


def _view(
    place: Place, digest: str, comparison: Comparison, references: list[PlannedReference], findings: tuple[Finding, ...]
) -> PlanView:
    running = comparison.running
    return PlanView(
        format=PLAN_FORMAT,
        app=place.names.app or "",
        environment=place.names.environment,
        node=place.names.node or "",
        project=comparison.content["project"],
        bundle=digest,
        running=RunningDeployment(deployment=str(running.id), bundle=running.bundle, finished_at=running.finished_at)
        if running
        else None,
        services=[
            PlannedService(service=name, effect=one.effect.value, certain=one.certain, because=one.because)
            for name, one in comparison.outcomes.items()
        ],
        references=references,
        findings=[
            PlanFinding(
                rule=one.rule,
                name=RULES[one.rule].name,
                severity=one.severity.value,
                place=one.place,
                service=one.service,
                message=one.message,
            )
            for one in findings
        ],
        notes=comparison.notes,
        changes=comparison.changes,
        digest=comparison.digest,
        target=comparison.content.get("target", COMPOSE),
        swarm_secrets=comparison.swarm_secrets,
    )
