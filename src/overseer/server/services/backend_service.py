"""Backends: set up, shown, tried, changed, deleted. A credential goes in and never comes out.

Guarantees: credentials lie in an envelope that is bound to the settings beside them; new settings need the credentials again, so
that nobody who may change a backend, and does not know its credentials, has them sent to an address of his own. A backend is
asked with no transaction open, and what was wrong is said by stage, never in the backend's words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from msgspec import UNSET

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, Outcome
from overseer.core.backend_references import check_folder, grant_name
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, OverseerError, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import EncryptedValue
from overseer.server.backends.registry import BackendKind, check_credentials, check_settings, kind_of
from overseer.server.services.backend_calls import BackendCalls
from overseer.server.services.backend_folders import shown
from overseer.server.services.cursors import check_limit, read_id_cursor, read_name_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.services.places import Place, find_place
from overseer.server.services.scope_service import check_description
from overseer.server.services.source_views import source_view
from overseer.server.services.tagged import Tagged, check_revision, revision_tag
from overseer.server.storage import backend_rows
from overseer.server.storage.backend_rows import BackendRow
from overseer.server.storage.secret_rows import secrets_by_id
from overseer.wire.backends import BackendCreate, BackendPatch, BackendRefs, BackendTest, BackendView, SourceView
from overseer.wire.messages import Page

MAX_SECONDS: Final = 366 * 86_400
MAX_TIMEOUT: Final = 30
_NO_ENVELOPE: Final = EncryptedValue(0, 0, b"", b"")


class BackendService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, idempotency: IdempotencyKeeper, calls: BackendCalls) -> None:
        self._gate = gate
        self._keys = keys
        self._idempotency = idempotency
        self._calls = calls

    async def create_backend(
        self, caller: Caller, body: BackendCreate, idempotency: Idempotency | None = None
    ) -> Tagged[BackendView]:
        """A new backend; it is not asked. Needs ``backend:write``. :class:`AlreadyExists` where the name is taken."""
        await self._keys.prepare_to_encrypt()
        async with self._gate.enter(caller, AuditAction.BACKEND_CREATE) as entry:
            entry.authorise(Permission.BACKEND_WRITE, Resource("backend", body.name))
            check_name(body.name, "body.name")
            check_description(body.description)
            kind = kind_of(body.kind)
            settings, credentials = check_settings(kind, body.settings), check_credentials(kind, body.credentials)
            times = (body.ttl, body.stale_if_error, body.max_age, body.timeout)
            _check_times(*times)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                return self._tagged(await _known(entry, first.resource_id))
            row = BackendRow(
                new_id(entry.now), body.name, kind.word, body.description, settings, *times, new_id(entry.now), _NO_ENVELOPE
            )
            row = self._sealed(entry, row, credentials)
            if not await backend_rows.insert_backend(entry.session, row, entry.actor.id):
                raise AlreadyExists("there is a backend of that name already")
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=row.id)
            entry.amend(resource_id=row.id)
            return self._tagged(await _known(entry, row.id))

    async def list_backends(self, caller: Caller, cursor: str | None = None, limit: int = 100) -> Page[BackendView]:
        """Backends by name. Needs ``backend:list``."""
        async with self._gate.enter(caller, AuditAction.BACKEND_LIST) as entry:
            entry.authorise(Permission.BACKEND_LIST, Resource("backend"))
            after = None if cursor is None else read_name_cursor(cursor)
            rows = await backend_rows.backend_page(entry.session, after and after[0], check_limit(limit) + 1)
        last = rows[limit - 1] if len(rows) > limit else None
        return Page(
            items=[self._view(row) for row in rows[:limit]],
            next_cursor=None if last is None else write_cursor(last.name, str(last.id)),
        )

    async def get_backend(self, caller: Caller, backend_id: UUID) -> Tagged[BackendView]:
        """One backend. Needs ``backend:list``."""
        async with self._gate.enter(caller, AuditAction.BACKEND_LIST) as entry:
            return self._tagged(await _authorised(entry, backend_id, Permission.BACKEND_LIST))

    async def list_sources(
        self, caller: Caller, backend_id: UUID, *, cursor: str | None = None, limit: int = 100
    ) -> Page[SourceView]:
        """The secrets that come from a backend, in the order of their ids: those that the caller may list. A page may hold fewer
        than ``limit``, even none, and go on. Needs ``backend:list``.
        """
        async with self._gate.enter(caller, AuditAction.BACKEND_LIST) as entry:
            await _authorised(entry, backend_id, Permission.BACKEND_LIST)
            after = None if cursor is None else read_id_cursor(cursor)
            rows = await backend_rows.source_page(entry.session, backend_id, after, check_limit(limit) + 1)
            more, rows = len(rows) > limit, rows[:limit]
            found = {one.id: one for one in await secrets_by_id(entry.session, [row.secret_id for row in rows])}
            pairs = [(found[row.secret_id], row) for row in rows if row.secret_id in found]
            seen = [(one, row) for one, row in pairs if entry.permits(Permission.SECRET_LIST, one.resource())]
            items = [source_view(one, row, entry.now) for one, row in seen]
        return Page(items=items, next_cursor=write_cursor(str(rows[-1].secret_id)) if more else None)

    async def patch_backend(
        self, caller: Caller, backend_id: UUID, body: BackendPatch, if_match: str | None = None
    ) -> Tagged[BackendView]:
        """Change settings and credentials, or one of the times. Needs ``backend:write``. :class:`PreconditionFailed`."""
        await self._keys.prepare_to_encrypt()
        async with self._gate.enter(caller, AuditAction.BACKEND_PATCH) as entry:
            await _authorised(entry, backend_id, Permission.BACKEND_WRITE)
            row = await _known(entry, backend_id, lock=True)
            check_revision(if_match, row.revision, "backend")
            kind = kind_of(row.kind)
            if isinstance(body.description, str):
                check_description(body.description)
            fields = {
                name: value
                for name in ("description", "ttl", "stale_if_error", "max_age", "timeout")
                if (value := getattr(body, name)) is not UNSET
            }
            row = replace(row, **fields)
            _check_times(row.ttl, row.stale_if_error, row.max_age, row.timeout)
            row = self._with_settings(entry, row, kind, body)
            await backend_rows.update_backend(entry.session, row)
            return self._tagged(await _known(entry, row.id))

    async def delete_backend(self, caller: Caller, backend_id: UUID, if_match: str | None = None) -> None:
        """Delete a backend that no secret comes from. Needs ``backend:write``. :class:`Conflict` otherwise."""
        async with self._gate.enter(caller, AuditAction.BACKEND_DELETE) as entry:
            await _authorised(entry, backend_id, Permission.BACKEND_WRITE)
            row = await _known(entry, backend_id, lock=True)
            check_revision(if_match, row.revision, "backend")
            await backend_rows.delete_backend(entry.session, row.id)

    async def test_backend(self, caller: Caller, backend_id: UUID) -> BackendTest:
        """Sign in to it and say what is wrong. Needs ``backend:write``: the answer tells about the operator's network."""
        async with self._gate.enter(caller, AuditAction.BACKEND_TEST) as entry:
            row = await _authorised(entry, backend_id, Permission.BACKEND_WRITE)
            entry.postpone()
        failure = await self._calls.check(row)
        async with self._gate.enter(caller, AuditAction.BACKEND_TEST) as entry:
            await _authorised(entry, backend_id, Permission.BACKEND_WRITE)
            if failure is not None:
                entry.amend(outcome=Outcome.FAILED, code=failure.stage.value)
        if failure is None:
            return BackendTest(ok=True, stage="", message="")
        return BackendTest(ok=False, stage=failure.stage.value, message=failure.why)

    async def list_refs(
        self,
        caller: Caller,
        backend_id: UUID,
        *,
        folder: str = "",
        app: str | None = None,
        environment: str | None = None,
        node: str | None = None,
    ) -> BackendRefs:
        """What is directly in ``folder`` of a backend. Needs ``backend:use`` of that folder for secrets of the scope."""
        place = Scope(app, environment, node)
        async with self._gate.enter(caller, AuditAction.BACKEND_REFS) as entry:
            row, _ = await _browsable(entry, backend_id, folder, place)
            entry.postpone()
        problem: OverseerError | None = None
        refs: list[str] = []
        try:
            refs = await self._calls.list(row, folder)
        except OverseerError as error:
            problem = error
        async with self._gate.enter(caller, AuditAction.BACKEND_REFS) as entry:
            row, found = await _browsable(entry, backend_id, folder, place)
            if problem is not None:
                raise problem
            return BackendRefs(refs=shown(entry, row, found, folder, refs))

    def _tagged(self, row: BackendRow) -> Tagged[BackendView]:
        return Tagged(self._view(row), revision_tag(row.revision))

    def _view(self, row: BackendRow) -> BackendView:
        return _view(row, resting=self._calls.resting(row.id))

    def _with_settings(self, entry: Entry, row: BackendRow, kind: BackendKind, body: BackendPatch) -> BackendRow:
        if body.settings is UNSET and body.credentials is UNSET:
            return row
        if isinstance(body.settings, dict):
            if body.credentials is UNSET and kind.credentials:
                rule = "new settings need the credentials beside them: they may send them elsewhere"
                raise InvalidInput(rule, problems=[Problem("body.credentials", rule, "missing_credentials")])
            row = replace(row, settings=check_settings(kind, body.settings))
        given = body.credentials if isinstance(body.credentials, dict) else {}
        return self._sealed(entry, row, check_credentials(kind, given))

    def _sealed(self, entry: Entry, row: BackendRow, credentials: Mapping[str, str]) -> BackendRow:
        row = replace(row, credential_id=new_id(entry.now))
        text = SecretValue(json.dumps(dict(credentials)))
        return replace(row, credentials=self._keys.encrypt(text, row.context(self._keys.instance_id)))


async def _browsable(entry: Entry, backend_id: UUID, folder: str, names: Scope[str]) -> tuple[BackendRow, Place]:
    row = await backend_rows.backend_by_id(entry.session, backend_id)
    place = await find_place(entry.session, names)
    if row is None or place.missing:
        entry.missing(Resource("backend", id=backend_id))
    # A folder is asked for with its slash: a binding for apps/shop/* lets apps/shop/ be listed, not apps/.
    path = f"{check_folder(folder, 'query.folder')}/" if folder else ""
    resource = Resource("backend", grant_name(row.name, path), place.scope, row.id, place.names)
    entry.authorise(Permission.BACKEND_USE, resource, hide_without=Permission.BACKEND_LIST)
    return row, place


async def _authorised(entry: Entry, backend_id: UUID, permission: Permission) -> BackendRow:
    row = await backend_rows.backend_by_id(entry.session, backend_id)
    if row is None:
        entry.missing(Resource("backend", id=backend_id))
    entry.authorise(permission, Resource("backend", row.name, id=row.id), hide_without=Permission.BACKEND_LIST)
    return row


async def _known(entry: Entry, backend_id: UUID, *, lock: bool = False) -> BackendRow:
    row = await backend_rows.backend_by_id(entry.session, backend_id, lock=lock)
    if row is None:
        raise Conflict("the backend was deleted meanwhile")
    return row


def _check_times(ttl: int, stale_if_error: int, max_age: int, timeout: int) -> None:
    if not (0 <= ttl <= max_age <= MAX_SECONDS and 0 <= stale_if_error <= MAX_SECONDS and 1 <= timeout <= MAX_TIMEOUT):
        rule = f"seconds: 0 <= ttl <= max_age and stale_if_error <= {MAX_SECONDS}, timeout 1 to {MAX_TIMEOUT}"
        raise InvalidInput(rule, problems=[Problem("body.ttl", rule, "bad_times")])


def _view(row: BackendRow, *, resting: bool) -> BackendView:
    never = datetime.fromtimestamp(0, UTC)
    return BackendView(
        id=str(row.id),
        name=row.name,
        kind=row.kind,
        description=row.description,
        settings=row.settings,
        ttl=row.ttl,
        stale_if_error=row.stale_if_error,
        max_age=row.max_age,
        timeout=row.timeout,
        secrets=row.secrets,
        failing=row.failing,
        created_at=row.created_at or never,
        updated_at=row.updated_at or never,
        last_success=row.last_success,
        resting=resting,
    )
