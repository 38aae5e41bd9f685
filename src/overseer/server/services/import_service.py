"""Imports: many values for one scope, compared with what is there, stored in one moment, and taken back where nothing changed.

Guarantees: all or nothing, by a batch that compares each secret's entity tag under its lock, so what was compared is what is
changed; a dry run changes nothing and shows no value; whether a value equals the stored one is told only to those who may reveal
it without anybody's approval, and leaves a row. An undo makes the former version active again, and deletes what the import made,
only where the secret is exactly as the import left it; the rest is named and kept.

It won't undo what containers have got by then, and will not delete a secret that something deployed uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.approvals import Operation
from overseer.core.audit_events import AuditAction
from overseer.core.errors import BatchRefused, Conflict, InvalidInput, OverseerError, Problem
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.server.services.approval_guard import requirement_of, secret_place
from overseer.server.services.cursors import check_limit, read_id_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.places import Place, authorise_at, find_place
from overseer.server.services.secret_batches import Alongside
from overseer.server.services.secret_consumers import used
from overseer.server.services.secret_input import check_secret_name, check_text, read_value, refusal
from overseer.server.services.secret_service import SecretService
from overseer.server.services.tagged import entity_tag
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage import import_rows, secret_rows
from overseer.server.storage.import_rows import ImportItem, ImportRow
from overseer.server.storage.secret_rows import SecretRow
from overseer.server.storage.version_rows import StoredVersion, stored_versions
from overseer.wire.imports import (
    ImportAnswer,
    ImportEntry,
    ImportItemView,
    ImportRequest,
    ImportResult,
    ImportUndo,
    ImportUndone,
    ImportView,
    UndoResult,
)
from overseer.wire.messages import Page
from overseer.wire.secret_batches import BatchActivate, BatchCreate, BatchDelete, BatchUpdate, SecretBatch
from overseer.wire.secret_batches import Operation as BatchOperation
from overseer.wire.secrets import ScopeView, SecretUpdate

MAX_ORIGIN = 200
UNCHANGED = "unchanged"


@dataclass(slots=True)
class _Entry:
    """One entry on its way; ``stored`` where its value may be compared."""

    sent: ImportEntry
    value: SecretValue
    row: SecretRow | None = None
    stored: StoredVersion | None = None
    state: str = "new"
    done: str = "create"


class ImportService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, opener: ValueOpener, secrets: SecretService) -> None:
        self._gate = gate
        self._keys = keys
        self._opener = opener
        self._secrets = secrets

    async def import_secrets(self, caller: Caller, body: ImportRequest) -> ImportAnswer:
        """Create and update what ``body`` holds, or say what would become of it. Needs ``secret:write`` for each.

        Raises :class:`BatchRefused` with every name that exists with another value where ``on_conflict`` is ``fail``, and what a
        batch raises, its problems placed by name.
        """
        caller = replace(caller, reason=body.reason or caller.reason)
        place, entries = await self._compared(caller, body)
        for one in entries:
            one.done = _done(one.state, body.on_conflict)
        results = [ImportResult(name=one.sent.name, state=one.state, done=one.done) for one in entries]
        if body.dry_run:
            return ImportAnswer(id=None, dry_run=True, results=results)
        failing = [Problem(one.sent.name, "exists with another value", "conflict") for one in entries if one.done == "fail"]
        if failing:
            message = (
                f"nothing was imported: {len(failing)} of {len(entries)} secrets exist with another value; "
                "on_conflict (--on-conflict) skip or new-version says what becomes of them"
            )
            raise BatchRefused(message, problems=failing)
        chosen = [one for one in entries if one.done != "skip"]
        if not chosen:
            return ImportAnswer(id=None, dry_run=False, results=results)
        import_id = await self._store(caller, body, place, chosen)
        versions = {one.sent.name: one.row.latest_version + 1 if one.row else 1 for one in chosen}
        results = [
            ImportResult(name=one.name, state=one.state, done=one.done, version=versions.get(one.name)) for one in results
        ]
        return ImportAnswer(id=str(import_id), dry_run=False, results=results)

    async def _compared(self, caller: Caller, body: ImportRequest) -> tuple[Place, list[_Entry]]:
        """Every entry with what is there; decided and audited first, opened after that."""
        async with self._gate.enter(caller, AuditAction.IMPORT_COMPARE) as entry:
            place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
            for sent in body.entries:
                authorise_at(entry, place, Permission.SECRET_WRITE, check_secret_name(sent.name))
            check_text(body.origin, "body.origin", MAX_ORIGIN)
            entries = _read(body.entries)
            rows = {row.name: row for row in await secret_rows.secrets_at(entry.session, place.scope)}
            for number, found in enumerate(entries):
                found.row = rows.get(found.sent.name)
                if found.row is not None and await _may_compare(entry, found.row):
                    position = len(entry.events) - len(entries) + number
                    event = replace(entry.events[position], code="compared", resource_id=found.row.id)
                    entry.events[position] = replace(event, version=found.row.active_version)
                    found.state = "changed"
                elif found.row is not None:
                    found.state = "exists"
            wanted = [(one.row.id, one.row.active_version) for one in entries if one.row and one.state == "changed"]
            stored = await stored_versions(entry.session, wanted)
            for found in entries:
                if found.row is not None and found.state == "changed":
                    found.stored = stored.get((found.row.id, found.row.active_version))
            events = entry.events[-len(entries) :]
        known = [(one, one.stored, event) for one, event in zip(entries, events, strict=True) if one.stored is not None]
        values = await self._opener.open_all([(stored, event) for _, stored, event in known])
        for (one, _, _), value in zip(known, values, strict=True):
            if value == one.value:  # in constant time
                one.state = "same"
        return place, entries

    async def _store(self, caller: Caller, body: ImportRequest, place: Place, chosen: Sequence[_Entry]) -> UUID:
        made: list[UUID] = []

        async def alongside(entry: Entry, ids: Sequence[UUID]) -> None:
            made.append(new_id(entry.now))
            names = place.names
            await import_rows.insert_import(entry.session, made[0], body.origin, place.scope, names, entry.actor.id)
            formers = [one.row.active_version if one.row else None for one in chosen]
            await import_rows.insert_items(entry.session, made[0], list(zip(ids, formers, strict=True)))
            entry.note_beside(Resource("import", id=made[0]), AuditAction.IMPORT_CREATE, str(len(chosen)))

        operations = [_operation(one, body) for one in chosen]
        await self._batch(caller, operations, [one.sent.name for one in chosen], alongside)
        return made[0]

    async def _batch(
        self, caller: Caller, operations: Sequence[BatchOperation], names: Sequence[str], alongside: Alongside
    ) -> None:
        try:
            await self._secrets.batch(caller, SecretBatch(operations=[*operations]), None, alongside)
        except OverseerError as error:
            error.problems = tuple(replace(one, place=_by_name(one.place, names)) for one in error.problems)
            raise

    async def list(self, caller: Caller, cursor: str | None = None, limit: int = 100) -> Page[ImportView]:
        """Imports, newest first: the caller's own, and those of which the caller may list every secret. A page may hold fewer
        than ``limit``, even none, and go on. Needs ``secret:list`` over anything.
        """
        async with self._gate.enter(caller, AuditAction.IMPORT_LIST) as entry:
            entry.authorise_list(Permission.SECRET_LIST, Resource("import"))
            before = None if cursor is None else read_id_cursor(cursor)
            check_limit(limit)
            rows = await import_rows.import_page(entry.session, before, limit + 1)
            views = [_view(row, {}) for row in rows[:limit] if _visible(entry, row)]
        return Page(items=views, next_cursor=write_cursor(str(rows[limit - 1].id)) if len(rows) > limit else None)

    async def get(self, caller: Caller, import_id: UUID) -> ImportView:
        """One import, and for each secret whether an undo would take it back. Raises :class:`Unavailable`."""
        async with self._gate.enter(caller, AuditAction.IMPORT_READ) as entry:
            row = await _known(entry, import_id)
            states = await _states(entry, row)
        return _view(row, states)

    async def undo(self, caller: Caller, import_id: UUID, body: ImportUndo) -> ImportUndone:
        """Take back what nothing happened to since. Needs ``secret:activate`` for what gets its former version back, and
        ``secret:delete`` for what the import made.

        Raises :class:`Conflict` where it was undone before, and what a batch raises.
        """
        await self._keys.prepare_to_encrypt()
        async with self._gate.enter(caller, AuditAction.IMPORT_UNDO) as entry:
            row = await _known(entry, import_id)
            if row.undone_at is not None:
                raise Conflict("this import was undone already")
            states = await _states(entry, row)
            current = {one.id: one for one in await secret_rows.secrets_by_id(entry.session, list(states))}
        back = [item for item in row.items if states[item.secret_id] == UNCHANGED]
        operations = [_undo(item, current[item.secret_id], body) for item in back]

        async def alongside(entry: Entry, _: Sequence[UUID]) -> None:
            if not await import_rows.mark_undone(entry.session, import_id):
                raise Conflict("this import was undone already")
            entry.note_beside(Resource("import", id=import_id), AuditAction.IMPORT_UNDO, str(len(back)))

        if operations:
            await self._batch(caller, operations, [item.name for item in back], alongside)
        return ImportUndone(id=str(import_id), results=[_undone(item, states[item.secret_id]) for item in row.items])


def _read(sent: Sequence[ImportEntry]) -> list[_Entry]:
    entries, seen = [], set()
    for number, one in enumerate(sent):
        if one.name in seen:
            raise refusal(f"body.entries[{number}].name", "stands twice among the entries", "doubled_name")
        seen.add(one.name)
        try:
            value = read_value(SecretUpdate(value=one.value, value_base64=one.value_base64)).value
        except InvalidInput as error:
            error.problems = tuple(
                replace(part, place=part.place.replace("body", f"body.entries[{number}]", 1)) for part in error.problems
            )
            raise
        entries.append(_Entry(one, value))
    return entries


async def _may_compare(entry: Entry, row: SecretRow) -> bool:
    """Only who may see the value may learn whether another one equals it: else an import would be an oracle for guesses."""
    if not entry.permits(Permission.SECRET_REVEAL, row.resource()):
        return False
    return await requirement_of(entry.session, [secret_place(Operation.REVEAL, row)]) is None


def _done(state: str, on_conflict: str) -> str:
    if state == "new":
        return "create"
    if state == "same":
        return "skip"
    return {"skip": "skip", "new-version": "update"}.get(on_conflict, "fail")


def _operation(one: _Entry, body: ImportRequest) -> BatchOperation:
    value, encoded = one.sent.value, one.sent.value_base64
    if one.row is None:
        return BatchCreate(
            name=one.sent.name, value=value, value_base64=encoded, app=body.app, environment=body.environment, node=body.node
        )
    tag = entity_tag(one.row.latest_version, one.row.revision)
    return BatchUpdate(id=one.row.id, value=value, value_base64=encoded, immediate=body.immediate, if_match=tag)


def _by_name(place: str, names: Sequence[str]) -> str:
    head, _, rest = place.removeprefix("body.operations[").partition("]")
    if head == place or not head.isdigit() or int(head) >= len(names):
        return place
    return names[int(head)] + rest


def _visible(entry: Entry, row: ImportRow) -> bool:
    if row.created_by == entry.actor.id:
        return True
    resources = (Resource("secret", item.name, row.scope, scope_names=row.scope_names) for item in row.items)
    return all(entry.permits(Permission.SECRET_LIST, one) for one in resources)


async def _known(entry: Entry, import_id: UUID) -> ImportRow:
    row = await import_rows.import_by_id(entry.session, import_id)
    if row is None:
        entry.missing(Resource("import", id=import_id))
    if not _visible(entry, row):
        entry.refuse(Resource("import", id=import_id), "no_binding")
        entry.hide("import")
    entry.accept(Resource("import", id=import_id))
    return row


async def _states(entry: Entry, row: ImportRow) -> dict[UUID, str]:
    """For each secret ``unchanged``, or why an undo leaves it alone."""
    found = {one.id: one for one in await secret_rows.secrets_by_id(entry.session, [item.secret_id for item in row.items])}
    in_use = await used(entry, list(found))
    return {item.secret_id: _state(item, found.get(item.secret_id), in_use) for item in row.items}


def _state(item: ImportItem, row: SecretRow | None, in_use: set[UUID]) -> str:
    if row is None:
        return "deleted since"
    if (row.latest_version, row.active_version, row.revision) != (item.version, item.version, item.revision):
        return "changed since"
    if item.former_version is None and row.id in in_use:
        return "in use by something that is deployed"
    return UNCHANGED


def _undo(item: ImportItem, row: SecretRow, body: ImportUndo) -> BatchOperation:
    tag = entity_tag(row.latest_version, item.revision)
    if item.former_version is None:
        return BatchDelete(id=item.secret_id, if_match=tag)
    return BatchActivate(id=item.secret_id, version=item.former_version, immediate=body.immediate, if_match=tag)


def _undone(item: ImportItem, state: str) -> UndoResult:
    if state != UNCHANGED:
        return UndoResult(name=item.name, done="kept", why=state)
    return UndoResult(name=item.name, done="deleted" if item.former_version is None else "restored")


def _view(row: ImportRow, states: dict[UUID, str]) -> ImportView:
    names = row.scope_names
    return ImportView(
        id=str(row.id),
        origin=row.origin,
        scope=ScopeView(app=names.app, environment=names.environment, node=names.node),
        created_by=row.creator,
        created_at=row.created_at,
        undone_at=row.undone_at,
        items=[
            ImportItemView(
                name=item.name,
                secret_id=str(item.secret_id),
                version=item.version,
                former_version=item.former_version,
                state=states.get(item.secret_id, ""),
            )
            for item in row.items
        ],
    )
