"""Imports whose values the caller brings, their list, and taking them back.

Guarantees: those of :class:`ImportStoring`. An undo makes the former version active again, and deletes what the import made, only
where the secret is exactly as the import left it; the rest is named and kept.

It won't undo what containers have got by then, and will not delete a secret that something deployed uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, InvalidInput
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.cursors import check_limit, read_id_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.import_storing import Candidate, ImportStoring, Terms
from overseer.server.services.key_service import KeyService
from overseer.server.services.secret_consumers import used
from overseer.server.services.secret_input import read_value, refusal
from overseer.server.services.tagged import entity_tag
from overseer.server.storage import import_rows, secret_rows
from overseer.server.storage.import_rows import ImportItem, ImportRow
from overseer.server.storage.secret_rows import SecretRow
from overseer.wire.imports import (
    ImportAnswer,
    ImportEntry,
    ImportItemView,
    ImportRequest,
    ImportUndo,
    ImportUndone,
    ImportView,
    UndoResult,
)
from overseer.wire.messages import Page
from overseer.wire.secret_batches import BatchActivate, BatchDelete
from overseer.wire.secret_batches import Operation as BatchOperation
from overseer.wire.secrets import ScopeView, SecretUpdate

MAX_LIFETIME: Final = 366 * 86_400
MOST_ITEMS: Final = 10_000
UNCHANGED: Final = "unchanged"


class ImportService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, storing: ImportStoring) -> None:
        self._gate = gate
        self._keys = keys
        self._storing = storing

    async def import_secrets(
        self, caller: Caller, body: ImportRequest, idempotency: Idempotency | None = None
    ) -> ImportAnswer:
        """Create and update what ``body`` holds, or say what would become of it. Needs and raises as ``ImportStoring.run``."""
        caller = replace(caller, reason=body.reason or caller.reason)
        terms = Terms(
            Scope(body.app, body.environment, body.node), body.origin, body.on_conflict, body.dry_run, body.immediate
        )
        names = [one.name for one in body.entries]
        return await self._storing.run(caller, terms, names, lambda: _read(body.entries), idempotency)

    async def list(self, caller: Caller, cursor: str | None = None, limit: int = 100) -> Page[ImportView]:
        """Imports, newest first: the caller's own, and those of which the caller may list every secret. A page may hold fewer
        than ``limit``, even none, and go on. Needs ``secret:list`` over anything.
        """
        async with self._gate.enter(caller, AuditAction.IMPORT_LIST) as entry:
            entry.authorise_list(Permission.SECRET_LIST, Resource("import"))
            before = None if cursor is None else read_id_cursor(cursor)
            check_limit(limit)
            rows, more = await import_rows.import_page(entry.session, before, limit, MOST_ITEMS)
            views = [_view(row, {}) for row in rows if _visible(entry, row)]
        return Page(items=views, next_cursor=write_cursor(str(rows[-1].id)) if more else None)

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

        async def alongside(entry: Entry, _: UUID, __: Sequence[UUID]) -> None:
            if not await import_rows.mark_undone(entry.session, import_id):
                raise Conflict("this import was undone already")
            entry.note_beside(Resource("import", id=import_id), AuditAction.IMPORT_UNDO, str(len(back)))

        if operations:
            await self._storing.batch(caller, operations, [item.name for item in back], alongside)
        return ImportUndone(id=str(import_id), results=[_undone(item, states[item.secret_id]) for item in row.items])


def _read(sent: Sequence[ImportEntry]) -> list[Candidate]:
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
        entries.append(Candidate(one.name, value, erase_after=_lifetime(number, one.erase_after)))
    return entries


def _lifetime(number: int, seconds: int | None) -> int | None:
    if seconds is not None and not 1 <= seconds <= MAX_LIFETIME:
        raise refusal(f"body.entries[{number}].erase_after", f"1 to {MAX_LIFETIME} seconds", "bad_time")
    return seconds


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
    if (row.latest_version, row.revision) != (item.version, item.revision):  # every change counts the revision up
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
