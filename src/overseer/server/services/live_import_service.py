"""Imports straight from a living store: Overseer asks a backend itself, so no value passes whoever asks for the import.

Guarantees: it needs ``backend:use`` of the folder and of every reference below it at the scope that the secrets go to, and
``secret:write`` for each of those; all of it is decided before a backend is asked and again in the transaction that compares. The
backend is asked with no transaction open. A value that is refused or missing there is named; nothing is imported then, unless the
caller wants the rest. Names that no secret can have are made from the rule of ``interchange.naming``; what remains is refused by
name. Memory: at most :data:`MAX_BYTES` of values for one import.

It copies the newest version, once. Who wants values to follow the store ties secrets to it instead (``secret_sourcing``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from overseer.compose.fields import all_fields
from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.backend_references import check_folder, grant_name
from overseer.core.errors import BackendRefused, BackendUnavailable, Conflict, Denied, InvalidInput, OverseerError, Problem
from overseer.core.identifiers import check_name
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.interchange.found import Found
from overseer.interchange.naming import PlaceRules, named
from overseer.server.backends.contract import BackendFailure, Stage
from overseer.server.backends.registry import KINDS
from overseer.server.services.backend_calls import RETRY_SECONDS, BackendCalls, as_error
from overseer.server.services.backend_folders import StoredPlace, places_below, shown
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.import_storing import Candidate, ImportStoring, Terms, replayed_answer
from overseer.server.services.places import Place, authorise_at, find_place
from overseer.server.storage import backend_rows
from overseer.server.storage.backend_rows import BackendRow
from overseer.wire.imports import MAX_ENTRIES, ImportAnswer, ImportResult, LiveImportRequest

AT_ONCE: Final = 100
ROUND_SECONDS: Final = 30.0
SECONDS: Final = 240.0
MAX_BYTES: Final = 16 * 1024 * 1024
#: Failures of one place; every other one is the backend's.
OF_A_PLACE: Final = frozenset({Stage.PERMISSION, Stage.PATH, Stage.FIELD, Stage.TOO_LARGE})
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A place whose value was not to be had."""

    place: StoredPlace
    why: str
    code: str = "unreadable"


class LiveImportService:
    """See the module's text."""

    def __init__(self, gate: Gate, calls: BackendCalls, storing: ImportStoring) -> None:
        self._gate = gate
        self._calls = calls
        self._storing = storing

    async def import_from_backend(
        self, caller: Caller, body: LiveImportRequest, idempotency: Idempotency | None = None
    ) -> ImportAnswer:
        """Import what is below ``body.folder``, or say what would become of it.

        Raises :class:`BackendRefused` with every value that cannot be had, :class:`BackendUnavailable`, :class:`Denied` with
        every reference that may not be used, :class:`InvalidInput` with every name that cannot be one, and as
        ``ImportStoring.run``.
        """
        caller = replace(caller, reason=body.reason or caller.reason)
        scope = Scope(body.app, body.environment, body.node)
        row, first = await self._begin(caller, body, None if body.dry_run else idempotency)
        if first is not None:
            return first
        listing = places_below(self._calls, row, body.folder, recursive=body.recursive)
        places = await self._let_through(caller, body, _chosen(await self._outside(caller, body, listing), body))
        rules = PlaceRules(body.prefix, body.keep_names, body.renames)
        candidates, unreadable = await self._outside(caller, body, self._candidates(row, body, rules, places))

        async def admit(entry: Entry) -> None:
            again, _ = await _admitted(entry, body, places)
            if (again.id, again.revision) != (row.id, row.revision):
                raise Conflict("the backend was changed meanwhile; try again")

        origin = f"backend {body.backend}:{body.folder}"[:200]
        terms = Terms(scope, origin, body.on_conflict, body.dry_run, body.immediate)
        names = [one.name for one in candidates]
        answer = await self._storing.run(caller, terms, names, lambda: candidates, idempotency, admit)
        left = [
            ImportResult(
                name=rules.name(one.place.below or one.place.name),
                state="unreadable",
                done=body.on_unreadable,
                source=one.place.name,
                why=one.why,
            )
            for one in unreadable
        ]
        return ImportAnswer(id=answer.id, dry_run=answer.dry_run, results=[*answer.results, *left])

    async def _begin(
        self, caller: Caller, body: LiveImportRequest, idempotency: Idempotency | None
    ) -> tuple[BackendRow, ImportAnswer | None]:
        """The backend, once the folder may be read; the answer where the same request was done before."""
        async with self._gate.enter(caller, AuditAction.IMPORT_FETCH) as entry:
            row, place = await _admitted(entry, body)
            first = await self._storing.first_import(entry, idempotency)
            if first is None:
                entry.postpone()
                return row, None
            names = [item.name for item in first.items]
            for name in names:
                authorise_at(entry, place, Permission.SECRET_WRITE, name)
                entry.amend(code="replayed")
            return row, replayed_answer(first, names)

    async def _let_through(
        self, caller: Caller, body: LiveImportRequest, places: Sequence[StoredPlace]
    ) -> Sequence[StoredPlace]:
        """Those of ``places`` that the caller may know of; each of them may be used."""
        async with self._gate.enter(caller, AuditAction.IMPORT_FETCH) as entry:
            row, place = await _admitted(entry, body)
            entry.postpone()
            known = {*shown(entry, row, place, body.folder, [one.name for one in places if one.below])}
            left = [one for one in places if not one.below or one.name in known]
            await _admitted(entry, body, left)
            entry.postpone()
        return left

    async def _outside(self, caller: Caller, body: LiveImportRequest, work: Awaitable[Result]) -> Result:
        """``work`` with no transaction open; what it raises is raised inside the gate, which notes it."""
        try:
            async with asyncio.timeout(SECONDS):
                return await work
        except TimeoutError:
            problem: OverseerError = BackendUnavailable(
                f"backend {body.backend} takes too long for all of this: import a folder at a time", retry_after=RETRY_SECONDS
            )
        except OverseerError as error:
            problem = error
        async with self._gate.enter(caller, AuditAction.IMPORT_FETCH) as entry:
            await _admitted(entry, body)
            raise problem

    async def _candidates(
        self, row: BackendRow, body: LiveImportRequest, rules: PlaceRules, places: Sequence[StoredPlace]
    ) -> tuple[list[Candidate], list[_Unreadable]]:
        """Names with values, and the places that have none. Raises for all that stands against the import."""
        found, unreadable = await self._read(row, body, places)
        if unreadable and body.on_unreadable == "fail" and not body.dry_run:
            problems = [Problem(one.place.name, one.why, one.code) for one in unreadable]
            count = f"{len(unreadable)} of {len(places)}"
            message = f"nothing was imported: {count} places cannot be read; on_unreadable (--on-unreadable) skip leaves them out"
            raise BackendRefused(message, problems=problems)
        wanted = [one for one in found if _is_wanted(one.name, body.only)]
        _check_known(body, [one.name for one in found], [one.place.below for one in unreadable])
        if not wanted and not unreadable:
            raise InvalidInput("there is nothing to import at this place of the backend")
        if len(wanted) > MAX_ENTRIES:
            raise InvalidInput(f"an import takes at most {MAX_ENTRIES} secrets: import a folder at a time")
        sources = {rules.name(one.name): one.place for one in reversed(wanted)}
        pairs = named(wanted, rules)
        return [Candidate(name, value, sources[name]) for name, value in pairs], unreadable

    async def _read(
        self, row: BackendRow, body: LiveImportRequest, places: Sequence[StoredPlace]
    ) -> tuple[list[Found], list[_Unreadable]]:
        found: list[Found] = []
        unreadable = [_Unreadable(one, "its name cannot be a reference", "bad_reference") for one in places if not one.reference]
        readable = [one for one in places if one.reference]
        size = 0
        for at in range(0, len(readable), AT_ONCE):
            chunk = readable[at : at + AT_ONCE]
            values = await self._calls.fetch(row, [one.reference for one in chunk if one.reference], ROUND_SECONDS)
            for place in chunk:
                value = values[place.reference] if place.reference else None
                if isinstance(value, BackendFailure):
                    if value.stage not in OF_A_PLACE:
                        raise as_error(row.name, value)
                    unreadable.append(_Unreadable(place, value.why, value.stage.value))
                elif value is not None:
                    size += len(value)
                    parts, failures = _parts(row.kind, body, place, value)
                    found += parts
                    unreadable += failures
            if size > MAX_BYTES:
                raise InvalidInput(f"an import takes at most {MAX_BYTES} bytes from a backend: import a folder at a time")
        return found, unreadable


async def _admitted(
    entry: Entry, body: LiveImportRequest, places: Sequence[StoredPlace] = ()
) -> tuple[BackendRow, Place]:
    """The backend and the scope, once it is decided that the folder, and each of ``places``, may be used for secrets there."""
    check_name(body.backend, "body.backend")
    path = f"{check_folder(body.folder, 'body.folder')}/" if body.folder else ""
    place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
    if place.missing and place.known_to(entry):
        entry.refuse(place.resource(), "unavailable")
        raise place.unknown()
    resource = Resource("backend", grant_name(body.backend, path), place.scope, scope_names=place.names)
    entry.authorise(Permission.BACKEND_USE, resource, action=AuditAction.IMPORT_FETCH)
    if place.missing:
        raise place.unknown()
    row = await backend_rows.backend_by_name(entry.session, body.backend)
    if row is None:
        rule = "there is no backend of that name: 'overseer backend list' shows them"
        raise InvalidInput(rule, problems=[Problem("body.backend", rule, "unknown")])
    entry.amend(resource_id=row.id)
    refused = []
    for one in places:
        if one.reference is None:
            continue
        resource = Resource("backend", grant_name(row.name, one.name), place.scope, row.id, place.names)
        if entry.permits(Permission.BACKEND_USE, resource):
            entry.authorise(Permission.BACKEND_USE, resource, action=AuditAction.IMPORT_FETCH)
        else:
            entry.refuse(resource, "no_binding", action=AuditAction.IMPORT_FETCH)
            refused.append(Problem(one.name, f"you lack {Permission.BACKEND_USE} for this reference", "denied"))
    if refused:
        raise Denied(f"nothing was imported: {len(refused)} of {len(places)} references may not be used", problems=refused)
    return row, place


def _chosen(places: Sequence[StoredPlace], body: LiveImportRequest) -> list[StoredPlace]:
    """The places that ``only`` speaks of, all where it says nothing: what is not wanted is not asked for."""
    wanted = {one.partition("#")[0] for one in body.only}
    return [one for one in places if not wanted or not one.below or one.below in wanted]


def _is_wanted(name: str, only: Sequence[str]) -> bool:
    return not only or name in only or name.partition("#")[0] in only


def _check_known(body: LiveImportRequest, names: Sequence[str], unreadable: Sequence[str]) -> None:
    """A place that is misspelt is told, not passed over."""
    rule = "there is no such place below the folder"
    known = {*names, *(name.partition("#")[0] for name in names), *unreadable}
    asked = [one for one in body.only if one not in known and one.partition("#")[0] not in unreadable]
    asked += [one for one in body.renames if one not in known]
    problems = [Problem(one, rule, "unknown") for one in dict.fromkeys(asked)]
    if problems:
        raise InvalidInput("nothing was imported: some places are not there", problems=problems)


def _parts(
    kind: str, body: LiveImportRequest, place: StoredPlace, value: SecretValue
) -> tuple[list[Found], list[_Unreadable]]:
    """One secret, or one for each field of an object; and the fields that hold nothing."""
    objects = KINDS[kind].objects if kind in KINDS else "never"
    split = body.fields == "split" or (body.fields == "auto" and objects != "never")
    fields = all_fields(value) if split else None
    if fields == {} and objects == "always":
        return [], [_Unreadable(place, "it has no fields", Stage.FIELD.value)]
    if not fields:
        return [Found(place.below or place.name.rpartition("/")[2], value, place.name)], []
    found, unreadable = [], []
    for field, part in fields.items():
        named_place = f"{place.name}#{field}"
        if part is None:
            empty = StoredPlace(named_place, f"{place.below}#{field}", None)
            unreadable.append(_Unreadable(empty, "this field is null", Stage.FIELD.value))
        else:
            found.append(Found(f"{place.below}#{field}" if place.below else field, part, named_place))
    return found, unreadable
