"""Making a plan inside the transaction of whoever asks for one: what runs in the place against what would, and its digest.

The digest covers the place, the bundle, the versions and the effects, so a deployment that was pinned to a plan is refused as
soon as one of them would be another. It needs no secret's value, and no value can be found out from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from overseer.compose.references import BundleScan, find_references
from overseer.compose.swarm import COMPOSE, SWARM
from overseer.core.errors import Conflict, Problem, TooLarge
from overseer.server.services.bundle_packing import PackedBundle
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.deployment_planning import Place, Plan
from overseer.server.services.gate import Entry
from overseer.server.services.plan_effects import Effect, NewValue, Outcome, judge
from overseer.server.services.plan_facts import ServiceFacts, service_facts
from overseer.server.services.plan_files import canonical
from overseer.server.services.plan_swarm import judge_swarm, refusals, secret_changes
from overseer.server.services.project_names import project_name
from overseer.server.storage import deployment_rows
from overseer.server.storage.deployment_rows import DeploymentRow, DeploymentSecretRow
from overseer.wire.plans import PLAN_FORMAT, PlannedSwarmSecret

_HALF_WAY = "a deployment failed after the one that runs: containers may differ from what this plan compares with"
_UNDER_WAY = "another deployment of this project is open: what runs may change before this plan is carried out"


@dataclass(frozen=True, slots=True)
class Former:
    """What runs in a place, with its bundle."""

    id: UUID
    packed: PackedBundle
    target: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Of the bundle that runs (as ``running_id``; None where nothing does) and of the one that comes."""

    running_id: UUID | None
    running: Mapping[str, ServiceFacts] | None
    coming: Mapping[str, ServiceFacts]


@dataclass(frozen=True, slots=True)
class Version:
    """Which version of which secret a reference has, before and after; None where it has none."""

    before: DeploymentSecretRow | None
    after: DeploymentSecretRow | None

    @property
    def replaced(self) -> bool:
        """Another secret of that name."""
        return self.before is not None and self.after is not None and self.before.secret_id != self.after.secret_id

    @property
    def change(self) -> str:
        if self.before is None:
            return "added"
        if self.after is None:
            return "removed"
        return "changed" if self.replaced or self.before.version != self.after.version else "same"


@dataclass(frozen=True, slots=True)
class Comparison:
    """A plan in the server's own words."""

    running: DeploymentRow | None
    versions: dict[str, Version]
    outcomes: dict[str, Outcome]
    notes: list[str]
    content: dict[str, Any]
    open: int
    swarm_secrets: list[PlannedSwarmSecret]

    @property
    def digest(self) -> str:
        """See ``PlanView``."""
        return hashlib.sha256(canonical(self.content).encode("ascii")).hexdigest()

    @property
    def changes(self) -> bool:
        """Whether a container or a file in one would change."""
        effects = any(one.effect is not Effect.NOTHING or one.touched for one in self.outcomes.values())
        return effects or any(one.change != "same" for one in self.versions.values())


async def former_of(entry: Entry, bundles: BundleService, place: Place) -> Former | None:
    """What runs in the place now. :class:`Conflict` where that belongs to another app or environment."""
    running = await _running(entry, place)
    row = await deployment_rows.bundle_by_id(entry.session, running.bundle_id) if running and running.bundle_id else None
    return None if running is None or row is None else Former(running.id, await bundles.open(row), target_of(running))


def facts_of(former: Former | None, packed: PackedBundle, scan: BundleScan) -> Facts | TooLarge:
    """All that takes long: for a thread, with no transaction open. ``scan`` has no problems.

    An error is kept for :func:`compare`, so that it is raised where it leaves an audit row.
    """
    try:
        return _facts(former, packed, scan)
    except TooLarge as error:
        return error


def _facts(former: Former | None, packed: PackedBundle, scan: BundleScan) -> Facts:
    coming = service_facts(scan.bundle, scan, packed.profiles, packed.variables)
    if former is None:
        return Facts(None, None, coming)
    known = find_references(former.packed.bundle(), allow_persisting=True)
    running = service_facts(known.bundle, known, former.packed.profiles, former.packed.variables)
    return Facts(former.id, running, coming)


def target_of(running: DeploymentRow) -> str:
    """``compose`` or ``swarm``."""
    return str(running.options.get("target", COMPOSE))


async def compare(
    entry: Entry, place: Place, digest: str, plan: Plan, facts: Facts | TooLarge, scan: BundleScan, target: str
) -> Comparison:
    """What the deployment of a bundle (``digest`` is its address) with the references of ``plan`` would change there.

    Raises :class:`Conflict` where something else runs there now than when the facts were found or the project runs there with
    another target, :class:`TooLarge` kept in the facts.
    """
    if isinstance(facts, TooLarge):
        raise facts
    running = await _running(entry, place)
    if (running.id if running else None) != facts.running_id:
        raise Conflict("what runs there changed at this moment; nothing was done: plan again")
    if running is not None and target_of(running) != target:
        runs, asked = f"with --target {target_of(running)}", f"with --target {target}"
        raise Conflict(f"this project runs {runs} on this node: undeploy it before it is deployed {asked}")
    assert place.scope.node is not None  # noqa: S101  # a place of a deployment has a node
    project = project_name(place.names.app or "", place.names.environment)
    state = await deployment_rows.unsettled(entry.session, place.scope.node, project, facts.running_id)
    before = (await deployment_rows.secrets_of(entry.session, [running.id]))[running.id] if running else []
    versions = _versions(before, plan.rows)
    values = [NewValue(name, value_text(name, one)) for name, one in versions.items() if one.change not in {"same", "removed"}]
    outcomes = (judge_swarm if target == SWARM else judge)(facts.running, facts.coming, values)
    notes = [text for count, text in zip(state, (_UNDER_WAY, _HALF_WAY), strict=True) if count]
    content = _content(place, project, digest, versions, outcomes)
    objects: list[PlannedSwarmSecret] = []
    if target == SWARM:
        notes += refusals(scan, facts.coming)
        content["target"] = target
        objects = secret_changes(project, before, plan.rows)
    return Comparison(running, versions, outcomes, notes, content, state[0], objects)


def _content(
    place: Place, project: str, digest: str, versions: Mapping[str, Version], outcomes: Mapping[str, Outcome]
) -> dict[str, Any]:
    """What the plan's digest is made from."""
    return {
        "format": PLAN_FORMAT,
        "app": place.names.app,
        "environment": place.names.environment,
        "node": place.names.node,
        "project": project,
        "bundle": digest,
        "references": {
            name: {"secret": str(one.after.secret_id), "version": one.after.version}
            for name, one in versions.items()
            if one.after is not None
        },
        "effects": {name: {"effect": one.effect.value, "certain": one.certain} for name, one in outcomes.items()},
    }


async def _running(entry: Entry, place: Place) -> DeploymentRow | None:
    assert place.scope.node is not None  # noqa: S101  # a place of a deployment has a node
    project = project_name(place.names.app or "", place.names.environment)
    running = await deployment_rows.current_deployment(entry.session, place.scope.node, project)
    if running is not None and (running.app_id, running.environment_id) != (place.scope.app, place.scope.environment):
        raise Conflict(f"another app has the Compose project {project} on this node already; rename one of them")
    return running


def _versions(before: list[DeploymentSecretRow], after: list[DeploymentSecretRow]) -> dict[str, Version]:
    old, new = {row.reference: row for row in before}, {row.reference: row for row in after}
    return {name: Version(old.get(name), new.get(name)) for name in sorted({*old, *new})}


def value_text(reference: str, version: Version) -> str:
    """One reference's change for people."""
    if version.before is None or version.after is None:
        return f"{reference} is new" if version.after else f"{reference} goes"
    numbers = f"{version.before.version} -> {version.after.version}"
    return f"{reference} {numbers}" + (" (of another secret of that name)" if version.replaced else "")


def check_pinned(pinned: str, known: dict[str, Any] | None, now: Comparison) -> None:
    """Raise :class:`Conflict` with one problem for each difference, unless a plan made now has the digest ``pinned``.

    ``known`` is what the digest stands for, where the server still knows it.
    """
    if now.open:
        rule = "another deployment of this project is open on the node: plan again when it has ended"
        raise Conflict("the plan cannot be kept; nothing was done", problems=[Problem("body.plan", rule, "open_deployment")])
    if pinned == now.digest:
        return
    if known is None:
        rule = "no plan of this digest is known here: plan again"
        raise Conflict("the plan cannot be kept; nothing was done", problems=[Problem("body.plan", rule, "unknown_plan")])
    raise Conflict(
        "the plan does not hold any more; nothing was done: look at a new plan", problems=_differences(known, now.content)
    )


def _differences(before: dict[str, Any], after: dict[str, Any]) -> list[Problem]:
    problems = []
    before, after = {"target": COMPOSE, **before}, {"target": COMPOSE, **after}
    for key in ("format", "app", "environment", "node", "project", "bundle", "target"):
        if before.get(key) != after[key]:
            rule = "the bundle is another one" if key == "bundle" else f"{before.get(key)} in the plan, {after[key]} now"
            problems.append(Problem(key, rule, "plan_changed"))
    for section, shown in (("references", _version_shown), ("effects", _effect_shown)):
        old, new = before.get(section, {}), after[section]
        for name in sorted({*old, *new}):
            if old.get(name) != new.get(name):
                rule = f"{shown(old.get(name))} in the plan, {shown(new.get(name))} now"
                if section == "references" and old.get(name) and new.get(name) and old[name]["secret"] != new[name]["secret"]:
                    rule += ", of another secret of that name"
                problems.append(Problem(f"{section}.{name}", rule, "plan_changed"))
    return problems


def _version_shown(one: dict[str, Any] | None) -> str:
    return "no version" if one is None else f"version {one['version']}"


def _effect_shown(one: dict[str, Any] | None) -> str:
    return "not there" if one is None else str(one["effect"]) + ("" if one["certain"] else "?")
