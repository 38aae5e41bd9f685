"""Which secrets a consumer at a place gets: their values (resolve), or why those (explain).

Guarantees: the winner of a name is chosen by precedence alone and the permission is asked *on the winner*: a refused winner
never falls through to a less specific secret. All names are available or none is given, with one problem per unavailable name;
each name has its audit row, committed before anything is decrypted. What waits for an approval is refused alike. Missing and
refused look the same to a caller who may not list there, and a place with a part that the caller may not know of looks the same
whether or not it exists.

A value whose ``expires_at`` has passed is given all the same, as in ``secret_reading``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import Operation
from overseer.core.audit_events import AuditAction, Outcome
from overseer.core.errors import ApprovalRequired, Conflict, Problem, TooLarge, Unavailable
from overseer.core.identifiers import check_name
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scope_selection import by_precedence, select_winners
from overseer.core.scopes import PRECEDENCE, Scope
from overseer.server.services.approval_guard import CODE, refusal_of, requirement_of, reveal_of, secret_place
from overseer.server.services.gate import HIDDEN_MESSAGE, Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.places import Place, find_place
from overseer.server.services.resolve_batches import ReleasedName, ResolveBatches
from overseer.server.services.secret_access import may_be_told_missing
from overseer.server.services.secret_input import refusal
from overseer.server.services.secret_views import secret_view
from overseer.server.services.source_refresh import STALE, SourceRefresh
from overseer.server.services.value_opener import Revealed, ValueOpener
from overseer.server.storage.secret_rows import SecretRow, all_candidates, candidates
from overseer.server.storage.version_rows import stored_versions
from overseer.wire.secrets import ExplainAnswer, ExplainRequest, ResolveRequest

MAX_NAMES: Final = 500
_NAMES_RULE: Final = f"names is a list of 1 to {MAX_NAMES} names; leave it out for every secret that applies"
_MAX_CANDIDATES: Final = 8 * MAX_NAMES
_RULES: Final = {
    "missing": "no secret of that name applies at this place",
    "denied": f"you lack {Permission.SECRET_REVEAL} for the secret that applies at this place",
    "unavailable": HIDDEN_MESSAGE,
}


class ResolveService:
    """See the module's text."""

    def __init__(
        self, gate: Gate, keys: KeyService, opener: ValueOpener, batches: ResolveBatches, sources: SourceRefresh
    ) -> None:
        self._sources = sources
        self._gate = gate
        self._keys = keys
        self._opener = opener
        self._batches = batches

    async def resolve(self, caller: Caller, body: ResolveRequest) -> list[Revealed]:
        """The values for ``body.names`` in that order (each once), or of every secret there that the caller may reveal, by name.

        Needs ``secret:reveal`` on each winner. Raises :class:`Unavailable` with one problem per unavailable name (its place is
        the name; its code ``missing`` or ``denied`` where the caller may list there, else ``unavailable``).
        """
        _ = self._keys.keyring  # sealed: say so before a row claims that a value was released
        caller = replace(caller, reason=body.reason or caller.reason)
        released = None
        if body.names is not None and len(body.names) <= MAX_NAMES:
            place = Scope(body.app, body.environment, body.node)
            released = await self._batches.release(caller, place, list(dict.fromkeys(body.names)))
        if released is None:
            released = await self._release_alone(caller, body)
        values = await self._opener.open_all([(one.stored, one.event) for one in released])
        return [
            Revealed(str(one.stored.secret_id), one.name, one.stored.version, value, one.event.code == STALE)
            for one, value in zip(released, values, strict=True)
        ]

    async def _release_alone(
        self, caller: Caller, body: ResolveRequest, asked: Sequence[UUID] = ()
    ) -> list[ReleasedName]:
        """One resolve through the gate: the same decision, one transaction for it alone; every refusal is told here.

        Where backends have to be asked first, that happens between two of them; ``asked`` is for what.
        """
        async with self._gate.enter(caller, AuditAction.SECRET_RESOLVE) as entry:
            names = _names(body.names)
            place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
            known = place.known_to(entry)
            if known and place.missing:
                entry.refuse(place.resource(), "unavailable")
                raise place.unknown()
            if names is None:
                winners = await _revealable(entry, place, known)
            else:
                winners = await _named(entry, place, known, names)
            due = [] if asked else await self._sources.due(entry, winners)
            if due:
                entry.postpone()
            else:
                found = await stored_versions(entry.session, [(row.id, row.active_version) for row in winners])
                if len(found) != len(winners):
                    raise Conflict("a secret was deleted while it was resolved; try again")
                await self._sources.judge(entry, winners, asked)
                released = list(zip(winners, entry.events[-len(winners) :], strict=True)) if winners else []
        if due:
            await self._sources.refresh(due, caller.request_id)
            return await self._release_alone(caller, body, [one.secret_id for one in due])
        return [ReleasedName(row.name, found[row.id, row.active_version], event) for row, event in released]

    async def explain(self, caller: Caller, body: ExplainRequest) -> ExplainAnswer:
        """The winner of a name at a place and what it shadows, as far as the caller may list them. Needs ``secret:list``.

        Where the winner is hidden from the caller, so is all that it shadows (``winner`` None, ``shadowed`` empty): to show a
        lesser secret as the winner would be a lie about what a deployment gets.
        """
        async with self._gate.enter(caller, AuditAction.SECRET_EXPLAIN) as entry:
            name = check_name(body.name, "body.name")
            place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
            entry.authorise_list(Permission.SECRET_LIST, place.resource(name))
            if not place.known_to(entry):
                entry.amend(outcome=Outcome.DENIED, code="no_binding")
                entry.hide("secret")
            if place.missing:
                raise place.unknown()
            ordered = by_precedence(await candidates(entry.session, [name], place.scope), place.scope)
            if ordered and not entry.permits(Permission.SECRET_LIST, ordered[0].resource()):
                ordered = []
            visible = [row for row in ordered if entry.permits(Permission.SECRET_LIST, row.resource())]
            if visible:
                entry.amend(resource_id=visible[0].id)
        winner, shadowed = (visible[0], visible[1:]) if visible else (None, [])
        return ExplainAnswer(
            name=name,
            winner=secret_view(winner) if winner else None,
            shadowed=[secret_view(row) for row in shadowed],
            precedence=list(PRECEDENCE),
        )


def _names(names: Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    if not 1 <= len(names) <= MAX_NAMES:
        raise refusal("body.names", _NAMES_RULE, "bad_names")
    for position, name in enumerate(names):
        check_name(name, f"body.names[{position}]")
    return list(dict.fromkeys(names))


async def _named(entry: Entry, place: Place, known: bool, names: Sequence[str]) -> list[SecretRow]:
    """The winner of every name, each with its ``allowed`` row; raises for all names that have none for this caller."""
    found = await candidates(entry.session, names, place.scope) if known else []
    winners = select_winners(found, place.scope)
    problems = []
    for name in names:
        winner = winners.get(name)
        if winner is not None and entry.permits(Permission.SECRET_REVEAL, winner.resource()):
            entry.authorise(Permission.SECRET_REVEAL, winner.resource(winner.active_version))
            waits = await _guarded(entry, winner)
            if waits is not None:
                entry.deny_event(-1, CODE)
                problems.append(Problem(name, waits.message, CODE))
            continue
        code = _refused(entry, place, known, name, winner)
        problems.append(Problem(name, _RULES[code], code))
    if problems and all(problem.code == CODE for problem in problems):
        message = f"nothing was released: {len(problems)} of {len(names)} names wait for approval"
        raise ApprovalRequired(message, problems=problems)
    if problems:
        listed = ", ".join(problem.place for problem in problems[:10]) + ", …" * (len(problems) > 10)
        message = f"nothing was released: {len(problems)} of {len(names)} names are unavailable ({listed})"
        raise Unavailable(message, problems=problems)
    return [winners[name] for name in names]


async def _guarded(entry: Entry, winner: SecretRow) -> ApprovalRequired | None:
    """Why a name that its caller may reveal is not released; None where it is, an approval used up where one was needed."""
    asked = reveal_of(entry, winner, winner.active_version)
    return await refusal_of(entry, asked, [secret_place(Operation.REVEAL, winner)], [Permission.SECRET_REVEAL])


def _refused(entry: Entry, place: Place, known: bool, name: str, winner: SecretRow | None) -> str:
    """Write the row of an unavailable name, with the truth; the word that this caller may hear."""
    if winner is not None:
        entry.refuse(winner.resource(winner.active_version), "no_binding")
        return "denied" if entry.permits(Permission.SECRET_LIST, winner.resource()) else "unavailable"
    resource = place.resource(name)
    entry.refuse(resource, "unavailable" if known else "no_binding")
    return "missing" if known and may_be_told_missing(entry, resource) else "unavailable"


async def _revealable(entry: Entry, place: Place, known: bool) -> list[SecretRow]:
    """Every winner that the caller may reveal, by name, each with its ``allowed`` row; one row where there is none.

    What waits for an approval is not among them: an approval is for what somebody asked for by name.
    """
    found = await all_candidates(entry.session, place.scope, _MAX_CANDIDATES + 1) if known else []
    winners = select_winners(found, place.scope)
    chosen = [
        winners[name] for name in sorted(winners) if entry.permits(Permission.SECRET_REVEAL, winners[name].resource())
    ]
    chosen = [row for row in chosen if await requirement_of(entry.session, [secret_place(Operation.REVEAL, row)]) is None]
    if len(chosen) > MAX_NAMES or len(found) > _MAX_CANDIDATES:
        rule = f"more than {MAX_NAMES} secrets apply at this place; ask for them by name"
        raise TooLarge(rule, problems=[Problem("body.names", rule, "too_large")])
    for row in chosen:
        entry.authorise(Permission.SECRET_REVEAL, row.resource(row.active_version))
    if not chosen:
        entry.authorise_list(Permission.SECRET_REVEAL, Resource("secret", "", place.scope, scope_names=place.names))
    return chosen
