"""Signing in with name and password, and setting a password with an invitation: two open routes whose credential is in the body.

Guarantees: every try is counted and committed before it is checked; a name that nobody has costs as much time as one that
somebody has, and the answer is the same; what was wrong stands in the audit log alone, and a name that is not known stands
nowhere (it may be a password). The password is checked in no transaction; whether the user, the password and the second factor
are still what was checked is looked at under a lock before the session is made. Where a second factor is required, the session of
who has none is good for setting one up and for signing out.
"""

from __future__ import annotations

from typing import Final

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import RateLimited, SecondFactorNeeded, Unauthenticated
from overseer.core.identifiers import is_name
from overseer.core.password_rules import check_password
from overseer.core.permissions import Permission
from overseer.core.principals import Actor, Caller, PrincipalKind
from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import token_hash
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.granted_rights import may_act_as
from overseer.server.services.password_work import PasswordWork, read_password
from overseer.server.services.second_factors import SecondFactors
from overseer.server.services.session_making import SessionRules, open_session
from overseer.server.services.sign_in_tries import SignInTries, Taken, normal_name
from overseer.server.storage import user_rows
from overseer.server.storage.session_rows import revoke_sessions_of
from overseer.server.storage.user_rows import Credentials
from overseer.wire.people import InvitationAccept, SessionCreated, SignIn

WRONG: Final = "name, password or code is wrong"
OLD_INVITATION: Final = "this invitation is not known, was used or has expired; ask for a new one"
NOBODY: Final = "-"  # no name begins with it


class SignInService:
    """See the module's text. ``limits`` are the gate's: refused tries are counted there, not written one by one."""

    def __init__(
        self,
        gate: Gate,
        tries: SignInTries,
        passwords: PasswordWork,
        factors: SecondFactors,
        rules: SessionRules,
        limits: DenialLimits,
    ) -> None:
        self._gate = gate
        self._tries = tries
        self._passwords = passwords
        self._factors = factors
        self._rules = rules
        self._limits = limits

    async def sign_in(self, caller: Caller, body: SignIn) -> SessionCreated:
        """A session. Raises :class:`Unauthenticated`, :class:`SecondFactorNeeded` (the password was right: ask again with a
        code), :class:`RateLimited` (wait, or use a recovery code) and :class:`NotReady`."""
        password = read_password(body.password, "body.password")
        name = normal_name(body.name)
        found, taken = await self._charge(caller, name, body.code)
        right = await self._passwords.matches(password, found.phc if found else None)
        renewed = await self._passwords.renewed(password, found.phc) if right and found and found.phc else None
        try:
            async with self._gate.enter_open(caller, AuditAction.SESSION_CREATE) as entry:
                user = await self._proven(entry, found, right, body.code, recovered=taken.recovered)
                if renewed and user.phc:
                    await user_rows.rehash_password(entry.session, user.id, user.phc, renewed)
                await self._tries.succeeded(entry.session, taken)
                enrolling = self._rules.second_factor and not user.has_second_factor
                return await open_session(entry, self._rules, caller, user.id, user.name, enrolling=enrolling)
        except SecondFactorNeeded:
            async with self._gate.own_work() as (session, _):
                await self._tries.give_back(session, taken)
            raise

    async def accept_invitation(self, caller: Caller, body: InvitationAccept) -> None:
        """Set the user's password, once; its sessions end. Raises :class:`Unauthenticated` for any other or an old invitation,
        :class:`InvalidInput` for a password that will not do (the invitation stays good).

        Whoever made it must still be able to make it: the user may have been given more since, or the maker less.
        """
        password = read_password(body.password, "body.password")
        digest = token_hash(SecretValue(body.invitation.encode("utf-8", "surrogatepass")))
        async with self._gate.own_work() as (session, _):
            invited = await user_rows.find_invitation(session, digest)
        phc = ""
        if invited is not None:
            check_password(body.password, invited[1], "body.password")
            phc = await self._passwords.hashed(password)
        async with self._gate.enter_open(caller, AuditAction.PASSWORD_SET) as entry:
            used = await user_rows.use_invitation(entry.session, digest) if invited is not None else None
            if used is None:
                raise Unauthenticated(OLD_INVITATION)
            user_id, name, inviter = used
            await user_rows.lock_user(entry.session, user_id)
            user = Resource("user", name, id=user_id)
            if not await may_act_as(entry, inviter, user, Permission.USER_RESET):
                entry.refuse(user, "beyond_own_rights")
                raise Unauthenticated(OLD_INVITATION)
            await user_rows.set_password(entry.session, user_id, phc)
            await revoke_sessions_of(entry.session, user_id)
            # The row names whom it concerns; there is no token that it was done with.
            entry.attribute(Actor(user_id, PrincipalKind.USER, name, user_id, ()))
            entry.accept(user)
            entry.amend(token_id=None)

    async def _charge(self, caller: Caller, name: str, code: str) -> tuple[Credentials | None, Taken]:
        try:
            async with self._gate.own_work() as (session, _):
                taken = await self._tries.take(session, name, caller.peer, code)
                found = await user_rows.credentials_of(session, name if is_name(name) else NOBODY)
        except RateLimited:
            self._limits.restore([(_refused(caller), 1)])
            raise
        return found, taken

    async def _proven(
        self, entry: Entry, found: Credentials | None, right: bool, code: str, *, recovered: bool
    ) -> Credentials:
        if found is None or not right:  # up to here both cost the same
            code_of = "unknown_user" if found is None else "bad_password" if found.phc else "no_password"
            entry.refuse(Resource("user", found.name, id=found.id) if found else Resource("user"), code_of)
            raise Unauthenticated(WRONG)
        resource = Resource("user", found.name, id=found.id)
        await user_rows.lock_user(entry.session, found.id)
        now = await user_rows.credentials_of(entry.session, found.name)
        if now is None or now.phc != found.phc:
            entry.refuse(resource, "bad_password")
            raise Unauthenticated(WRONG)
        if now.disabled:
            entry.refuse(resource, "principal_disabled")
            raise Unauthenticated(WRONG)
        if now.has_second_factor and not recovered:
            if not code:
                entry.refuse(resource, SecondFactorNeeded.code)
                raise SecondFactorNeeded("a code is needed, too: of your authenticator, or a recovery code")
            if not await self._factors.spend(entry, now.id, code):
                entry.refuse(resource, "bad_code")
                raise Unauthenticated(WRONG)
        return now


def _refused(caller: Caller) -> AuditEvent:
    return AuditEvent(
        action=AuditAction.SESSION_CREATE,
        outcome=Outcome.DENIED,
        request_id=caller.request_id,
        resource_kind="user",
        code=RateLimited.code,
        peer=caller.peer,
        client=caller.client,
        user_agent=caller.user_agent if caller.client == "other" else "",
    )
