"""Apps and environments: the parts of a scope that people make. Nodes have a service of their own.

Creating one needs the permission on the global scope for that name; changing and deleting one needs it there. A deletion fails
while anything lives at it, unless the cascade is asked for (``scope_removal``): nothing is ever widened by a deletion. Lists show
the parts that a binding of the caller selects.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from msgspec import UnsetType

from overseer.core.access import Resource, sees_part
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.cursors import bad_cursor, check_limit, read_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.scope_removal import contents_of, contents_view, remove_alone, remove_with_contents
from overseer.server.services.tagged import Tagged, check_revision, revision_tag
from overseer.server.storage.scope_rows import (
    Part,
    PartRow,
    all_parts,
    describe_part,
    insert_part,
    lock_part,
    part_by_id,
    part_by_name,
)
from overseer.wire.messages import Page
from overseer.wire.scopes import AppView, ContentsView, EnvironmentView, ScopePartCreate, ScopePartPatch

MAX_DESCRIPTION: Final = 2_000


@dataclass(frozen=True, slots=True)
class _Kind:
    """What differs between apps and environments."""

    part: Part
    listing: Permission
    writing: Permission
    create: AuditAction
    list: AuditAction
    patch: AuditAction
    delete: AuditAction


_APPS: Final = _Kind(
    Part.APP,
    Permission.APP_LIST,
    Permission.APP_WRITE,
    AuditAction.APP_CREATE,
    AuditAction.APP_LIST,
    AuditAction.APP_PATCH,
    AuditAction.APP_DELETE,
)
_ENVIRONMENTS: Final = _Kind(
    Part.ENVIRONMENT,
    Permission.ENVIRONMENT_LIST,
    Permission.ENVIRONMENT_WRITE,
    AuditAction.ENVIRONMENT_CREATE,
    AuditAction.ENVIRONMENT_LIST,
    AuditAction.ENVIRONMENT_PATCH,
    AuditAction.ENVIRONMENT_DELETE,
)


class ScopeService:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def create_app(self, caller: Caller, body: ScopePartCreate, idempotency: Idempotency | None = None) -> AppView:
        """A new app. :class:`AlreadyExists` where the name is taken."""
        return _app(await self._create(caller, _APPS, body, idempotency))

    async def create_environment(
        self, caller: Caller, body: ScopePartCreate, idempotency: Idempotency | None = None
    ) -> EnvironmentView:
        """A new environment. :class:`AlreadyExists` where the name is taken."""
        return _environment(await self._create(caller, _ENVIRONMENTS, body, idempotency))

    async def list_apps(self, caller: Caller, cursor: str | None = None, limit: int = 100) -> Page[AppView]:
        """The apps that a binding of the caller selects, by name."""
        rows, after = await self._list(caller, _APPS, cursor, limit)
        return Page(items=[_app(row) for row in rows], next_cursor=after)

    async def list_environments(self, caller: Caller, cursor: str | None = None, limit: int = 100) -> Page[EnvironmentView]:
        """The environments that a binding of the caller selects, by name."""
        rows, after = await self._list(caller, _ENVIRONMENTS, cursor, limit)
        return Page(items=[_environment(row) for row in rows], next_cursor=after)

    async def get_app(self, caller: Caller, name: str) -> Tagged[AppView]:
        """One app that a binding of the caller selects."""
        row = await self._get(caller, _APPS, name)
        return Tagged(_app(row), revision_tag(row.revision))

    async def get_environment(self, caller: Caller, name: str) -> Tagged[EnvironmentView]:
        """One environment that a binding of the caller selects."""
        row = await self._get(caller, _ENVIRONMENTS, name)
        return Tagged(_environment(row), revision_tag(row.revision))

    async def patch_app(
        self, caller: Caller, name: str, body: ScopePartPatch, if_match: str | None = None
    ) -> Tagged[AppView]:
        """Change an app's description."""
        row = await self._patch(caller, _APPS, name, body, if_match)
        return Tagged(_app(row), revision_tag(row.revision))

    async def patch_environment(
        self, caller: Caller, name: str, body: ScopePartPatch, if_match: str | None = None
    ) -> Tagged[EnvironmentView]:
        """Change an environment's description."""
        row = await self._patch(caller, _ENVIRONMENTS, name, body, if_match)
        return Tagged(_environment(row), revision_tag(row.revision))

    async def contents_of_app(self, caller: Caller, name: str) -> ContentsView:
        """What belongs to an app and would go with it."""
        return await self._contents(caller, _APPS, name)

    async def contents_of_environment(self, caller: Caller, name: str) -> ContentsView:
        """What belongs to an environment and would go with it."""
        return await self._contents(caller, _ENVIRONMENTS, name)

    async def delete_app(self, caller: Caller, name: str, *, cascade: bool = False) -> ContentsView | None:
        """Delete an app that nothing lives at any more, else :class:`Conflict`; with ``cascade`` what belongs to it goes, too."""
        return await self._delete(caller, _APPS, name, cascade=cascade)

    async def delete_environment(self, caller: Caller, name: str, *, cascade: bool = False) -> ContentsView | None:
        """As :meth:`delete_app`."""
        return await self._delete(caller, _ENVIRONMENTS, name, cascade=cascade)

    async def _create(self, caller: Caller, kind: _Kind, body: ScopePartCreate, idempotency: Idempotency | None) -> PartRow:
        part = kind.part
        async with self._gate.enter(caller, kind.create) as entry:
            entry.authorise(kind.writing, Resource(part.value, body.name))
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

    async def _list(self, caller: Caller, kind: _Kind, cursor: str | None, limit: int) -> tuple[list[PartRow], str | None]:
        async with self._gate.enter(caller, kind.list) as entry:
            entry.authorise_list(kind.listing, Resource(kind.part.value))
            after = None if cursor is None else part_after(cursor)
            check_limit(limit)
            rows = [row for row in await all_parts(entry.session, kind.part, after) if _sees(entry, kind, row)]
        return rows[:limit], write_cursor(rows[limit - 1].name) if len(rows) > limit else None

    async def _get(self, caller: Caller, kind: _Kind, name: str) -> PartRow:
        async with self._gate.enter(caller, kind.list) as entry:
            row = await self._row(entry, kind, name)
            if not _sees(entry, kind, row):
                entry.refuse(_resource(kind, row), "no_binding")
                entry.hide(kind.part.value)
            entry.accept(_resource(kind, row))
        return row

    async def _patch(
        self, caller: Caller, kind: _Kind, name: str, body: ScopePartPatch, if_match: str | None
    ) -> PartRow:
        async with self._gate.enter(caller, kind.patch) as entry:
            row = await self._row(entry, kind, name)
            entry.authorise(kind.writing, _resource(kind, row), hide_without=kind.writing)
            await lock_part(entry.session, kind.part, row.id)
            row = await self._row(entry, kind, name)
            check_revision(if_match, row.revision, kind.part.value)
            if not isinstance(body.description, UnsetType) and body.description != row.description:
                check_description(body.description)
                await describe_part(entry.session, kind.part, row.id, body.description)
            return await self._row(entry, kind, name)

    async def _contents(self, caller: Caller, kind: _Kind, name: str) -> ContentsView:
        async with self._gate.enter(caller, kind.list) as entry:
            row = await self._row(entry, kind, name)
            entry.authorise(kind.writing, _resource(kind, row), hide_without=kind.writing)
            return contents_view(entry, kind.part, name, await contents_of(entry, _resource(kind, row).scope))

    async def _delete(self, caller: Caller, kind: _Kind, name: str, *, cascade: bool) -> ContentsView | None:
        async with self._gate.enter(caller, kind.delete) as entry:
            row = await self._row(entry, kind, name)
            resource = _resource(kind, row)
            entry.authorise(kind.writing, resource, hide_without=kind.writing)
            if not cascade:
                await remove_alone(entry, kind.part, row.id)
                return None
            entry.amend(code="cascade")
            return await remove_with_contents(entry, kind.part, name, resource.scope, row.id)

    async def _row(self, entry: Entry, kind: _Kind, name: str) -> PartRow:
        row = await part_by_name(entry.session, kind.part, name)
        if row is None:
            entry.missing(Resource(kind.part.value, name))
        return row


def check_description(text: str) -> None:
    """Raise :class:`InvalidInput` where a description is too long or holds control characters."""
    if len(text) > MAX_DESCRIPTION or any(ord(char) < 32 and char not in "\n\t" for char in text):
        rule = f"a description has at most {MAX_DESCRIPTION} characters and no control characters"
        raise InvalidInput(rule, problems=[Problem("body.description", rule, "bad_description")])


def part_after(cursor: str) -> str:
    """The name after which a list of parts goes on. Raises :class:`InvalidInput`."""
    name: str = read_cursor(cursor, str)[0]
    try:
        return check_name(name, "query.cursor")
    except InvalidInput:
        raise bad_cursor() from None


def _sees(entry: Entry, kind: _Kind, row: PartRow) -> bool:
    return sees_part(entry.actor.bindings, kind.listing, kind.part.value, row.id, entry.now)


def _resource(kind: _Kind, row: PartRow) -> Resource:
    part = kind.part.value
    return Resource(part, row.name, Scope(**{part: row.id}), row.id, Scope(**{part: row.name}))


def _app(row: PartRow) -> AppView:
    return AppView(id=str(row.id), name=row.name, description=row.description, created_at=row.created_at)


def _environment(row: PartRow) -> EnvironmentView:
    return EnvironmentView(id=str(row.id), name=row.name, description=row.description, created_at=row.created_at)
