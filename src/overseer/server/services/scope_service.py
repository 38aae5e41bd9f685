"""Apps and environments: the parts of a scope that people make. Nodes have a service of their own.

Creating one needs the permission on the global scope for that name; deleting one needs it there, and fails while anything lives
at it: nothing is ever widened by a deletion. Lists show the parts that a binding of the caller selects.
"""

from __future__ import annotations

from typing import Final

from overseer.core.access import Resource, sees_part
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.storage.scope_rows import Part, PartRow, all_parts, delete_part, insert_part, part_by_id, part_by_name
from overseer.wire.messages import Page
from overseer.wire.scopes import AppView, EnvironmentView, ScopePartCreate

MAX_DESCRIPTION: Final = 2_000


class ScopeService:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def create_app(self, caller: Caller, body: ScopePartCreate, idempotency: Idempotency | None = None) -> AppView:
        """A new app. :class:`AlreadyExists` where the name is taken."""
        row = await self._create(caller, Part.APP, AuditAction.APP_CREATE, Permission.APP_WRITE, body, idempotency)
        return _app(row)

    async def create_environment(
        self, caller: Caller, body: ScopePartCreate, idempotency: Idempotency | None = None
    ) -> EnvironmentView:
        """A new environment. :class:`AlreadyExists` where the name is taken."""
        row = await self._create(
            caller, Part.ENVIRONMENT, AuditAction.ENVIRONMENT_CREATE, Permission.ENVIRONMENT_WRITE, body, idempotency
        )
        return _environment(row)

    async def list_apps(self, caller: Caller) -> Page[AppView]:
        """The apps that a binding of the caller selects, by name."""
        rows = await self._list(caller, Part.APP, AuditAction.APP_LIST, Permission.APP_LIST)
        return Page(items=[_app(row) for row in rows])

    async def list_environments(self, caller: Caller) -> Page[EnvironmentView]:
        """The environments that a binding of the caller selects, by name."""
        rows = await self._list(caller, Part.ENVIRONMENT, AuditAction.ENVIRONMENT_LIST, Permission.ENVIRONMENT_LIST)
        return Page(items=[_environment(row) for row in rows])

    async def delete_app(self, caller: Caller, name: str) -> None:
        """Delete an app that nothing lives at any more, else :class:`Conflict`."""
        await self._delete(caller, Part.APP, AuditAction.APP_DELETE, Permission.APP_WRITE, name)

    async def delete_environment(self, caller: Caller, name: str) -> None:
        """Delete an environment that nothing lives at any more, else :class:`Conflict`."""
        await self._delete(caller, Part.ENVIRONMENT, AuditAction.ENVIRONMENT_DELETE, Permission.ENVIRONMENT_WRITE, name)

    async def _create(
        self,
        caller: Caller,
        part: Part,
        action: AuditAction,
        permission: Permission,
        body: ScopePartCreate,
        idempotency: Idempotency | None,
    ) -> PartRow:
        async with self._gate.enter(caller, action) as entry:
            entry.authorise(permission, Resource(part.value, body.name))
            check_name(body.name, "body.name")
            check_description(body.description)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                row = await part_by_id(entry.session, part, first.resource_id)
                if row is None:
                    raise Conflict(f"the {part} that this idempotency key made was deleted meanwhile")
                return row
            try:
                row = await insert_part(entry.session, part, new_id(entry.now), body.name, body.description)
            except AlreadyExists:
                raise AlreadyExists(f"there is already an {part} of that name") from None
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=row.id)
            entry.amend(resource_id=row.id)
            return row

    async def _list(self, caller: Caller, part: Part, action: AuditAction, permission: Permission) -> list[PartRow]:
        async with self._gate.enter(caller, action) as entry:
            entry.authorise_list(permission, Resource(part.value))
            bindings, now = entry.actor.bindings, entry.now
            rows = await all_parts(entry.session, part)
        return [row for row in rows if sees_part(bindings, permission, part.value, row.id, now)]

    async def _delete(self, caller: Caller, part: Part, action: AuditAction, permission: Permission, name: str) -> None:
        async with self._gate.enter(caller, action) as entry:
            row = await part_by_name(entry.session, part, name)
            if row is None:
                entry.missing(Resource(part.value, name))
            scope = Scope(app=row.id) if part is Part.APP else Scope(environment=row.id)
            resource = Resource(part.value, name, scope, row.id, Scope(**{part.value: name}))
            entry.authorise(permission, resource, hide_without=permission)
            try:
                await delete_part(entry.session, part, row.id)
            except Conflict:
                rule = f"the {part} is still in use: delete its secrets and bindings; what was deployed stays for its history"
                raise Conflict(rule) from None


def check_description(text: str) -> None:
    """Raise :class:`InvalidInput` where a description is too long or holds control characters."""
    if len(text) > MAX_DESCRIPTION or any(ord(char) < 32 and char not in "\n\t" for char in text):
        rule = f"a description has at most {MAX_DESCRIPTION} characters and no control characters"
        raise InvalidInput(rule, problems=[Problem("body.description", rule, "bad_description")])


def _app(row: PartRow) -> AppView:
    return AppView(id=str(row.id), name=row.name, description=row.description, created_at=row.created_at)


def _environment(row: PartRow) -> EnvironmentView:
    return EnvironmentView(id=str(row.id), name=row.name, description=row.description, created_at=row.created_at)
