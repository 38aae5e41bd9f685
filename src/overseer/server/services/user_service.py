"""Users as administrators see them: created, described, disabled, enabled, deleted, given a new start, tied to a provider.

Nobody acts against more than they hold themselves: whoever can reset a user can become it. The last unlimited owner
stays. A user signs in after it set a password with an invitation, or through a provider; nobody sets a password for
somebody else.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, Problem
from overseer.core.identifiers import check_name, new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.services.cursors import MAX_LIMIT, part_of
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import keep_an_owner, require_grant, require_reach
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.scope_service import check_description
from overseer.server.services.token_issuing import SELF
from overseer.server.storage import external_identity_rows, principal_rows, session_rows, user_rows
from overseer.server.storage.account_hand_rows import Act, note_hand
from overseer.server.storage.user_rows import UserRow
from overseer.wire.messages import Page
from overseer.wire.people import (
    ExternalIdentity,
    IdentityView,
    InvitationCreated,
    UserCreate,
    UserPatch,
    UserReset,
    UserView,
)

MIN_INVITATION: Final = 300
MAX_INVITATION: Final = 7 * 86400
MAX_IDENTITY: Final = 500


class UserService:
    """See the module's text."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def create_user(self, caller: Caller, body: UserCreate, idempotency: Idempotency | None = None) -> UserView:
        """A new user without any right and any way to sign in. :class:`AlreadyExists` where the name is taken, in any case."""
        async with self._gate.enter(caller, AuditAction.USER_CREATE) as entry:
            entry.authorise(Permission.PRINCIPAL_WRITE, Resource("user", body.name))
            check_name(body.name, "body.name")
            check_description(body.description)
            await self._check_free(entry, body.name)
            first = await self._idempotency.first_result(entry, idempotency)
            user_id = first.resource_id if first else new_id(entry.now)
            if first is None:
                try:
                    await principal_rows.insert_principal(
                        entry.session, user_id, PrincipalKind.USER, body.name, body.description, entry.actor.id
                    )
                except AlreadyExists:
                    raise AlreadyExists("there is a user of that name already") from None
                await self._idempotency.remember(entry, idempotency, status=201, resource_id=user_id)
            entry.amend(resource_id=user_id)
            row = await user_rows.user_by_id(entry.session, user_id)
            if row is None:
                raise Conflict("the user that this idempotency key made was deleted meanwhile")
        return _view(row)

    async def list_users(self, caller: Caller, cursor: str | None = None, limit: int = MAX_LIMIT) -> Page[UserView]:
        """Users by name."""
        async with self._gate.enter(caller, AuditAction.USER_LIST) as entry:
            entry.authorise(Permission.PRINCIPAL_LIST, Resource("user"))
            found, after = part_of(await user_rows.all_users(entry.session), lambda row: row.name, cursor, limit)
        return Page(items=[_view(row) for row in found], next_cursor=after)

    async def get_user(self, caller: Caller, user_id: UUID) -> UserView:
        """One user."""
        async with self._gate.enter(caller, AuditAction.USER_LIST) as entry:
            return _view(await self._known(entry, user_id, Permission.PRINCIPAL_LIST))

    async def patch_user(self, caller: Caller, user_id: UUID, body: UserPatch) -> UserView:
        """Replace the description."""
        async with self._gate.enter(caller, AuditAction.USER_PATCH) as entry:
            await self._known(entry, user_id, Permission.PRINCIPAL_WRITE)
            check_description(body.description)
            await user_rows.describe_user(entry.session, user_id, body.description)
            return await self._view_of(entry, user_id)

    async def disable_user(self, caller: Caller, user_id: UUID) -> UserView:
        """Its sessions and tokens end for good, invitations too. :class:`Conflict` for the last unlimited owner."""
        async with self._gate.enter(caller, AuditAction.USER_DISABLE) as entry:
            await self._known(entry, user_id, Permission.PRINCIPAL_WRITE)
            await self._reached(entry, user_id, Permission.PRINCIPAL_WRITE)
            await principal_rows.disable_principal(entry.session, user_id)
            await user_rows.drop_invitations(entry.session, user_id)
            await keep_an_owner(entry)
            return await self._view_of(entry, user_id)

    async def enable_user(self, caller: Caller, user_id: UUID) -> UserView:
        """It may sign in again, with the password and the rights that it had."""
        async with self._gate.enter(caller, AuditAction.USER_ENABLE) as entry:
            await self._known(entry, user_id, Permission.PRINCIPAL_WRITE)
            await self._require_all_it_holds(entry, user_id, Permission.PRINCIPAL_WRITE)
            await user_rows.enable_user(entry.session, user_id)
            return await self._view_of(entry, user_id)

    async def delete_user(self, caller: Caller, user_id: UUID) -> None:
        """With its tokens, sessions and bindings. :class:`Conflict` for the last unlimited owner."""
        async with self._gate.enter(caller, AuditAction.USER_DELETE) as entry:
            await self._known(entry, user_id, Permission.PRINCIPAL_WRITE)
            await self._reached(entry, user_id, Permission.PRINCIPAL_WRITE)
            await principal_rows.delete_principal(entry.session, user_id)
            await keep_an_owner(entry)

    async def reset_user(self, caller: Caller, user_id: UUID, body: UserReset) -> InvitationCreated:
        """An invitation with which the user sets a password: its first one, or a new one, and then the old password and all
        sessions end now. The second factor stays unless it is asked away."""
        async with self._gate.enter(caller, AuditAction.USER_RESET) as entry:
            row = await self._known(entry, user_id, Permission.USER_RESET)
            if not MIN_INVITATION <= body.expires_in <= MAX_INVITATION:
                rule = f"an invitation lives {MIN_INVITATION} to {MAX_INVITATION} seconds"
                raise InvalidInput(rule, problems=[Problem("body.expires_in", rule, "bad_expiry")])
            await self._require_all_it_holds(entry, user_id, Permission.USER_RESET)
            if row.disabled_at is not None:
                raise Conflict("the user is disabled; enable it first")
            await user_rows.lock_user(entry.session, user_id)
            await user_rows.drop_password(entry.session, user_id)
            if body.second_factor:
                await user_rows.drop_second_factor(entry.session, user_id)
            await session_rows.revoke_sessions_of(entry.session, user_id)
            text, digest = new_token(TokenPrefix.INVITATION)
            invitation_id, expires_at = new_id(entry.now), entry.now + timedelta(seconds=body.expires_in)
            await user_rows.insert_invitation(entry.session, digest, invitation_id, user_id, expires_at, entry.actor.id)
            await note_hand(entry.session, user_id, entry.actor.id, Act.RESET)
            if body.second_factor and row.has_second_factor:
                entry.accept(Resource("user", row.name, id=user_id), action=AuditAction.TOTP_REMOVE)
        return InvitationCreated(
            id=str(invitation_id), user=row.name, invitation=text.reveal().decode("ascii"), expires_at=expires_at
        )

    async def link_identity(self, caller: Caller, user_id: UUID, body: ExternalIdentity) -> UserView:
        """Let a provider's subject sign in as this user. :class:`AlreadyExists` where it is somebody's already."""
        async with self._gate.enter(caller, AuditAction.USER_LINK) as entry:
            await self._known(entry, user_id, Permission.USER_RESET)
            _check_identity(body)
            await self._require_all_it_holds(entry, user_id, Permission.USER_RESET)
            try:
                await external_identity_rows.link(entry.session, body.issuer, body.subject, user_id)
            except AlreadyExists:
                raise AlreadyExists("this identity belongs to a user already") from None
            await note_hand(entry.session, user_id, entry.actor.id, Act.LINKED)
            return await self._view_of(entry, user_id)

    async def unlink_identity(self, caller: Caller, user_id: UUID, body: ExternalIdentity) -> UserView:
        """The provider's subject signs in as this user no more; sessions that it has end."""
        async with self._gate.enter(caller, AuditAction.USER_LINK) as entry:
            row = await self._known(entry, user_id, Permission.USER_RESET)
            await self._reached(entry, user_id, Permission.USER_RESET)
            if (body.issuer, body.subject) not in row.identities:
                raise Conflict("the user is not tied to that identity")
            await external_identity_rows.unlink(entry.session, body.issuer, body.subject)
            await session_rows.revoke_sessions_of(entry.session, user_id)
            entry.amend(code="unlinked")
            return await self._view_of(entry, user_id)

    async def _known(self, entry: Entry, user_id: UUID, permission: Permission) -> UserRow:
        row = await user_rows.user_by_id(entry.session, user_id)
        if row is None:
            entry.missing(Resource("user", id=user_id))
        entry.authorise(permission, Resource("user", row.name, id=user_id), hide_without=Permission.PRINCIPAL_LIST)
        return row

    async def _require_all_it_holds(self, entry: Entry, user_id: UUID, permission: Permission) -> None:
        """For what lets somebody act as the user: the caller holds all that the user holds, and for as long."""
        subjects = await principal_rows.subjects_of(entry.session, user_id)
        theirs = await principal_rows.all_bindings(entry.session, subjects)
        require_grant(entry, permission, theirs, "you cannot let anybody act as a user who may do more than you")

    async def _reached(self, entry: Entry, user_id: UUID, permission: Permission) -> list[principal_rows.BindingRow]:
        """The user's bindings, its groups' too, all of which the caller contains; the user's own are what goes with it."""
        subjects = await principal_rows.subjects_of(entry.session, user_id)
        theirs = await principal_rows.all_bindings(entry.session, subjects)
        require_reach(entry, permission, theirs)
        return [row for row in theirs if row.subject_id == user_id]

    async def _check_free(self, entry: Entry, name: str) -> None:
        machine = await principal_rows.principal_by_name(entry.session, PrincipalKind.SERVICE_ACCOUNT, name)
        if name.lower() == SELF or machine is not None:
            # Lists and the audit log are filtered by name: two principals of one name would be taken for one.
            rule = f"{SELF!r} means the caller itself, and service accounts have their names alone: choose another name"
            raise InvalidInput(rule, problems=[Problem("body.name", rule, "reserved_name")])

    async def _view_of(self, entry: Entry, user_id: UUID) -> UserView:
        row = await user_rows.user_by_id(entry.session, user_id)
        assert row is not None  # noqa: S101  # known and not deleted in this transaction
        return _view(row)


def _check_identity(body: ExternalIdentity) -> None:
    for place, text in (("body.issuer", body.issuer), ("body.subject", body.subject)):
        if not (1 <= len(text) <= MAX_IDENTITY and text.isprintable()):
            rule = f"1 to {MAX_IDENTITY} printable characters, exactly as the provider's tokens say"
            raise InvalidInput(f"{place}: {rule}", problems=[Problem(place, rule, "bad_identity")])


def _view(row: UserRow) -> UserView:
    return UserView(
        id=str(row.id),
        name=row.name,
        description=row.description,
        disabled=row.disabled_at is not None,
        has_password=row.has_password,
        has_second_factor=row.has_second_factor,
        identities=[IdentityView(issuer=issuer, subject=subject) for issuer, subject in row.identities],
        last_sign_in_at=row.last_sign_in_at,
        created_at=row.created_at,
    )
