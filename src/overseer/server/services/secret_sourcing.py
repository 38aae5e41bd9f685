"""Tying secrets to references of backends, and untying them.

Guarantees: who ties needs ``secret:write`` for the secret and ``backend:use`` for exactly that reference *at the secret's scope*:
a binding says with its selector for which secrets, and with its name (``BACKEND:PREFIX*``) for which part of the vault. Whether
backend or reference exists is told to those alone who may use it. The value is asked for first, with no transaction open, and
every decision is made anew in the transaction that writes.

While it is tied, a secret has no values of its own and stays where it is: another scope would be another decision.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.backend_references import BackendReference, check_field, grant_name
from overseer.core.errors import Conflict, InvalidInput, OverseerError, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.server.backends.contract import BackendFailure
from overseer.server.services.approval_guard import guard_activation, guard_creation
from overseer.server.services.backend_calls import BackendCalls, as_error
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.services.places import authorise_at, find_place
from overseer.server.services.rotation_service import refuse_where_rotated, refuse_while_rotating
from overseer.server.services.secret_access import known_secret, locked_secret
from overseer.server.services.secret_input import NewValue, check_metadata, check_secret_name
from overseer.server.services.secret_storing import store_new
from overseer.server.services.secret_views import tagged_view
from overseer.server.services.source_refresh import SourceRefresh, taken
from overseer.server.services.source_views import source_view
from overseer.server.services.tagged import Tagged, check_if_match
from overseer.server.storage import backend_rows, secret_rows
from overseer.server.storage.backend_rows import BackendRow
from overseer.server.storage.rollout_rows import running_rollout
from overseer.server.storage.scope_rows import ensure_scope
from overseer.wire.backends import SecretSource, SourcedSecretCreate, SourceView
from overseer.wire.secrets import SecretView

MODES: Final = ("pull", "sync")


class SecretSourcing:
    """See the module's text."""

    def __init__(
        self, gate: Gate, keys: KeyService, idempotency: IdempotencyKeeper, calls: BackendCalls, sources: SourceRefresh
    ) -> None:
        self._gate = gate
        self._keys = keys
        self._idempotency = idempotency
        self._calls = calls
        self._sources = sources

    async def create_sourced(
        self, caller: Caller, body: SourcedSecretCreate, idempotency: Idempotency | None = None
    ) -> Tagged[SecretView]:
        """A new secret with the present value there as version 1. Needs ``secret:write`` and ``backend:use``.

        Raises :class:`BackendRefused` and :class:`BackendUnavailable` where there is no value to be had, :class:`AlreadyExists`.
        """
        async with self._gate.enter(caller, AuditAction.SECRET_CREATE) as entry:
            _, backend = await _new_place(entry, body)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                return await _read_again(entry, first.resource_id)
            entry.postpone()
        value, problem = await self._fetch(backend, body)
        await self._keys.prepare_to_encrypt()
        async with self._gate.enter(caller, AuditAction.SECRET_CREATE) as entry:
            scope, again = await _new_place(entry, body)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                return await _read_again(entry, first.resource_id)
            if problem is not None or value is None:
                raise problem or Conflict(_MEANWHILE)
            _check_same(backend, again)
            secret_id = new_id(entry.now)
            metadata = check_metadata(body.description, body.labels, body.owner, None, None)
            resource = Resource("secret", body.name, scope, scope_names=Scope(body.app, body.environment, body.node))
            await guard_creation(entry, resource, metadata.labels, event=0)
            scope_id = await ensure_scope(entry.session, new_id(entry.now), scope)
            await store_new(entry, self._keys, secret_id, scope_id, body.name, metadata, NewValue(value, None))
            await backend_rows.put_source(entry.session, secret_id, backend, body.ref, body.field, body.mode, entry.actor.id)
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=secret_id, version=1)
            _amend_secret(entry, secret_id, 1)
            return await _read_again(entry, secret_id)

    async def set_source(
        self, caller: Caller, secret_id: UUID, body: SecretSource, if_match: str | None = None
    ) -> Tagged[SecretView]:
        """Take the value of an existing secret from a backend from now on. Needs and raises as :meth:`create_sourced`."""
        async with self._gate.enter(caller, AuditAction.SECRET_SOURCE) as entry:
            row = await known_secret(entry, secret_id, Permission.SECRET_WRITE)
            backend = await _backend(entry, body, row.scope, row.scope_names)
            check_if_match(if_match, row.latest_version, row.revision)
            entry.postpone()
        value, problem = await self._fetch(backend, body)
        await self._keys.prepare_to_encrypt()
        async with self._gate.enter(caller, AuditAction.SECRET_SOURCE) as entry:
            row = await locked_secret(entry, secret_id, Permission.SECRET_WRITE)
            again = await _backend(entry, body, row.scope, row.scope_names)
            check_if_match(if_match, row.latest_version, row.revision)
            if problem is not None or value is None:
                raise problem or Conflict(_MEANWHILE)
            _check_same(backend, again)
            if await running_rollout(entry.session, row.id) is not None:
                raise Conflict("a version of this secret is being rolled out: wait for it, or withdraw it")
            if row.source is None:
                await refuse_where_rotated(entry.session, row.id)
                await refuse_while_rotating(entry.session, row.id)
            await guard_activation(entry, row, row.latest_version + 1, Permission.SECRET_WRITE, event=0)
            events = await self._sources.store(entry.session, row, body.mode, value, entry.actor.id, "")
            await backend_rows.put_source(entry.session, row.id, backend, body.ref, body.field, body.mode, entry.actor.id)
            for event in events:
                entry.accept(row.resource(event.version), action=event.action)
                entry.amend(code=event.code)
            return await _read_again(entry, row.id)

    async def get_source(self, caller: Caller, secret_id: UUID) -> SourceView:
        """Where a secret's value comes from, and how old what is kept is. Needs ``secret:list``. :class:`Conflict` where it does
        not come from a backend.
        """
        async with self._gate.enter(caller, AuditAction.SECRET_READ) as entry:
            row = await known_secret(entry, secret_id, Permission.SECRET_LIST)
            source = (await backend_rows.sources_of(entry.session, [row.id])).get(row.id)
            if source is None:
                raise Conflict("this secret does not come from a backend")
            return source_view(row, source, entry.now)

    async def remove_source(self, caller: Caller, secret_id: UUID, if_match: str | None = None) -> Tagged[SecretView]:
        """Untie a secret: it keeps the values that it has and takes new ones by hand. Needs ``secret:write``."""
        async with self._gate.enter(caller, AuditAction.SECRET_SOURCE) as entry:
            row = await locked_secret(entry, secret_id, Permission.SECRET_WRITE)
            check_if_match(if_match, row.latest_version, row.revision)
            if row.source is None:
                raise Conflict("this secret does not come from a backend")
            await backend_rows.delete_source(entry.session, row.id)
            entry.amend(code="detached")
            return await _read_again(entry, row.id)

    async def _fetch(
        self, backend: BackendRow, body: SourcedSecretCreate | SecretSource
    ) -> tuple[SecretValue | None, OverseerError | None]:
        reference = BackendReference.parse(body.ref)
        found = taken((await self._calls.fetch(backend, [reference]))[reference], body.field)
        if isinstance(found, BackendFailure):
            return None, as_error(backend.name, found)
        return found, None


_MEANWHILE: Final = "the backend was changed meanwhile; try again"


async def _new_place(entry: Entry, body: SourcedSecretCreate) -> tuple[Scope[UUID], BackendRow]:
    name = check_secret_name(body.name)
    place = await find_place(entry.session, Scope(body.app, body.environment, body.node))
    authorise_at(entry, place, Permission.SECRET_WRITE, name)
    return place.scope, await _backend(entry, body, place.scope, place.names)


async def _backend(entry: Entry, body: SourcedSecretCreate | SecretSource, scope: Scope[UUID], names: Scope[str]) -> BackendRow:
    """The backend, once it is decided that this reference may be used for secrets of that scope."""
    check_name(body.backend, "body.backend")
    reference = BackendReference.parse(body.ref)
    check_field(body.field, "body.field")
    if body.mode not in MODES:
        raise InvalidInput("body.mode: pull or sync", problems=[Problem("body.mode", "pull or sync", "bad_mode")])
    resource = Resource("backend", grant_name(body.backend, str(reference)), scope, scope_names=names)
    entry.authorise(Permission.BACKEND_USE, resource, action=AuditAction.SECRET_SOURCE)
    row = await backend_rows.backend_by_name(entry.session, body.backend)
    if row is None:
        rule = "there is no backend of that name: 'overseer backend list' shows them"
        raise InvalidInput(rule, problems=[Problem("body.backend", rule, "unknown")])
    entry.amend(resource_id=row.id)
    return row


def _check_same(before: BackendRow, now: BackendRow) -> None:
    """What was asked is what is stored: not another backend of the name, nor the same one at another address."""
    if (before.id, before.revision) != (now.id, now.revision):
        raise Conflict(_MEANWHILE)


def _amend_secret(entry: Entry, secret_id: UUID, version: int) -> None:
    """The first row is the secret's, the second the reference's."""
    entry.events[0] = replace(entry.events[0], resource_id=secret_id, version=version)


async def _read_again(entry: Entry, secret_id: UUID) -> Tagged[SecretView]:
    row = await secret_rows.secret_by_id(entry.session, secret_id)
    if row is None:
        raise Conflict("the secret was deleted meanwhile")
    return tagged_view(row)
