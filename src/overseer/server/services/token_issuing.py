"""Tokens: credentials of service accounts and of the caller itself. A text is shown once and stored as its SHA-256.

Nobody makes a token for a principal that may do more than they, and nobody one of another person: what is done with it would
stand in the log as theirs. A principal that makes one for itself gives it no longer life and no wider networks than the one that
asks has, by whatever name it calls itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyDone, Conflict, InvalidInput, Problem
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.services.cursors import check_limit, read_id_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import is_inside, read_networks, require_grant, require_reach
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.scope_service import check_description
from overseer.server.storage import principal_rows as rows
from overseer.wire.access import TokenCreate, TokenCreated, TokenRotate, TokenView
from overseer.wire.messages import Page

MIN_TOKEN_SECONDS: Final = 60
MAX_TOKEN_SECONDS: Final = 366 * 86400
MAX_OVERLAP_SECONDS: Final = 30 * 86400
SELF: Final = "me"
BEYOND: Final = "you cannot make a token for a principal that may do more than you"


class TokenIssuing:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

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
            _check_life(body.expires_in)
            principal_id = await _holder(entry, body.principal)
            networks = await _bounded(entry, principal_id, body.expires_in, networks)
            await self._refuse_replay(entry, idempotency)
            return await self._issue(entry, principal_id, body.description, body.expires_in, networks, idempotency)

    async def rotate_token(
        self, caller: Caller, token_id: UUID, body: TokenRotate, idempotency: Idempotency | None = None
    ) -> TokenCreated:
        """A successor of a machine's token, or of one of the caller's own, with its networks; the predecessor lives ``overlap``
        seconds more, if not less anyway.

        Raises as :meth:`create_token`, and :class:`Conflict` where the token is not live any more or is a session.
        """
        async with self._gate.enter(caller, AuditAction.TOKEN_ROTATE) as entry:
            old = await _found(entry, token_id)
            resource = Resource("token", old.principal, id=token_id)
            entry.authorise(Permission.TOKEN_WRITE, resource, hide_without=Permission.TOKEN_LIST)
            description = old.description if body.description is None else body.description
            check_description(description)
            _check_life(body.expires_in)
            if not 0 <= body.overlap <= MAX_OVERLAP_SECONDS:
                rule = f"an overlap is 0 to {MAX_OVERLAP_SECONDS} seconds"
                raise InvalidInput(rule, problems=[Problem("body.overlap", rule, "bad_overlap")])
            if old.principal_id != entry.actor.id:
                if not old.of_machine:
                    entry.deny("not_a_machine", "a person's token has no successor but by that person; revoke it instead")
                subjects = await rows.subjects_of(entry.session, old.principal_id)
                require_grant(entry, Permission.TOKEN_WRITE, await rows.all_bindings(entry.session, subjects), BEYOND)
            networks = await _bounded(entry, old.principal_id, body.expires_in, old.networks)
            await self._refuse_replay(entry, idempotency, token_id)
            if old.is_session:
                raise Conflict("this is a session: sign in again instead")
            if old.revoked_at is not None or old.expires_at <= entry.now:
                raise Conflict("this token is not live any more: create a new one")
            await rows.shorten_token(entry.session, token_id, body.overlap)
            return await self._issue(
                entry, old.principal_id, description, body.expires_in, networks, idempotency, target=token_id
            )

    async def list_tokens(
        self, caller: Caller, principal: str | None = None, cursor: str | None = None, limit: int = 100
    ) -> Page[TokenView]:
        """Tokens of people and service accounts, oldest first, never their text."""
        async with self._gate.enter(caller, AuditAction.TOKEN_LIST) as entry:
            entry.authorise(Permission.TOKEN_LIST, Resource("token"))
            after = None if cursor is None else read_id_cursor(cursor)
            found = await rows.all_tokens(entry.session, principal, after=after, limit=check_limit(limit) + 1)
        more = len(found) > limit
        return Page(
            items=[_token(row) for row in found[:limit]], next_cursor=write_cursor(str(found[limit - 1].id)) if more else None
        )

    async def get_token(self, caller: Caller, token_id: UUID) -> TokenView:
        """One token, never its text. A principal may always see its own."""
        async with self._gate.enter(caller, AuditAction.TOKEN_LIST) as entry:
            row = await _found(entry, token_id)
            resource = Resource("token", row.principal, id=token_id)
            if row.principal_id == entry.actor.id:
                entry.accept(resource)
            else:
                entry.authorise(Permission.TOKEN_LIST, resource, hide_without=Permission.TOKEN_LIST)
        return _token(row)

    async def revoke_token(self, caller: Caller, token_id: UUID) -> None:
        """The token is refused from the next request on. A principal may always revoke its own tokens."""
        async with self._gate.enter(caller, AuditAction.TOKEN_REVOKE) as entry:
            row = await _found(entry, token_id)
            resource = Resource("token", row.principal, id=token_id)
            if row.principal_id == entry.actor.id:
                entry.accept(resource)
            else:
                entry.authorise(Permission.TOKEN_WRITE, resource, hide_without=Permission.TOKEN_LIST)
                subjects = await rows.subjects_of(entry.session, row.principal_id)
                require_reach(entry, Permission.TOKEN_WRITE, await rows.all_bindings(entry.session, subjects))
            await rows.revoke_token(entry.session, token_id)

    async def _refuse_replay(self, entry: Entry, idempotency: Idempotency | None, target: UUID | None = None) -> None:
        first = await self._idempotency.first_result(entry, idempotency, target=target)
        if first is not None:
            raise AlreadyDone(f"this key made the token {first.resource_id}; its text was shown then and is not kept")

    async def _issue(
        self,
        entry: Entry,
        principal_id: UUID,
        description: str,
        seconds: int,
        networks: list[str] | None,
        idempotency: Idempotency | None,
        *,
        target: UUID | None = None,
    ) -> TokenCreated:
        text, digest = new_token(TokenPrefix.API)
        token = rows.NewToken(
            hash=digest,
            id=new_id(entry.now),
            principal_id=principal_id,
            description=description,
            expires_at=entry.now + timedelta(seconds=seconds),
            networks=networks,
            created_by=entry.actor.id,
        )
        await rows.insert_token(entry.session, token)
        await self._idempotency.remember(entry, idempotency, status=201, resource_id=token.id, target=target)
        if target is None:
            entry.amend(resource_id=token.id)
        else:
            name = entry.events[-1].resource_name
            entry.accept(Resource("token", name, id=token.id), action=AuditAction.TOKEN_CREATE)
        return TokenCreated(id=str(token.id), token=text.reveal().decode("ascii"), expires_at=token.expires_at)


async def _bounded(
    entry: Entry, principal_id: UUID, seconds: int, networks: list[str] | None
) -> list[str] | None:
    """The networks of a new token: one of the caller's own principal outlives and outreaches the asking one in nothing."""
    if principal_id != entry.actor.id:
        return networks
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


async def _holder(entry: Entry, name: str) -> UUID:
    """Whose token it is to be; the caller itself, or a service account that holds nothing beyond the caller."""
    if name == SELF:
        return entry.actor.id
    principal = await rows.principal_by_name(entry.session, PrincipalKind.SERVICE_ACCOUNT, name)
    if principal is None:
        rule = "there is no service account of that name; make it first, or write 'me' for a token of your own"
        raise InvalidInput(rule, problems=[Problem("body.principal", rule, "unknown_principal")])
    theirs = await rows.all_bindings(entry.session, await rows.subjects_of(entry.session, principal.id))
    require_grant(entry, Permission.TOKEN_WRITE, theirs, BEYOND)
    return principal.id


async def _found(entry: Entry, token_id: UUID) -> rows.TokenRow:
    found = await rows.all_tokens(entry.session, token_id=token_id)
    if not found:
        entry.missing(Resource("token", id=token_id))
    return found[0]


def _check_life(seconds: int) -> None:
    if not MIN_TOKEN_SECONDS <= seconds <= MAX_TOKEN_SECONDS:
        rule = f"a token lives {MIN_TOKEN_SECONDS} to {MAX_TOKEN_SECONDS} seconds"
        raise InvalidInput(rule, problems=[Problem("body.expires_in", rule, "bad_expiry")])


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
