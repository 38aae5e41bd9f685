"""Which version every reference of a bundle gets at a place, or every reason why not, each with its file, line and column.

The caller needs ``secret:use`` on the *winner* of each name, or where it only looks (a plan) ``secret:list``; a refused winner
never falls through to a less specific secret.
A default (``${SECRET:name:-…}``) stands in for a secret that does not exist, never for one that is refused; that a secret does
not exist is told, also by its default, only to who may list the name at every scope that covers the place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import UUID

from overseer.compose.grammar import Reference
from overseer.compose.lines import by_place
from overseer.compose.positions import EXPOSED, METADATA, Kind
from overseer.compose.references import BundleScan, Form, Occurrence
from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Denied, Problem, Unavailable
from overseer.core.permissions import Permission
from overseer.core.scope_selection import by_precedence
from overseer.core.scopes import Scope
from overseer.server.services.deployment_values import field_faults, referenced_versions
from overseer.server.services.gate import Entry
from overseer.server.services.name_advice import MOST_NAMES, advice_for
from overseer.server.services.secret_access import may_be_told_missing
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage.deployment_rows import DeploymentSecretRow
from overseer.server.storage.rollout_rows import versions_at
from overseer.server.storage.secret_rows import SecretRow, candidates
from overseer.server.storage.version_rows import existing_versions

PERSISTING = METADATA | EXPOSED | {Kind.ENVIRONMENT, Kind.ENV_FILE}
"""Where a value comes to lie in the engine's own data, as ``docker inspect`` shows it."""
_BREATH: Final = 200


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
    applying: dict[str, list[SecretRow]] = {name: [] for name in names}
    for one in by_precedence(found, place.scope):
        applying[one.name].append(one)
    winners = {name: ordered[0] for name, ordered in applying.items() if ordered}
    # While a rollout runs, a node that was given the candidate gets it, whatever is deployed there.
    versions = await versions_at(entry.session, [one.id for one in winners.values()], place.scope.node)
    winners = {name: replace(one, active_version=versions.get(one.id, one.active_version)) for name, one in winners.items()}
    rows: list[DeploymentSecretRow] = []
    problems: list[Problem] = list(scan.problems)
    refused: dict[Reference, tuple[str, str]] = {}
    pinned = [(winners[one.name].id, one.version) for one in scan.references if one.version and one.name in winners]
    known = _Known(winners, await existing_versions(entry.session, pinned))
    uses = scan.uses()
    for number, (reference, occurrences) in enumerate(uses.items()):
        if number % _BREATH == 0:
            await asyncio.sleep(0)  # other requests go on while many references are decided
        winner = winners.get(reference.name)
        defaulted = all(one.has_default for one in occurrences)
        refusal = _refusal(entry, reference, known, place, using=opener is not None, defaulted=defaulted)
        if refusal is not None:
            refused[reference] = refusal
        elif winner is not None:
            rows.append(_row(deployment_id, reference, occurrences, winner))
    suggestions = await _suggestions(entry, refused, place)
    for reference, (rule, code) in refused.items():
        problems += _problems(reference, rule + suggestions.get(reference.name, ""), code, uses[reference], place)
    if opener is not None:
        problems += await _missing_fields(entry, uses, rows, opener)
    return Plan(rows, sorted(problems, key=lambda one: by_place(one.place)), applying)


@dataclass(frozen=True, slots=True)
class _Known:
    """What was read: the winner of each name that has one, and those of the pinned versions that exist."""

    winners: dict[str, SecretRow]
    versions: set[tuple[UUID, int]]


def _refusal(  # noqa: PLR0911  # one line for each way to be refused
    entry: Entry, reference: Reference, known: _Known, place: Place, *, using: bool, defaulted: bool
) -> tuple[str, str] | None:
    """Why the caller does not get this reference (rule, code), or None; ``defaulted``: each use of it has a default."""
    what = f'secret "{reference.name}"'
    hidden = f"{what} is not available for {place.names}: it does not exist there, or you may not use it"
    winner = known.winners.get(reference.name)
    if winner is None:
        resource = Resource("secret", reference.name, place.scope, scope_names=place.names)
        tellable = may_be_told_missing(entry, resource)
        if tellable and defaulted:
            return None
        entry.refuse(resource, "unavailable", action=AuditAction.SECRET_USE if using else None)
        if not tellable:
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
    if reference.version is not None and (winner.id, reference.version) not in known.versions:
        return f"{what} has no version {reference.version}; the newest is {winner.latest_version}", "no_version"
    return None


def _problems(reference: Reference, rule: str, code: str, uses: Sequence[Occurrence], place: Place) -> list[Problem]:
    """One for each use; what has a default is said to those alone who may not know whether it is needed."""
    untold = (
        f'whether secret "{reference.name}" exists for {place.names} cannot be told to you, so its default cannot be used: '
        f"ask for {Permission.SECRET_LIST} at every scope that covers this place, or leave the reference out"
    )
    problems = []
    for one in uses:
        if code == "missing" and one.has_default:
            continue
        problems.append(Problem(one.place, untold if code == "unavailable" and one.has_default else rule, code))
    return problems


async def _suggestions(entry: Entry, refused: dict[Reference, tuple[str, str]], place: Place) -> dict[str, str]:
    """What was perhaps meant by the first of the names without a secret for the caller: likeness costs time."""
    names = list(dict.fromkeys(one.name for one, (_, code) in refused.items() if code in {"missing", "unavailable"}))[:MOST_NAMES]
    if not names:
        return {}
    advice = await advice_for(entry, names, place.scope)
    found = {name: advice.suggestion(name) for name in names}
    return {name: f"; {text}" for name, text in found.items() if text}


async def _missing_fields(
    entry: Entry, uses: Mapping[Reference, Sequence[Occurrence]], rows: list[DeploymentSecretRow], opener: ValueOpener
) -> list[Problem]:
    """References to a field that the value has not: found now, so that a deployment does not fail half way. Nothing leaves."""
    asked = [row for row in rows if row.field]
    if not asked:
        return []
    found = await referenced_versions(entry.session, asked)
    faults = await field_faults(opener, found, [entry.events[0]] * len(found))
    return [
        Problem(one.place, faults[str(reference)], "no_field")
        for reference, occurrences in uses.items()
        if str(reference) in faults
        for one in occurrences
    ]


def _row(deployment_id: UUID, reference: Reference, uses: Sequence[Occurrence], winner: SecretRow) -> DeploymentSecretRow:
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
