"""Bindings: a role given to a principal or a group over a selector, and those that are only for an emergency.

Nobody grants what they do not hold: a binding is made only by someone with one binding that contains all of it, for all of its
time. An emergency binding is dormant, which is: it has expired. Its holder activates it with a reason; then it lives for its
stated time and ends by itself. Each activation, and each attempt, is the audit action ``alarm:break_glass``.
"""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from overseer.core.access import Resource, contains
from overseer.core.audit_events import MAX_FREE_TEXT, AuditAction
from overseer.core.errors import Conflict, Denied, InvalidInput, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.binding_selectors import binding_view, read_binding
from overseer.server.services.cursors import check_limit, read_id_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import held_with, keep_an_owner, read_scope, require_reach
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.storage import principal_rows as rows
from overseer.server.storage.role_rows import bits_for_binding
from overseer.wire.access import BindingActivate, BindingCreate, BindingView
from overseer.wire.messages import Page

_MIN_REASON = 8


class BindingGranting:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def create_binding(
        self, caller: Caller, body: BindingCreate, idempotency: Idempotency | None = None
    ) -> BindingView:
        """Give a role to a principal or a group over a selector. :class:`Denied` where the caller does not hold all of it."""
        async with self._gate.enter(caller, AuditAction.BINDING_CREATE) as entry:
            read = await read_binding(entry, body)
            resource = Resource("binding", read.pattern_text, read.resource_scope, scope_names=read.scope_names)
            entry.authorise(Permission.BINDING_WRITE, resource)
            new, subject, role = read.complete()
            bits = await bits_for_binding(entry.session, role)
            if bits is None:
                raise Conflict("the role was deleted meanwhile")
            new = replace(new, permissions=bits)
            if not any(contains(own, new) for own in held_with(entry, Permission.BINDING_WRITE)):
                entry.deny(
                    "beyond_own_rights",
                    "you cannot grant what you do not hold: no binding of yours contains this role over this selector",
                )
            first = await self._idempotency.first_result(entry, idempotency)
            binding_id = first.resource_id if first else new.id
            if first is None:
                emergency = body.active_seconds is not None
                await rows.insert_binding(
                    entry.session,
                    replace(new, expires_at=entry.now) if emergency else new,
                    subject.id,
                    role,
                    entry.actor.id,
                    subject_kind=subject.kind,
                    active_seconds=body.active_seconds,
                    available_until=new.expires_at if emergency else None,
                )
                await self._idempotency.remember(entry, idempotency, status=201, resource_id=binding_id)
            entry.amend(resource_id=binding_id)
            found = await rows.all_bindings(entry.session, binding_id=binding_id)
            if not found:
                raise Conflict("the binding that this idempotency key made was deleted meanwhile")
            return binding_view(found[0], entry.now)

    async def list_bindings(
        self,
        caller: Caller,
        principal: str | None = None,
        *,
        group: str | None = None,
        role: str | None = None,
        emergency: bool | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[BindingView]:
        """Bindings, oldest first; filtered by the name of the principal, the group or the role."""
        async with self._gate.enter(caller, AuditAction.BINDING_LIST) as entry:
            entry.authorise(Permission.BINDING_LIST, Resource("binding"))
            after = None if cursor is None else read_id_cursor(cursor)
            found = await rows.all_bindings(
                entry.session,
                role=role,
                principal=principal,
                group=group,
                emergency=emergency,
                after=after,
                limit=check_limit(limit) + 1,
            )
            last = str(found[limit - 1].binding.id) if len(found) > limit else None
            return Page(
                items=[binding_view(row, entry.now) for row in found[:limit]],
                next_cursor=None if last is None else write_cursor(last),
            )

    async def get_binding(self, caller: Caller, binding_id: UUID) -> BindingView:
        """One binding. Who holds it may always see it."""
        async with self._gate.enter(caller, AuditAction.BINDING_LIST) as entry:
            row = await _found(entry, binding_id)
            if await _holds(entry, row):
                entry.accept(_resource(row))
            else:
                entry.authorise(Permission.BINDING_LIST, _resource(row), hide_without=Permission.BINDING_LIST)
            return binding_view(row, entry.now)

    async def delete_binding(self, caller: Caller, binding_id: UUID) -> None:
        """Take a role away; it holds on the next request. :class:`Conflict` for the last unlimited owner."""
        async with self._gate.enter(caller, AuditAction.BINDING_DELETE) as entry:
            row = await _found(entry, binding_id)
            entry.authorise(Permission.BINDING_WRITE, _resource(row), hide_without=Permission.BINDING_LIST)
            require_reach(entry, Permission.BINDING_WRITE, [row])
            await rows.delete_binding(entry.session, binding_id)
            await keep_an_owner(entry)

    async def activate_binding(self, caller: Caller, binding_id: UUID, body: BindingActivate) -> BindingView:
        """Wake an emergency binding of the caller's own, or of a group that it is in, for its stated time.

        The reason and the alarm are committed with it. Raises :class:`Conflict` where it is active already or cannot be activated
        any more, and :class:`InvalidInput` without a reason.
        """
        async with self._gate.enter(replace(caller, reason=body.reason), AuditAction.ALARM_BREAK_GLASS) as entry:
            row = await _found(entry, binding_id)
            await _require_holder(entry, row)
            _check_reason(body.reason)
            if await rows.activate_binding(entry.session, binding_id) is None:
                raise Conflict("it cannot be activated: it is active already, its time is over, or it is no emergency binding")
            [row] = await rows.all_bindings(entry.session, binding_id=binding_id)
            return binding_view(row, entry.now)

    async def deactivate_binding(self, caller: Caller, binding_id: UUID) -> BindingView:
        """End an emergency before its time: by whoever holds the binding, or may delete it."""
        async with self._gate.enter(caller, AuditAction.BINDING_DEACTIVATE) as entry:
            row = await _found(entry, binding_id)
            if await _holds(entry, row):
                entry.accept(_resource(row))
            else:
                entry.authorise(Permission.BINDING_WRITE, _resource(row), hide_without=Permission.BINDING_LIST)
                require_reach(entry, Permission.BINDING_WRITE, [row])
            if not await rows.deactivate_binding(entry.session, binding_id):
                raise Conflict("it is not active")
            [row] = await rows.all_bindings(entry.session, binding_id=binding_id)
            return binding_view(row, entry.now)


async def _found(entry: Entry, binding_id: UUID) -> rows.BindingRow:
    found = await rows.all_bindings(entry.session, binding_id=binding_id)
    if not found:
        entry.missing(Resource("binding", id=binding_id))
    return found[0]


async def _require_holder(entry: Entry, row: rows.BindingRow) -> None:
    resource = _resource(row)
    if await _holds(entry, row):
        entry.accept(resource)
        return
    entry.refuse(resource, "not_the_holder")
    if not entry.permits(Permission.BINDING_LIST, resource):
        entry.hide("binding")
    raise Denied("only who holds an emergency binding can activate it")


async def _holds(entry: Entry, row: rows.BindingRow) -> bool:
    return row.subject_id in await rows.subjects_of(entry.session, entry.actor.id)


def _resource(row: rows.BindingRow) -> Resource:
    return Resource("binding", str(row.binding.pattern), read_scope(row.binding), id=row.binding.id)


def _check_reason(reason: str) -> None:
    fits = len(reason.strip()) >= _MIN_REASON and len(reason) <= MAX_FREE_TEXT
    if not fits or not reason.replace("\n", "").isprintable():
        rule = f"a reason has {_MIN_REASON} to {MAX_FREE_TEXT} printable characters: it is what the alarm says"
        raise InvalidInput(rule, problems=[Problem("body.reason", rule, "bad_reason")])
