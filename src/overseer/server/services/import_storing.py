"""What every import does once it has names and values: compare with what is there, and store in one moment or not at all.

Guarantees: all or nothing, by a batch that compares each secret's entity tag under its lock, so what was compared is what is
changed; whether a value equals the stored one is told only to those who may reveal it without anybody's approval, and leaves a
row; a request that is sent twice with one idempotency key imports once, and gets the record of the first again (where nothing is
compared, so what it skipped is told as ``exists``).

It does not know where the values come from; what their source needs is decided by ``admit``, in the same transaction.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import Operation
from overseer.core.audit_events import AuditAction
from overseer.core.errors import BatchRefused, Conflict, OverseerError, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.server.services.approval_guard import guarded_secrets
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.places import Place, authorise_at, find_place
from overseer.server.services.secret_batches import Alongside
from overseer.server.services.secret_input import check_secret_name, check_text
from overseer.server.services.secret_service import SecretService
from overseer.server.services.tagged import entity_tag
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage import import_rows, secret_rows
from overseer.server.storage.import_rows import ImportRow, NewItem
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import StoredVersion, stored_versions
from overseer.wire.imports import ImportAnswer, ImportResult
from overseer.wire.secret_batches import BatchCreate, BatchUpdate, SecretBatch
from overseer.wire.secret_batches import Operation as BatchOperation

MAX_ORIGIN = 200


@dataclass(slots=True)
class Candidate:
    """One value on its way; ``stored`` where it may be compared. ``source`` is where it came from, for people.

    ``erase_after``: seconds after which the server deletes the secret that is made (None: never).
    """

    name: str
    value: SecretValue
    source: str = ""
    erase_after: int | None = None
    row: SecretRow | None = None
    stored: StoredVersion | None = None
    state: str = "new"
    done: str = "create"


@dataclass(frozen=True, slots=True)
class Terms:
    """What an import is asked to do, whatever its source."""

    scope: Scope[str]
    origin: str
    on_conflict: str
    dry_run: bool = False
    immediate: bool = False


Admit = Callable[[Entry], Awaitable[None]]


class ImportStoring:
    """See the module's text."""

    def __init__(self, gate: Gate, opener: ValueOpener, secrets: SecretService, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._opener = opener
        self._secrets = secrets
        self._idempotency = idempotency

    async def run(
        self,
        caller: Caller,
        terms: Terms,
        names: Sequence[str],
        read: Callable[[], list[Candidate]],
        idempotency: Idempotency | None = None,
        admit: Admit | None = None,
    ) -> ImportAnswer:
        """Import what ``read`` gives (one for each of ``names``, in order), or say what would become of it.

        Needs ``secret:write`` for each, decided before ``read``. Raises :class:`BatchRefused` with every name that exists with
        another value where ``on_conflict`` is ``fail``, and what a batch raises, its problems placed by name.
        """
        key = None if terms.dry_run else idempotency
        place, found = await self._compared(caller, terms, names, read, key, admit)
        if isinstance(found, ImportRow):
            return replayed_answer(found, names)
        for one in found:
            one.done = _done(one.state, terms.on_conflict)
        if terms.dry_run:
            return _answer(None, found, terms)
        _refuse_conflicts(found)
        chosen = [one for one in found if one.done != "skip"]
        if not chosen:
            return _answer(None, found, terms)
        import_id = await self._store(caller, terms, place, chosen, key)
        if import_id is None:  # the same request was on its way at the same time, and came first
            _, first = await self._compared(caller, terms, names, read, key, admit)
            if isinstance(first, ImportRow):
                return replayed_answer(first, names)
            raise Conflict("the same request was answered meanwhile; send it again")
        return _answer(import_id, found, terms)

    async def first_import(self, entry: Entry, idempotency: Idempotency | None) -> ImportRow | None:
        """The import that the same request made before, or None."""
        first = await self._idempotency.recall(entry, idempotency)
        return None if first is None else await import_rows.import_by_id(entry.session, first.resource_id)

    async def _compared(
        self,
        caller: Caller,
        terms: Terms,
        names: Sequence[str],
        read: Callable[[], list[Candidate]],
        idempotency: Idempotency | None,
        admit: Admit | None,
    ) -> tuple[Place, list[Candidate] | ImportRow]:
        """Every value with what is there, or the import that this request made before; opened after its row."""
        async with self._gate.enter(caller, AuditAction.IMPORT_COMPARE) as entry:
            if admit is not None:
                await admit(entry)
            before = len(entry.events)
            place = await find_place(entry.session, terms.scope)
            for name in names:
                authorise_at(entry, place, Permission.SECRET_WRITE, check_secret_name(name))
            check_text(terms.origin, "body.origin", MAX_ORIGIN)
            found = read()
            first = await self.first_import(entry, idempotency)
            if first is not None:
                entry.events[before:] = [replace(one, code="replayed") for one in entry.events[before:]]
                return place, first
            await _find_rows(entry, place, found, before)
            events = entry.events[before:]
        known = [(one, one.stored, event) for one, event in zip(found, events, strict=True) if one.stored is not None]
        values = await self._opener.open_all([(stored, event) for _, stored, event in known])
        for (one, _, _), value in zip(known, values, strict=True):
            one.stored = None
            if value == one.value:  # in constant time
                one.state = "same"
        return place, found

    async def _store(
        self, caller: Caller, terms: Terms, place: Place, chosen: Sequence[Candidate], idempotency: Idempotency | None
    ) -> UUID | None:
        """The new import's id; None where the batch found that the request had been done already."""
        made: list[UUID] = []

        async def alongside(entry: Entry, batch_id: UUID, ids: Sequence[UUID]) -> None:
            made.append(batch_id)
            await import_rows.insert_import(
                entry.session, batch_id, terms.origin, place.scope, place.names, entry.actor.id
            )
            items = [
                NewItem(secret_id, one.row.active_version if one.row else None, one.erase_after)
                for secret_id, one in zip(ids, chosen, strict=True)
            ]
            await import_rows.insert_items(entry.session, batch_id, items)
            entry.note_beside(Resource("import", id=batch_id), AuditAction.IMPORT_CREATE, str(len(chosen)))

        operations = [_operation(one, terms) for one in chosen]
        await self.batch(caller, operations, [one.name for one in chosen], alongside, idempotency)
        return made[0] if made else None

    async def batch(
        self,
        caller: Caller,
        operations: Sequence[BatchOperation],
        names: Sequence[str],
        alongside: Alongside,
        idempotency: Idempotency | None = None,
    ) -> None:
        """A batch whose problems are placed by the names of secrets."""
        try:
            await self._secrets.batch(caller, SecretBatch(operations=[*operations]), idempotency, alongside)
        except OverseerError as error:
            error.problems = tuple(replace(one, place=_by_name(one.place, names)) for one in error.problems)
            raise


async def _find_rows(entry: Entry, place: Place, found: Sequence[Candidate], before: int) -> None:
    """What is there for each: a row whose value may be compared says so in the audit row of its name (at ``before`` on)."""
    rows = {row.name: row for row in await secret_rows.secrets_at(entry.session, place.scope)}
    there = [row for one in found if (row := rows.get(one.name)) is not None]
    guarded = await guarded_secrets(entry.session, Operation.REVEAL, there)
    for position, one in enumerate(found, before):
        one.row = rows.get(one.name)
        if one.row is None:
            continue
        one.state = "exists"
        # Only who may see the value may learn whether another one equals it: else an import would be an oracle for guesses.
        if one.row.id not in guarded and entry.permits(Permission.SECRET_REVEAL, one.row.resource()):
            event = entry.events[position]
            entry.events[position] = replace(
                event, code="compared", resource_id=one.row.id, version=one.row.active_version
            )
            one.state = "changed"
    wanted = [(one.row.id, one.row.active_version) for one in found if one.row and one.state == "changed"]
    stored = await stored_versions(entry.session, wanted)
    for one in found:
        if one.row is not None and one.state == "changed":
            one.stored = stored.get((one.row.id, one.row.active_version))


def _done(state: str, on_conflict: str) -> str:
    if state == "new":
        return "create"
    if state == "same":
        return "skip"
    return {"skip": "skip", "new-version": "update"}.get(on_conflict, "fail")


def _refuse_conflicts(found: Sequence[Candidate]) -> None:
    failing = [Problem(one.name, "exists with another value", "conflict") for one in found if one.done == "fail"]
    if failing:
        message = (
            f"nothing was imported: {len(failing)} of {len(found)} secrets exist with another value; "
            "on_conflict (--on-conflict) skip or new-version says what becomes of them"
        )
        raise BatchRefused(message, problems=failing)
    dated = [Problem(one.name, "exists already", "exists") for one in found if one.erase_after is not None and one.row]
    if dated:
        raise BatchRefused("nothing was imported: what is to be erased again has to be new", problems=dated)


def _answer(import_id: UUID | None, found: Sequence[Candidate], terms: Terms) -> ImportAnswer:
    stored = import_id is not None
    results = [
        ImportResult(
            name=one.name,
            state=one.state,
            done=one.done,
            version=None if not stored or one.done == "skip" else one.row.latest_version + 1 if one.row else 1,
            source=one.source,
        )
        for one in found
    ]
    return ImportAnswer(id=str(import_id) if stored else None, dry_run=terms.dry_run, results=results)


def replayed_answer(first: ImportRow, names: Sequence[str]) -> ImportAnswer:
    """What the first of two equal requests came to, for ``names`` in their order."""
    items = {item.name: item for item in first.items}
    results = []
    for name in names:
        item = items.get(name)
        if item is None:
            results.append(ImportResult(name=name, state="exists", done="skip"))
        elif item.former_version is None:
            results.append(ImportResult(name=name, state="new", done="create", version=item.version))
        else:
            results.append(ImportResult(name=name, state="exists", done="update", version=item.version))
    return ImportAnswer(id=str(first.id), dry_run=False, results=results)


def _operation(one: Candidate, terms: Terms) -> BatchOperation:
    content = _content(one.value)
    if one.row is None:
        scope = terms.scope
        return BatchCreate(name=one.name, app=scope.app, environment=scope.environment, node=scope.node, **content)
    tag = entity_tag(one.row.latest_version, one.row.revision)
    return BatchUpdate(id=one.row.id, immediate=terms.immediate, if_match=tag, **content)


def _content(value: SecretValue) -> dict[str, Any]:
    raw = value.reveal()
    try:
        return {"value": raw.decode("utf-8")}
    except UnicodeDecodeError:
        return {"value_base64": base64.b64encode(raw).decode("ascii")}


def _by_name(place: str, names: Sequence[str]) -> str:
    head, _, rest = place.removeprefix("body.operations[").partition("]")
    if head == place or not head.isdigit() or int(head) >= len(names):
        return place
    return names[int(head)] + rest
