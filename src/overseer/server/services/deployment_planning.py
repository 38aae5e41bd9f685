"""Which version every reference of a bundle gets at a place, or every reason why not, each with its file, line and column.

The caller needs ``secret:use`` on the *winner* of each name, or where it only looks (a plan) ``secret:list``; a refused winner
never falls through to a less specific secret.
A default (``${SECRET:name:-…}``) stands in for a secret that does not exist, never for one that is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import UUID

from overseer.compose.advice import Advice
from overseer.compose.grammar import Reference
from overseer.compose.lines import by_place
from overseer.compose.positions import EXPOSED, METADATA, Kind
from overseer.compose.references import BundleScan, Form, Occurrence
from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Denied, InvalidInput, Problem, Unavailable
from overseer.core.permissions import Permission
from overseer.core.scope_selection import by_precedence
from overseer.core.scopes import Scope
from overseer.server.services.deployment_values import open_references, referenced_versions
from overseer.server.services.gate import Entry
from overseer.server.services.name_advice import advice_for
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage.deployment_rows import DeploymentSecretRow
from overseer.server.storage.rollout_rows import versions_at
from overseer.server.storage.secret_rows import SecretRow, candidates
from overseer.server.storage.version_rows import version_exists

PERSISTING = METADATA | EXPOSED | {Kind.ENVIRONMENT, Kind.ENV_FILE}
"""Where a value comes to lie in the engine's own data, as ``docker inspect`` shows it."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a deployment goes."""

    scope: Scope[UUID]
    names: Scope[str]


@dataclass(frozen=True, slots=True)
class Plan:
    """``rows`` are complete only where there is no problem. ``applying``: by name all secrets that apply, the winner first."""

    rows: list[DeploymentSecretRow]
    problems: list[Problem]
    applying: dict[str, list[SecretRow]] = field(default_factory=dict)


async def plan_references(
    entry: Entry, scan: BundleScan, place: Place, deployment_id: UUID, opener: ValueOpener | None
) -> Plan:
    """Decide every reference of the scan inside the gate's transaction; each decision is an audit row ``secret:use``.

    Without an ``opener`` nobody is about to use anything: ``secret:list`` is asked, only refusals leave rows, and whether a value
    has the field that a reference asks for is not looked at.
    """
    names = sorted({reference.name for reference in scan.references})
    found = await candidates(entry.session, names, place.scope)
    applying = {name: by_precedence([one for one in found if one.name == name], place.scope) for name in names}
    winners = {name: ordered[0] for name, ordered in applying.items() if ordered}
    # While a rollout runs, a node that was given the candidate gets it, whatever is deployed there.
    versions = await versions_at(entry.session, [one.id for one in winners.values()], place.scope.node)
    winners = {name: replace(one, active_version=versions.get(one.id, one.active_version)) for name, one in winners.items()}
    rows: list[DeploymentSecretRow] = []
    problems: list[Problem] = list(scan.problems)
    advice: Advice | None = None
    for reference in scan.references:
        uses = [one for one in scan.occurrences if one.reference == reference]
        winner = winners.get(reference.name)
        if winner is None and all(one.has_default for one in uses):
            continue
        refusal = await _refusal(entry, reference, winner, place, using=opener is not None)
        if refusal is None and winner is not None:
            rows.append(_row(deployment_id, reference, uses, winner))
        elif refusal is not None:
            rule, code = refusal
            if code in {"missing", "unavailable"}:
                advice = advice or await advice_for(entry, names, place.scope)
                suggestion = advice.suggestion(reference.name)
                rule = f"{rule}; {suggestion}" if suggestion else rule
            problems += [Problem(one.place, rule, code) for one in uses if not (code == "missing" and one.has_default)]
    if not problems and opener is not None:
        problems = await _missing_fields(entry, scan, rows, opener)
    return Plan(rows, sorted(problems, key=lambda one: by_place(one.place)), applying)


async def _refusal(  # noqa: PLR0911  # one line for each way to be refused
    entry: Entry, reference: Reference, winner: SecretRow | None, place: Place, *, using: bool
) -> tuple[str, str] | None:
    """Why the caller does not get this reference (rule, code), or None; who may list there is told missing from denied."""
    what = f'secret "{reference.name}"'
    hidden = f"{what} is not available for {place.names}: it does not exist there, or you may not use it"
    if winner is None:
        resource = Resource("secret", reference.name, place.scope, scope_names=place.names)
        entry.refuse(resource, "unavailable", action=AuditAction.SECRET_USE if using else None)
        if not entry.permits(Permission.SECRET_LIST, Resource("secret", reference.name, Scope(app=place.scope.app))):
            return hidden, "unavailable"
        return f"{what} does not exist for {place.names}; make it: overseer secret set {reference.name} --app …", "missing"
    version = reference.version or winner.active_version
    resource = winner.resource(version)
    if not using and not entry.permits(Permission.SECRET_LIST, resource):
        entry.refuse(resource, "no_binding")
        return hidden, "unavailable"
    try:
        if using:
            entry.authorise(Permission.SECRET_USE, resource, hide_without=Permission.SECRET_LIST, action=AuditAction.SECRET_USE)
    except Unavailable:
        return hidden, "unavailable"
    except Denied:
        return f"{what} at {winner.scope_names}: you lack {Permission.SECRET_USE} there; ask an owner for it", "denied"
    if reference.version is not None and not await version_exists(entry.session, winner.id, reference.version):
        return f"{what} has no version {reference.version}; the newest is {winner.latest_version}", "no_version"
    return None


async def _missing_fields(
    entry: Entry, scan: BundleScan, rows: list[DeploymentSecretRow], opener: ValueOpener
) -> list[Problem]:
    """References to a field that the value has not: found now, so that a deployment does not fail half way. Nothing leaves."""
    problems = []
    for row in rows:
        if not row.field:
            continue
        found = await referenced_versions(entry.session, [row])
        try:
            await open_references(opener, found, [entry.events[0]])
        except InvalidInput as error:
            uses = [one for one in scan.occurrences if str(one.reference) == row.reference]
            problems += [Problem(one.place, error.message, "no_field") for one in uses]
    return problems


def _row(deployment_id: UUID, reference: Reference, uses: list[Occurrence], winner: SecretRow) -> DeploymentSecretRow:
    return DeploymentSecretRow(
        deployment_id=deployment_id,
        reference=str(reference),
        secret_id=winner.id,
        secret_name=winner.name,
        version=reference.version or winner.active_version,
        field=reference.field or "",
        kinds=sorted({one.form.value for one in uses}),
        services=sorted({service for one in uses for service in one.services}),
        persists=any(one.form is Form.INLINE and one.kind in PERSISTING for one in uses),
    )
