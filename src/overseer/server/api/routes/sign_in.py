"""Signing in and out, one's own account, and sessions."""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.queries import PageQuery
from overseer.server.api.route import AnyIdentity, Open, route
from overseer.wire.messages import Page
from overseer.wire.people import (
    InvitationAccept,
    PasswordChange,
    PasswordProof,
    RecoveryCodes,
    SecondFactorProof,
    SessionCreated,
    SessionRenewed,
    SessionsEnded,
    SessionView,
    SignIn,
    TotpCode,
    TotpStarted,
)


@route(
    "POST",
    "/api/auth/sign-in",
    permission=Open("name, password and code are the credential; tries are counted, limited and audited"),
    summary="Sign in; 401 second_factor_needed asks for the same again with a code",
    body=SignIn,
    returns=SessionCreated,
    status=201,
)
async def sign_in(call: Call[SignIn, None]) -> SessionCreated:
    return await call.services.sign_in.sign_in(call.caller, call.body)


@route(
    "POST",
    "/api/auth/invitation",
    permission=Open("the invitation is the credential: 256 random bits, used once"),
    summary="Set a password with an invitation",
    body=InvitationAccept,
    status=204,
)
async def accept_invitation(call: Call[InvitationAccept, None]) -> None:
    await call.services.sign_in.accept_invitation(call.caller, call.body)


@route(
    "POST",
    "/api/auth/sign-out",
    permission=AnyIdentity("everyone may end the session that asks"),
    summary="End the session that asks",
    status=204,
)
async def sign_out(call: Call[None, None]) -> None:
    await call.services.sessions.sign_out(call.caller)


@route(
    "POST",
    "/api/me/password",
    permission=AnyIdentity("every user may change its own password; the current one is asked for"),
    summary="Change your password; your other sessions end",
    body=PasswordChange,
    returns=SessionRenewed,
)
async def change_password(call: Call[PasswordChange, None]) -> SessionRenewed:
    return await call.services.account.change_password(call.caller, call.body)


@route(
    "POST",
    "/api/me/totp",
    permission=AnyIdentity("every user may have a second factor; the password is asked for"),
    summary="Ask for a second factor; its secret is shown once, and it is not in force yet",
    body=PasswordProof,
    returns=TotpStarted,
)
async def start_totp(call: Call[PasswordProof, None]) -> TotpStarted:
    return await call.services.account.start_totp(call.caller, call.body)


@route(
    "POST",
    "/api/me/totp/confirm",
    permission=AnyIdentity("every user may put its second factor into force"),
    summary="Put the second factor into force with a code; recovery codes are shown once",
    body=TotpCode,
    returns=RecoveryCodes,
)
async def confirm_totp(call: Call[TotpCode, None]) -> RecoveryCodes:
    return await call.services.account.confirm_totp(call.caller, call.body)


@route(
    "POST",
    "/api/me/totp/remove",
    permission=AnyIdentity("every user may take its second factor away; password and code are asked for"),
    summary="Take your second factor away; your other sessions end",
    body=SecondFactorProof,
    returns=SessionRenewed,
)
async def remove_totp(call: Call[SecondFactorProof, None]) -> SessionRenewed:
    return await call.services.account.remove_totp(call.caller, call.body)


@route(
    "POST",
    "/api/me/recovery-codes",
    permission=AnyIdentity("every user may have new recovery codes; password and code are asked for"),
    summary="Make new recovery codes; the former ones are worth nothing",
    body=SecondFactorProof,
    returns=RecoveryCodes,
)
async def renew_recovery_codes(call: Call[SecondFactorProof, None]) -> RecoveryCodes:
    return await call.services.account.renew_recovery_codes(call.caller, call.body)


@route(
    "GET",
    "/api/sessions",
    permission=AnyIdentity("everyone may see their own sessions"),
    summary="List your live sessions",
    query=PageQuery,
    returns=Page[SessionView],
)
async def list_own_sessions(call: Call[None, PageQuery]) -> Page[SessionView]:
    return await call.services.sessions.list_own_sessions(call.caller, call.query.cursor, call.query.limit)


@route(
    "DELETE",
    "/api/sessions/{session_id}",
    permission=Permission.TOKEN_WRITE,
    summary="End a session; everyone may end their own",
    status=204,
)
async def revoke_session(call: Call[None, None], session_id: UUID) -> None:
    await call.services.sessions.revoke_session(call.caller, session_id)


@route(
    "GET",
    "/api/users/{user_id}/sessions",
    permission=Permission.TOKEN_LIST,
    summary="List the live sessions of a user",
    query=PageQuery,
    returns=Page[SessionView],
)
async def list_sessions(call: Call[None, PageQuery], user_id: UUID) -> Page[SessionView]:
    return await call.services.sessions.list_sessions(call.caller, user_id, call.query.cursor, call.query.limit)


@route(
    "DELETE",
    "/api/users/{user_id}/sessions",
    permission=Permission.TOKEN_WRITE,
    summary="End all sessions of a user",
    returns=SessionsEnded,
)
async def revoke_sessions(call: Call[None, None], user_id: UUID) -> SessionsEnded:
    return await call.services.sessions.revoke_sessions(call.caller, user_id)
