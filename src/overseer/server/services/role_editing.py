"""Roles of people's own: sets of permissions with a name. Built-in roles belong to the release and never change here.

A binding carries a copy of its role's bits, so a change rewrites every binding that uses the role, in the same transaction. Such
a change gives and takes rights: its maker must hold what each of those bindings was and what it becomes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from dataclasses import replace
from uuid import UUID

from msgspec import UNSET

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import check_name, is_name, new_id
from overseer.core.permissions import Permission, from_bits, to_bits
from overseer.core.principals import Caller
from overseer.server.services.cursors import bad_cursor, check_limit, read_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import read_scope, require_grant, require_reach
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.scope_service import check_description
from overseer.server.services.tagged import Tagged, check_revision, revision_tag
from overseer.server.storage import role_rows
from overseer.server.storage.principal_rows import BindingRow, all_bindings
from overseer.wire.access import RoleCreate, RolePatch, RoleView
from overseer.wire.messages import Page

BEYOND = "you cannot give a role more than you hold over every binding that uses it"


class RoleEditing:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def create_role(self, caller: Caller, body: RoleCreate, idempotency: Idempotency | None = None) -> RoleView:
        """A role that nobody has yet. :class:`AlreadyExists` where the name is taken."""
        async with self._gate.enter(caller, AuditAction.ROLE_CREATE) as entry:
            entry.authorise(Permission.ROLE_WRITE, Resource("role", body.name))
            check_name(body.name, "body.name")
            check_description(body.description)
            bits = read_permissions(body.permissions)
            first = await self._idempotency.first_result(entry, idempotency)
            role_id = first.resource_id if first else new_id(entry.now)
            if first is None:
                await _named(role_rows.insert_role(entry.session, role_id, body.name, bits, body.description))
                await self._idempotency.remember(entry, idempotency, status=201, resource_id=role_id)
            entry.amend(resource_id=role_id)
            found = await role_rows.roles(entry.session, role_id)
            if not found:
                raise Conflict("the role that this idempotency key made was deleted meanwhile")
        return role_view(found[0])

    async def list_roles(self, caller: Caller, cursor: str | None = None, limit: int = 100) -> Page[RoleView]:
        """Roles and the permissions they hold, by name."""
        async with self._gate.enter(caller, AuditAction.ROLE_LIST) as entry:
            entry.authorise(Permission.BINDING_LIST, Resource("role"))
            found = await role_rows.roles(entry.session, after=after_name(cursor), limit=check_limit(limit) + 1)
        more = len(found) > limit
        return Page(
            items=[role_view(row) for row in found[:limit]], next_cursor=write_cursor(found[limit - 1].name) if more else None
        )

    async def get_role(self, caller: Caller, role_id: UUID) -> Tagged[RoleView]:
        """One role."""
        async with self._gate.enter(caller, AuditAction.ROLE_LIST) as entry:
            row = await _role(entry, role_id)
            resource = Resource("role", row.name, id=row.id)
            entry.authorise(Permission.BINDING_LIST, resource, hide_without=Permission.BINDING_LIST)
        return Tagged(role_view(row), revision_tag(row.revision))

    async def patch_role(
        self, caller: Caller, role_id: UUID, body: RolePatch, if_match: str | None = None
    ) -> Tagged[RoleView]:
        """Change a role, and what every binding that uses it gives; it holds on the next request.

        Raises :class:`Denied` where a binding had or gets more than the caller holds, :class:`Conflict` for a built-in role, and
        :class:`PreconditionFailed`.
        """
        async with self._gate.enter(caller, AuditAction.ROLE_PATCH) as entry:
            row = await _locked(entry, role_id)
            check_revision(if_match, row.revision, "role")
            name = row.name if body.name is UNSET else check_name(str(body.name), "body.name")
            if name != row.name and not entry.permits(Permission.ROLE_WRITE, Resource("role", name)):
                entry.deny("no_binding", f"you lack {Permission.ROLE_WRITE} for a role of the new name")
            description = row.description if body.description is UNSET else str(body.description)
            check_description(description)
            bits = read_permissions(body.permissions) if isinstance(body.permissions, list) else row.permissions
            using = await all_bindings(entry.session, role_id=row.id)
            require_reach(entry, Permission.BINDING_WRITE, using)
            if bits != row.permissions:
                require_grant(entry, Permission.BINDING_WRITE, [_with_bits(one, bits) for one in using], BEYOND)
            await _named(role_rows.patch_role(entry.session, row.id, name, description, bits, entry.actor.id))
            [changed] = await role_rows.roles(entry.session, row.id)
        return Tagged(role_view(changed), revision_tag(changed.revision))

    async def delete_role(
        self, caller: Caller, role_id: UUID, *, cascade: bool = False, if_match: str | None = None
    ) -> None:
        """Delete a role. :class:`Conflict` while bindings use it, unless ``cascade``: then they go too, a row for each."""
        async with self._gate.enter(caller, AuditAction.ROLE_DELETE) as entry:
            row = await _locked(entry, role_id)
            check_revision(if_match, row.revision, "role")
            using = await all_bindings(entry.session, role_id=row.id)
            if using and not cascade:
                raise Conflict(f"the role is in use by {len(using)} bindings: delete them, or ask for cascade")
            require_reach(entry, Permission.BINDING_WRITE, using)
            for one in using:
                resource = Resource("binding", str(one.binding.pattern), read_scope(one.binding), one.binding.id)
                entry.accept(resource, action=AuditAction.BINDING_DELETE)
            await role_rows.delete_role(entry.session, row.id)


def read_permissions(texts: Sequence[str]) -> int:
    """The bits of permissions by name. Raises :class:`InvalidInput` with the place of each that does not exist.

    ``node:serve`` is not among them: it acts as the node that its holder is, and only nodes are nodes.
    """
    problems, found = [], set()
    for number, text in enumerate(texts[: len(Permission) + 1]):
        try:
            permission = Permission(text)
        except ValueError:
            permission = Permission.NODE_SERVE
        if permission is Permission.NODE_SERVE:
            rule = "is no permission that a role can hold; 'overseer role permissions' lists them"
            problems.append(Problem(f"body.permissions[{number}]", rule, "unknown_permission"))
        found.add(permission)
    if not found or len(found) != len(texts):
        problems.append(Problem("body.permissions", "name at least one permission, and each once", "bad_permissions"))
    if problems:
        raise InvalidInput("a role cannot hold these permissions", problems=problems)
    return to_bits(found)


def after_name(cursor: str | None) -> str | None:
    """The name after which a list goes on that is sorted by names which are unique. Raises :class:`InvalidInput`."""
    if cursor is None:
        return None
    [name] = read_cursor(cursor, str)
    if not is_name(name):
        raise bad_cursor()
    return str(name)


def role_view(row: role_rows.FullRole) -> RoleView:
    """A role as people read it."""
    return RoleView(
        id=str(row.id),
        name=row.name,
        permissions=sorted(from_bits(row.permissions)),
        built_in=row.built_in,
        description=row.description,
        in_use=row.in_use,
    )


async def _role(entry: Entry, role_id: UUID) -> role_rows.FullRole:
    found = await role_rows.roles(entry.session, role_id)
    if not found:
        entry.missing(Resource("role", id=role_id))
    return found[0]


async def _locked(entry: Entry, role_id: UUID) -> role_rows.FullRole:
    """The role under its lock, authorised for a change first: who may not change it must not make others wait."""
    row = await _role(entry, role_id)
    resource = Resource("role", row.name, id=row.id)
    entry.authorise(Permission.ROLE_WRITE, resource, hide_without=Permission.BINDING_LIST)
    locked = await role_rows.locked_role(entry.session, role_id)
    if locked is None:
        entry.hide("role")
    if locked.built_in:
        raise Conflict("built-in roles do not change: make a role of your own")
    return locked


async def _named(write: Awaitable[None]) -> None:
    try:
        await write
    except AlreadyExists:
        raise AlreadyExists("there is a role of that name already") from None


def _with_bits(row: BindingRow, bits: int) -> BindingRow:
    return replace(row, binding=replace(row.binding, permissions=bits))
