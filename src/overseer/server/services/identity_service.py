"""Service accounts, tokens, roles and bindings: who may do what, and with which credential.

Nobody grants what they do not hold: a binding, and a token of another principal, is made only by someone with one binding that
contains each thing it would give. Tokens are shown once and stored as SHA-256. The last unlimited owner stays.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Resource, contains
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyDone, AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission, from_bits
from overseer.core.principals import Caller, PrincipalKind
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.services.binding_selectors import binding_view, read_binding
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import (
    held_with,
    is_inside,
    keep_an_owner,
    read_networks,
    read_scope,
    require_reach,
)
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.scope_service import check_description
from overseer.server.storage import principal_rows as rows
from overseer.wire.access import (
    BindingCreate,
    BindingView,
    MeView,
    PrincipalView,
    RoleView,
    ServiceAccountCreate,
    TokenCreate,
    TokenCreated,
    TokenView,
)
from overseer.wire.messages import Page

MIN_TOKEN_SECONDS: Final = 60
MAX_TOKEN_SECONDS: Final = 366 * 86400
SELF: Final = "me"


class IdentityService:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def me(self, caller: Caller) -> MeView:
        """Who the token speaks for and what it may do; needs a live token and no permission."""
        async with self._gate.enter(caller, AuditAction.IDENTITY_READ) as entry:
            actor = entry.actor
            entry.accept(Resource("principal", actor.name, id=actor.id))
            bindings = await rows.all_bindings(entry.session, await rows.subjects_of(entry.session, actor.id))
            expiry = await rows.token_expiry(entry.session, actor.token_id)
        return MeView(
            id=str(actor.id),
            kind=actor.kind.value,
            name=actor.name,
            token_id=str(actor.token_id),
            token_expires_at=expiry,
            bindings=[binding_view(row) for row in bindings],
        )

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
                return _principal(found)
            try:
                row = await rows.insert_principal(
                    entry.session, new_id(entry.now), PrincipalKind.SERVICE_ACCOUNT, body.name, body.description, entry.actor.id
                )
            except AlreadyExists:
                raise AlreadyExists("there is a service account of that name already") from None
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=row.id)
            entry.amend(resource_id=row.id)
            return _principal(row)

    async def list_principals(self, caller: Caller, kind: PrincipalKind | None = None) -> Page[PrincipalView]:
        """Principals by kind and name."""
        async with self._gate.enter(caller, AuditAction.SERVICE_ACCOUNT_LIST) as entry:
            entry.authorise(Permission.PRINCIPAL_LIST, Resource("principal"))
            found = await rows.all_principals(entry.session, kind)
        return Page(items=[_principal(row) for row in found])

    async def delete_principal(self, caller: Caller, principal_id: UUID) -> None:
        """Delete a service account with its tokens and bindings."""
        async with self._gate.enter(caller, AuditAction.SERVICE_ACCOUNT_DELETE) as entry:
            row = await rows.principal_by_id(entry.session, principal_id)
            if row is None or row.kind is not PrincipalKind.SERVICE_ACCOUNT:
                entry.missing(Resource("service_account", id=principal_id))
            resource = Resource("service_account", row.name, id=row.id)
            entry.authorise(Permission.PRINCIPAL_WRITE, resource, hide_without=Permission.PRINCIPAL_LIST)
            theirs = await rows.all_bindings(entry.session, [row.id])
            require_reach(entry, Permission.PRINCIPAL_WRITE, theirs)
            await keep_an_owner(entry, theirs)
            await rows.delete_principal(entry.session, row.id)

    async def create_token(
        self, caller: Caller, body: TokenCreate, idempotency: Idempotency | None = None
    ) -> TokenCreated:
        """A new token of a service account, or of the caller (``me``). Its text is in this answer and nowhere else.

        Raises :class:`AlreadyDone` (with the token's id) where the idempotency key was used before: the text is not kept.
        """
        async with self._gate.enter(caller, AuditAction.TOKEN_CREATE) as entry:
            entry.authorise(Permission.TOKEN_WRITE, Resource("token", body.principal))
            check_description(body.description)
            networks = read_networks(body.networks)
            if not MIN_TOKEN_SECONDS <= body.expires_in <= MAX_TOKEN_SECONDS:
                rule = f"a token lives {MIN_TOKEN_SECONDS} to {MAX_TOKEN_SECONDS} seconds"
                raise InvalidInput(rule, problems=[Problem("body.expires_in", rule, "bad_expiry")])
            principal_id = await self._token_holder(entry, body.principal)
            if body.principal == SELF:
                networks = await self._within_own_token(entry, body.expires_in, networks)
            first = await self._idempotency.first_result(entry, idempotency)
            if first is not None:
                raise AlreadyDone(f"this key made the token {first.resource_id}; its text was shown then and is not kept")
            text, digest = new_token(TokenPrefix.API)
            token = rows.NewToken(
                hash=digest,
                id=new_id(entry.now),
                principal_id=principal_id,
                description=body.description,
                expires_at=entry.now + timedelta(seconds=body.expires_in),
                networks=networks,
                created_by=entry.actor.id,
            )
            await rows.insert_token(entry.session, token)
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=token.id)
            entry.amend(resource_id=token.id)
        return TokenCreated(id=str(token.id), token=text.reveal().decode("ascii"), expires_at=token.expires_at)

    async def list_tokens(self, caller: Caller, principal: str | None = None) -> Page[TokenView]:
        """Tokens of people and service accounts, never their text."""
        async with self._gate.enter(caller, AuditAction.TOKEN_LIST) as entry:
            entry.authorise(Permission.TOKEN_LIST, Resource("token"))
            found = await rows.all_tokens(entry.session, principal)
        return Page(items=[_token(row) for row in found])

    async def revoke_token(self, caller: Caller, token_id: UUID) -> None:
        """The token is refused from the next request on. A principal may always revoke its own tokens."""
        async with self._gate.enter(caller, AuditAction.TOKEN_REVOKE) as entry:
            found = await rows.all_tokens(entry.session, token_id=token_id)
            if not found:
                entry.missing(Resource("token", id=token_id))
            resource = Resource("token", found[0].principal, id=token_id)
            if found[0].principal_id == entry.actor.id:
                entry.accept(resource)
            else:
                entry.authorise(Permission.TOKEN_WRITE, resource, hide_without=Permission.TOKEN_LIST)
                subjects = await rows.subjects_of(entry.session, found[0].principal_id)
                require_reach(entry, Permission.TOKEN_WRITE, await rows.all_bindings(entry.session, subjects))
            await rows.revoke_token(entry.session, token_id)

    async def list_roles(self, caller: Caller) -> Page[RoleView]:
        """Roles and the permissions they hold."""
        async with self._gate.enter(caller, AuditAction.ROLE_LIST) as entry:
            entry.authorise(Permission.BINDING_LIST, Resource("role"))
            found = await rows.all_roles(entry.session)
        return Page(
            items=[
                RoleView(id=str(row.id), name=row.name, permissions=sorted(from_bits(row.permissions)), built_in=row.built_in)
                for row in found
            ]
        )

    async def create_binding(
        self, caller: Caller, body: BindingCreate, idempotency: Idempotency | None = None
    ) -> BindingView:
        """Give a role to a service account over a selector. :class:`Denied` where the caller does not hold all of it there."""
        async with self._gate.enter(caller, AuditAction.BINDING_CREATE) as entry:
            read = await read_binding(entry, body)
            resource = Resource("binding", read.pattern_text, read.resource_scope, scope_names=read.scope_names)
            entry.authorise(Permission.BINDING_WRITE, resource)
            new, subject, role = read.complete()
            if not any(contains(own, new) for own in held_with(entry, Permission.BINDING_WRITE)):
                entry.deny(
                    "beyond_own_rights",
                    "you cannot grant what you do not hold: no binding of yours contains this role over this selector",
                )
            first = await self._idempotency.first_result(entry, idempotency)
            binding_id = first.resource_id if first else new.id
            if first is None:
                await rows.insert_binding(entry.session, new, subject, role, entry.actor.id)
                await self._idempotency.remember(entry, idempotency, status=201, resource_id=binding_id)
            entry.amend(resource_id=binding_id)
            found = await rows.all_bindings(entry.session, binding_id=binding_id)
            if not found:
                raise Conflict("the binding that this idempotency key made was deleted meanwhile")
        return binding_view(found[0])

    async def list_bindings(self, caller: Caller, principal: str | None = None) -> Page[BindingView]:
        """Bindings by the name of who holds them."""
        async with self._gate.enter(caller, AuditAction.BINDING_LIST) as entry:
            entry.authorise(Permission.BINDING_LIST, Resource("binding"))
            found = await rows.all_bindings(entry.session)
        return Page(items=[binding_view(row) for row in found if principal in (None, row.subject)])

    async def delete_binding(self, caller: Caller, binding_id: UUID) -> None:
        """Take a role away; it holds on the next request. :class:`Conflict` for the last unlimited owner."""
        async with self._gate.enter(caller, AuditAction.BINDING_DELETE) as entry:
            found = await rows.all_bindings(entry.session, binding_id=binding_id)
            if not found:
                entry.missing(Resource("binding", id=binding_id))
            row = found[0]
            scope = read_scope(row.binding)
            resource = Resource("binding", str(row.binding.pattern), scope, id=binding_id)
            entry.authorise(Permission.BINDING_WRITE, resource, hide_without=Permission.BINDING_LIST)
            require_reach(entry, Permission.BINDING_WRITE, [row])
            await keep_an_owner(entry, [row])
            await rows.delete_binding(entry.session, binding_id)

    async def _within_own_token(self, entry: Entry, seconds: int, networks: list[str] | None) -> list[str] | None:
        """A token that makes another one of its own principal gives it no longer life and no wider networks."""
        [own] = await rows.all_tokens(entry.session, token_id=entry.actor.token_id)
        if entry.now + timedelta(seconds=seconds) > own.expires_at:
            rule = f"a token of your own ends no later than the one that asks for it: {own.expires_at:%Y-%m-%d %H:%M:%SZ}"
            raise InvalidInput(rule, problems=[Problem("body.expires_in", rule, "bad_expiry")])
        if own.networks is None or networks is None:
            return own.networks if networks is None else networks
        if not all(any(is_inside(one, outer) for outer in own.networks) for one in networks):
            rule = "a token of your own works from no networks but those of the one that asks for it"
            raise InvalidInput(rule, problems=[Problem("body.networks", rule, "bad_network")])
        return networks

    async def _token_holder(self, entry: Entry, name: str) -> UUID:
        """Whose token it is to be; the caller itself, or a service account that holds nothing beyond the caller."""
        if name == SELF:
            return entry.actor.id
        principal = await rows.principal_by_name(entry.session, PrincipalKind.SERVICE_ACCOUNT, name)
        if principal is None:
            rule = "there is no service account of that name; make it first, or write 'me' for a token of your own"
            raise InvalidInput(rule, problems=[Problem("body.principal", rule, "unknown_principal")])
        theirs = await rows.all_bindings(entry.session, await rows.subjects_of(entry.session, principal.id))
        own = held_with(entry, Permission.TOKEN_WRITE)
        if not all(any(contains(mine, row.binding) for mine in own) for row in theirs):
            entry.deny("beyond_own_rights", "you cannot make a token for a principal that may do more than you")
        return principal.id


def _principal(row: rows.PrincipalRow) -> PrincipalView:
    return PrincipalView(
        id=str(row.id),
        kind=row.kind.value,
        name=row.name,
        description=row.description,
        disabled=row.disabled_at is not None,
        created_at=row.created_at,
    )


def _token(row: rows.TokenRow) -> TokenView:
    return TokenView(
        id=str(row.id),
        principal=row.principal,
        principal_id=str(row.principal_id),
        description=row.description,
        expires_at=row.expires_at,
        networks=row.networks,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
        created_at=row.created_at,
    )
