"""Service accounts: programs that act. One is made without any right; its tokens and bindings go with it."""

from __future__ import annotations

from uuid import UUID

from msgspec import UNSET

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.server.services.cursors import check_limit, read_name_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.principal_changes import delete_principal, disable_principal, enable_principal
from overseer.server.services.scope_service import check_description
from overseer.server.services.tagged import Tagged, check_revision, revision_tag
from overseer.server.services.token_issuing import SELF
from overseer.server.storage import principal_rows as rows
from overseer.wire.access import PrincipalView, ServiceAccountCreate, ServiceAccountPatch
from overseer.wire.messages import Page

_KIND = PrincipalKind.SERVICE_ACCOUNT


class ServiceAccounts:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def create_service_account(
        self, caller: Caller, body: ServiceAccountCreate, idempotency: Idempotency | None = None
    ) -> PrincipalView:
        """A new service account without any right. :class:`AlreadyExists` where the name is taken."""
        async with self._gate.enter(caller, AuditAction.SERVICE_ACCOUNT_CREATE) as entry:
            entry.authorise(Permission.PRINCIPAL_WRITE, Resource("service_account", body.name))
            check_name(body.name, "body.name")
            check_description(body.description)
            user = await rows.principal_by_name(entry.session, PrincipalKind.USER, body.name)
            if body.name == SELF or user is not None:
                # Lists and the audit log are filtered by name: two principals of one name would be taken for one.
                rule = f"{SELF!r} means the caller itself, and users have their names alone: choose another name"
                raise InvalidInput(rule, problems=[Problem("body.name", rule, "reserved_name")])
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                found = await rows.principal_by_id(entry.session, first.resource_id)
                if found is None:
                    raise Conflict("the service account that this idempotency key made was deleted meanwhile")
                return principal_view(found)
            try:
                row = await rows.insert_principal(
                    entry.session, new_id(entry.now), _KIND, body.name, body.description, entry.actor.id
                )
            except AlreadyExists:
                raise AlreadyExists("there is a service account of that name already") from None
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=row.id)
            entry.amend(resource_id=row.id)
            return principal_view(row)

    async def list_service_accounts(
        self, caller: Caller, cursor: str | None = None, limit: int = 100
    ) -> Page[PrincipalView]:
        """Service accounts by name."""
        async with self._gate.enter(caller, AuditAction.SERVICE_ACCOUNT_LIST) as entry:
            entry.authorise(Permission.PRINCIPAL_LIST, Resource("principal"))
            after = None if cursor is None else read_name_cursor(cursor)
            found = await rows.all_principals(entry.session, _KIND, after, check_limit(limit) + 1)
        return principal_page(found, limit)

    async def get_service_account(self, caller: Caller, principal_id: UUID) -> Tagged[PrincipalView]:
        """One service account."""
        async with self._gate.enter(caller, AuditAction.SERVICE_ACCOUNT_LIST) as entry:
            row = await _account(entry, principal_id)
            resource = Resource("service_account", row.name, id=row.id)
            entry.authorise(Permission.PRINCIPAL_LIST, resource, hide_without=Permission.PRINCIPAL_LIST)
        return tagged_principal(row)

    async def patch_service_account(
        self, caller: Caller, principal_id: UUID, body: ServiceAccountPatch, if_match: str | None = None
    ) -> Tagged[PrincipalView]:
        """Change the description, or disable or enable it.

        Raises :class:`Denied` where it may do more than the caller, :class:`Conflict` for the last owner without limits, and
        :class:`PreconditionFailed`.
        """
        action = AuditAction.SERVICE_ACCOUNT_PATCH
        if isinstance(body.disabled, bool):
            action = AuditAction.SERVICE_ACCOUNT_DISABLE if body.disabled else AuditAction.SERVICE_ACCOUNT_ENABLE
        async with self._gate.enter(caller, action) as entry:
            row = await _account(entry, principal_id)
            resource = Resource("service_account", row.name, id=row.id)
            entry.authorise(Permission.PRINCIPAL_WRITE, resource, hide_without=Permission.PRINCIPAL_LIST)
            revision = await rows.lock_principal(entry.session, row.id)
            if revision is None:
                entry.hide("service_account")
            check_revision(if_match, revision, "service account")
            if body.description is not UNSET:
                assert isinstance(body.description, str)  # noqa: S101  # what is not unset is a text
                check_description(body.description)
                await rows.describe_principal(entry.session, row.id, body.description)
            if body.disabled is True:
                await disable_principal(entry, row)
            elif body.disabled is False:
                await enable_principal(entry, row)
            changed = await rows.principal_by_id(entry.session, row.id)
            assert changed is not None  # noqa: S101  # locked above
        return tagged_principal(changed)

    async def delete_service_account(self, caller: Caller, principal_id: UUID, if_match: str | None = None) -> None:
        """Delete a service account with its tokens and bindings."""
        async with self._gate.enter(caller, AuditAction.SERVICE_ACCOUNT_DELETE) as entry:
            row = await _account(entry, principal_id)
            resource = Resource("service_account", row.name, id=row.id)
            entry.authorise(Permission.PRINCIPAL_WRITE, resource, hide_without=Permission.PRINCIPAL_LIST)
            revision = await rows.lock_principal(entry.session, row.id)
            if revision is None:
                entry.hide("service_account")
            check_revision(if_match, revision, "service account")
            await delete_principal(entry, row)


def principal_view(row: rows.PrincipalRow) -> PrincipalView:
    """A principal as people read it."""
    return PrincipalView(
        id=str(row.id),
        kind=row.kind.value,
        name=row.name,
        description=row.description,
        disabled=row.disabled_at is not None,
        created_at=row.created_at,
    )


def tagged_principal(row: rows.PrincipalRow) -> Tagged[PrincipalView]:
    """A principal with its entity tag."""
    return Tagged(principal_view(row), revision_tag(row.revision))


def principal_page(found: list[rows.PrincipalRow], limit: int) -> Page[PrincipalView]:
    """A page of ``limit`` out of ``limit + 1`` rows."""
    last = found[limit - 1] if len(found) > limit else None
    return Page(
        items=[principal_view(row) for row in found[:limit]],
        next_cursor=None if last is None else write_cursor(last.name, str(last.id)),
    )


async def _account(entry: Entry, principal_id: UUID) -> rows.PrincipalRow:
    row = await rows.principal_by_id(entry.session, principal_id)
    if row is None or row.kind is not _KIND:
        entry.missing(Resource("service_account", id=principal_id))
    return row
