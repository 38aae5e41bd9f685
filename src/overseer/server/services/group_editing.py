"""Groups of users and service accounts. A member holds every binding of its groups.

So to add a member is to grant, and to remove one is to take away: who does either must hold all that the group holds, with the
permission to write bindings. A group goes with its bindings.
"""

from __future__ import annotations

from uuid import UUID

from msgspec import UNSET

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.binding_selectors import person_by_name
from overseer.server.services.cursors import check_limit, read_name_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import keep_an_owner, require_grant, require_reach
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.role_editing import after_name
from overseer.server.services.scope_service import check_description
from overseer.server.services.service_accounts import principal_page
from overseer.server.services.tagged import Tagged, check_revision, revision_tag
from overseer.server.storage import membership_rows as rows
from overseer.server.storage.account_hand_rows import Act, note_hand
from overseer.server.storage.principal_rows import BindingRow, PrincipalRow, all_bindings
from overseer.wire.access import GroupCreate, GroupPatch, GroupView, PrincipalView
from overseer.wire.messages import Page

BEYOND = "you cannot add to a group that may do more than you"


class GroupEditing:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def create_group(self, caller: Caller, body: GroupCreate, idempotency: Idempotency | None = None) -> GroupView:
        """A group without members and rights. :class:`AlreadyExists` where the name is taken."""
        async with self._gate.enter(caller, AuditAction.GROUP_CREATE) as entry:
            entry.authorise(Permission.PRINCIPAL_WRITE, Resource("group", body.name))
            check_name(body.name, "body.name")
            check_description(body.description)
            first = await self._idempotency.first_result(entry, idempotency)
            group_id = first.resource_id if first else new_id(entry.now)
            if first is None:
                try:
                    await rows.insert_group(entry.session, group_id, body.name, body.description)
                except AlreadyExists:
                    raise _taken() from None
                await self._idempotency.remember(entry, idempotency, status=201, resource_id=group_id)
            entry.amend(resource_id=group_id)
            found = await rows.groups(entry.session, group_id)
            if not found:
                raise Conflict("the group that this idempotency key made was deleted meanwhile")
        return group_view(found[0])

    async def list_groups(self, caller: Caller, cursor: str | None = None, limit: int = 100) -> Page[GroupView]:
        """Groups by name."""
        async with self._gate.enter(caller, AuditAction.GROUP_LIST) as entry:
            entry.authorise(Permission.PRINCIPAL_LIST, Resource("group"))
            found = await rows.groups(entry.session, after=after_name(cursor), limit=check_limit(limit) + 1)
        more = len(found) > limit
        return Page(
            items=[group_view(row) for row in found[:limit]], next_cursor=write_cursor(found[limit - 1].name) if more else None
        )

    async def get_group(self, caller: Caller, group_id: UUID) -> Tagged[GroupView]:
        """One group."""
        async with self._gate.enter(caller, AuditAction.GROUP_LIST) as entry:
            row = await _group(entry, group_id, Permission.PRINCIPAL_LIST)
        return Tagged(group_view(row), revision_tag(row.revision))

    async def patch_group(
        self, caller: Caller, group_id: UUID, body: GroupPatch, if_match: str | None = None
    ) -> Tagged[GroupView]:
        """Rename a group or describe it anew. Raises :class:`AlreadyExists` and :class:`PreconditionFailed`."""
        async with self._gate.enter(caller, AuditAction.GROUP_PATCH) as entry:
            row = await _locked(entry, group_id)
            check_revision(if_match, row.revision, "group")
            name = row.name if body.name is UNSET else check_name(str(body.name), "body.name")
            if name != row.name:
                if not entry.permits(Permission.PRINCIPAL_WRITE, Resource("group", name)):
                    entry.deny("no_binding", f"you lack {Permission.PRINCIPAL_WRITE} for a group of the new name")
                require_reach(entry, Permission.PRINCIPAL_WRITE, await _bindings(entry, row))
            description = row.description if body.description is UNSET else str(body.description)
            check_description(description)
            try:
                await rows.patch_group(entry.session, row.id, name, description)
            except AlreadyExists:
                raise _taken() from None
            [changed] = await rows.groups(entry.session, row.id)
        return Tagged(group_view(changed), revision_tag(changed.revision))

    async def delete_group(self, caller: Caller, group_id: UUID, if_match: str | None = None) -> None:
        """A group with its bindings. :class:`Conflict` where the last owner without limits is one by it alone."""
        async with self._gate.enter(caller, AuditAction.GROUP_DELETE) as entry:
            row = await _locked(entry, group_id)
            check_revision(if_match, row.revision, "group")
            require_reach(entry, Permission.BINDING_WRITE, await _bindings(entry, row))
            await rows.delete_group(entry.session, row.id)
            await keep_an_owner(entry)

    async def list_members(
        self, caller: Caller, group_id: UUID, cursor: str | None = None, limit: int = 100
    ) -> Page[PrincipalView]:
        """Members by name."""
        async with self._gate.enter(caller, AuditAction.GROUP_LIST) as entry:
            row = await _group(entry, group_id, Permission.PRINCIPAL_LIST)
            after = None if cursor is None else read_name_cursor(cursor)
            found = await rows.members(entry.session, row.id, after, check_limit(limit) + 1)
        return principal_page(found, limit)

    async def add_member(self, caller: Caller, group_id: UUID, principal: str) -> None:
        """Give a user or a service account all that the group holds; who is a member already stays one."""
        async with self._gate.enter(caller, AuditAction.GROUP_ADD_MEMBER) as entry:
            row = await _locked(entry, group_id)
            require_grant(entry, Permission.BINDING_WRITE, await _bindings(entry, row), BEYOND)
            person = await _person(entry, principal)
            entry.accept(Resource("principal", person.name, id=person.id))
            if await rows.add_member(entry.session, row.id, person.id):
                await note_hand(entry.session, person.id, entry.actor.id, Act.GROUPED, row.id)

    async def remove_member(self, caller: Caller, group_id: UUID, principal: str) -> None:
        """Take all that the group holds from a member; it holds on the next request. :class:`Conflict` for the last owner."""
        async with self._gate.enter(caller, AuditAction.GROUP_REMOVE_MEMBER) as entry:
            row = await _locked(entry, group_id)
            require_reach(entry, Permission.BINDING_WRITE, await _bindings(entry, row))
            person = await _person(entry, principal)
            entry.accept(Resource("principal", person.name, id=person.id))
            await rows.remove_member(entry.session, row.id, person.id)
            await keep_an_owner(entry)


def group_view(row: rows.PrincipalGroup) -> GroupView:
    """A group as people read it."""
    return GroupView(
        id=str(row.id), name=row.name, description=row.description, members=row.members, created_at=row.created_at
    )


async def _group(entry: Entry, group_id: UUID, permission: Permission) -> rows.PrincipalGroup:
    found = await rows.groups(entry.session, group_id)
    if not found:
        entry.missing(Resource("group", id=group_id))
    resource = Resource("group", found[0].name, id=group_id)
    entry.authorise(permission, resource, hide_without=Permission.PRINCIPAL_LIST)
    return found[0]


async def _locked(entry: Entry, group_id: UUID) -> rows.PrincipalGroup:
    """The group under its lock, authorised for a change first: who may not change it must not make others wait."""
    await _group(entry, group_id, Permission.PRINCIPAL_WRITE)
    row = await rows.locked_group(entry.session, group_id)
    if row is None:
        entry.hide("group")
    return row


async def _bindings(entry: Entry, row: rows.PrincipalGroup) -> list[BindingRow]:
    return await all_bindings(entry.session, [row.id])


async def _person(entry: Entry, name: str) -> PrincipalRow:
    person = await person_by_name(entry.session, name)
    if person is None:
        rule = "there is no user and no service account of that name"
        raise InvalidInput(rule, problems=[Problem("path.principal", rule, "unknown")])
    return person


def _taken() -> AlreadyExists:
    return AlreadyExists("there is a group of that name already")
