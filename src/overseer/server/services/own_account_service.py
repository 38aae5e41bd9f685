"""What users do to their own sign-in: change the password, put a second factor into force, renew recovery codes, take it away.

Each needs the password again (a session that was left open is not enough), counted and limited as a sign-in is. Each
ends the user's other sessions and gives the one that asks another secret.
"""

from __future__ import annotations

from typing import Final

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, InvalidInput, Problem
from overseer.core.identifiers import new_id
from overseer.core.password_rules import check_password
from overseer.core.principals import Caller, PrincipalKind
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import TotpContext
from overseer.crypto.one_time_codes import key_uri, new_recovery_codes, new_secret, secret_text
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.password_work import PasswordWork, read_password
from overseer.server.services.second_factors import SecondFactors
from overseer.server.services.session_making import SessionRules, renew_session
from overseer.server.services.sign_in_tries import SignInTries, Taken, normal_name
from overseer.server.storage import user_rows
from overseer.server.storage.session_rows import is_live
from overseer.wire.people import (
    PasswordChange,
    PasswordProof,
    RecoveryCodes,
    SecondFactorProof,
    SessionRenewed,
    TotpCode,
    TotpStarted,
)

ISSUER: Final = "Overseer"


class OwnAccountService:
    """See the module's text."""

    def __init__(
        self,
        gate: Gate,
        keys: KeyService,
        tries: SignInTries,
        passwords: PasswordWork,
        factors: SecondFactors,
        rules: SessionRules,
    ) -> None:
        self._rules = rules
        self._gate = gate
        self._keys = keys
        self._tries = tries
        self._passwords = passwords
        self._factors = factors

    async def change_password(self, caller: Caller, body: PasswordChange) -> SessionRenewed:
        """Raises :class:`Denied` for a wrong current password, :class:`InvalidInput` for a new one that will not do."""
        new = read_password(body.password, "body.password")
        checked, taken = await self._checked(caller, AuditAction.PASSWORD_CHANGE, body.current, "body.current")
        async with self._gate.enter(caller, AuditAction.PASSWORD_CHANGE) as entry:
            await self._still(entry, caller, checked, taken)
            check_password(body.password, entry.actor.name, "body.password")
        phc = await self._passwords.hashed(new)
        async with self._gate.enter(caller, AuditAction.PASSWORD_CHANGE) as entry:
            await self._still(entry, caller, checked, None)
            await user_rows.set_password(entry.session, entry.actor.id, phc)
            await user_rows.drop_invitations(entry.session, entry.actor.id)
            return SessionRenewed(session=await renew_session(entry))

    async def start_totp(self, caller: Caller, body: PasswordProof) -> TotpStarted:
        """A secret for the authenticator, in force after :meth:`confirm_totp`. :class:`Conflict` where one is in force."""
        await self._keys.prepare_to_encrypt()
        checked, taken = await self._checked(caller, AuditAction.TOTP_START, body.password, "body.password")
        async with self._gate.enter(caller, AuditAction.TOTP_START, enrolling=True) as entry:
            await self._still(entry, caller, checked, taken)
            secret, totp_id = new_secret(), new_id(entry.now)
            sealed = self._keys.encrypt(secret, TotpContext(self._keys.instance_id, entry.actor.id, totp_id))
            if not await user_rows.replace_totp(entry.session, entry.actor.id, totp_id, sealed):
                raise Conflict("a second factor is in force already; take it away first")
            name = entry.actor.name
        return TotpStarted(secret=secret_text(secret), uri=key_uri(secret, ISSUER, name))

    async def confirm_totp(self, caller: Caller, body: TotpCode) -> RecoveryCodes:
        """Put the second factor into force with a code of it. Raises :class:`InvalidInput` for a wrong code.

        The password was asked for when it was started, maybe by somebody else than who has the session now: tries are counted.
        """
        async with self._gate.enter(caller, AuditAction.TOTP_CONFIRM, enrolling=True) as entry:
            self._own(entry)
            taken = await self._tries.take(entry.session, normal_name(entry.actor.name), caller.peer)
            entry.postpone()
        async with self._gate.enter(caller, AuditAction.TOTP_CONFIRM, enrolling=True) as entry:
            self._own(entry)
            row = await user_rows.totp_of(entry.session, entry.actor.id)
            if row is None or row.confirmed:
                raise Conflict("there is no second factor that waits to be confirmed; start one")
            if not await self._factors.spend_step(entry, entry.actor.id, row, body.code):
                rule = "this is not the authenticator's code of now; look at the clock of both sides"
                raise InvalidInput(rule, problems=[Problem("body.code", rule, "bad_code")])
            await self._tries.give_back(entry.session, taken)
            return await self._new_codes(entry)

    async def renew_recovery_codes(self, caller: Caller, body: SecondFactorProof) -> RecoveryCodes:
        """Ten new recovery codes; the former ones are worth nothing. Raises :class:`Denied` for a wrong password or code."""
        checked, taken = await self._checked(caller, AuditAction.TOTP_CONFIRM, body.password, "body.password")
        await self._spend(caller, AuditAction.TOTP_CONFIRM, body.code)
        async with self._gate.enter(caller, AuditAction.TOTP_CONFIRM) as entry:
            await self._still(entry, caller, checked, taken)
            return await self._new_codes(entry)

    async def remove_totp(self, caller: Caller, body: SecondFactorProof) -> SessionRenewed:
        """Take the second factor away; where one is required, the session can only set up another one from here on. Raises
        :class:`Denied` for a wrong password or code."""
        checked, taken = await self._checked(caller, AuditAction.TOTP_REMOVE, body.password, "body.password")
        await self._spend(caller, AuditAction.TOTP_REMOVE, body.code)
        async with self._gate.enter(caller, AuditAction.TOTP_REMOVE) as entry:
            await self._still(entry, caller, checked, taken)
            await user_rows.drop_second_factor(entry.session, entry.actor.id)
            return SessionRenewed(session=await renew_session(entry, enrolling=self._rules.second_factor))

    async def _checked(self, caller: Caller, action: AuditAction, password: str, place: str) -> tuple[str, Taken]:
        """The stored hash that the password is the one of, and the charged try; raises :class:`Denied`."""
        sent = read_password(password, place)
        async with self._gate.enter(caller, action, enrolling=action is AuditAction.TOTP_START) as entry:
            self._own(entry)
            phc = await user_rows.password_of(entry.session, entry.actor.id)
            if phc is None:
                raise Conflict("you have no password here: your provider signs you in, and keeps your second factor")
            taken = await self._tries.take(entry.session, normal_name(entry.actor.name), caller.peer)
            entry.postpone()
        if not await self._passwords.matches(sent, phc):
            async with self._gate.enter(caller, action, enrolling=action is AuditAction.TOTP_START) as entry:
                self._own(entry)
                entry.deny("bad_password", "the password is wrong; nothing was changed")
        return phc, taken

    async def _spend(self, caller: Caller, action: AuditAction, code: str) -> None:
        """Spend a code of the second factor; the try stays charged where it is wrong."""
        async with self._gate.enter(caller, action) as entry:
            self._own(entry)
            if not await self._factors.spend(entry, entry.actor.id, code):
                entry.deny("bad_code", "the code is wrong or was used; nothing was changed")
            entry.postpone()

    async def _still(self, entry: Entry, caller: Caller, checked: str, taken: Taken | None) -> None:
        """Lock the user; the password has to be the one that was checked, and the credential the one that came in: whoever waited
        for the lock may have lost it to what held it, a second factor that was taken away. Gives the charged try back."""
        self._own(entry)
        await user_rows.lock_user(entry.session, entry.actor.id)
        if not await is_live(entry.session, caller.token_hash, entry.actor.token_id):
            entry.deny("token_revoked", "your session was renewed or ended meanwhile; nothing was changed now")
        if await user_rows.password_of(entry.session, entry.actor.id) != checked:
            entry.deny("bad_password", "the password was changed meanwhile; nothing was changed now")
        if taken is not None:
            await self._tries.give_back(entry.session, taken)

    async def _new_codes(self, entry: Entry) -> RecoveryCodes:
        codes, hashes = new_recovery_codes()
        await user_rows.replace_recovery_codes(entry.session, entry.actor.id, hashes)
        return RecoveryCodes(codes=[_text(code) for code in codes], session=await renew_session(entry))

    def _own(self, entry: Entry) -> None:
        entry.accept(Resource("user", entry.actor.name, id=entry.actor.id))
        if entry.actor.kind is not PrincipalKind.USER:
            entry.deny("not_a_user", "only users sign in; this credential is a machine's")


def _text(value: SecretValue) -> str:
    return value.reveal().decode("ascii")
