"""One's own account: password, second factor, sessions.

The secret of an authenticator and recovery codes are shown in the answer to the very request that made them, once, and in no
other page.
"""

from __future__ import annotations

import io
from typing import Any
from uuid import UUID

import segno
from markupsafe import Markup

from overseer.core.errors import InvalidInput, OverseerError
from overseer.server.api.route import AnyIdentity
from overseer.server.api.session_cookies import session_cookie
from overseer.server.web.attempts import attempt
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.visit import Visit
from overseer.wire.people import PasswordChange, PasswordProof, SecondFactorProof, TotpCode

_OWN = AnyIdentity("everyone may see and change their own account; the password is asked for again")


@page("GET", "/account", permission=_OWN)
async def account(visit: Visit) -> Answer:
    return await _shown(visit)


@page("POST", "/account/password", permission=_OWN)
async def change_password(visit: Visit) -> Answer:
    form = visit.form

    async def change() -> Answer:
        if form.get("password", "") != form.get("again", ""):
            raise InvalidInput("the two new passwords are not the same")
        body = PasswordChange(current=form.get("current", ""), password=form.get("password", ""))
        renewed = await visit.services.account.change_password(visit.caller, body)
        return Redirect("/account?done=password", _renewed(visit, renewed.session))

    return await attempt(change, lambda error: _shown(visit, error))


@page("GET", "/account/second-factor", permission=_OWN, enrolling=True)
async def second_factor(visit: Visit) -> Answer:  # noqa: ARG001  # the same for everybody
    return _enrol(None)


@page("POST", "/account/second-factor", permission=_OWN, enrolling=True)
async def start_second_factor(visit: Visit) -> Answer:
    async def change() -> Answer:
        body = PasswordProof(password=visit.form.get("password", ""))
        started = await visit.services.account.start_totp(visit.caller, body)
        return View("account/second_factor.html", {"started": started, "qr": _qr(started.uri), "error": None})

    return await attempt(change, lambda error: _shown(visit, error))


@page("POST", "/account/second-factor/confirm", permission=_OWN, enrolling=True)
async def confirm_second_factor(visit: Visit) -> Answer:
    async def change() -> Answer:
        made = await visit.services.account.confirm_totp(visit.caller, TotpCode(code=visit.form.text("code")))
        return View("account/codes.html", {"codes": made.codes}, headers=_renewed(visit, made.session))

    async def again(error: OverseerError) -> Answer:
        return View("account/second_factor.html", {"started": None, "qr": None, "error": error}, status=error.status)

    return await attempt(change, again)


@page("POST", "/account/second-factor/remove", permission=_OWN)
async def remove_second_factor(visit: Visit) -> Answer:
    async def change() -> Answer:
        renewed = await visit.services.account.remove_totp(visit.caller, _proof(visit))
        return Redirect("/account?done=removed", _renewed(visit, renewed.session))

    return await attempt(change, lambda error: _shown(visit, error))


@page("POST", "/account/recovery-codes", permission=_OWN)
async def renew_recovery_codes(visit: Visit) -> Answer:
    async def change() -> Answer:
        made = await visit.services.account.renew_recovery_codes(visit.caller, _proof(visit))
        return View("account/codes.html", {"codes": made.codes}, headers=_renewed(visit, made.session))

    return await attempt(change, lambda error: _shown(visit, error))


@page("POST", "/account/sessions/{session_id}/end", permission=_OWN)
async def end_session(visit: Visit, session_id: UUID) -> Answer:
    async def change() -> Answer:
        await visit.services.sessions.revoke_session(visit.caller, session_id)
        return Redirect("/account?done=ended")

    return await attempt(change, lambda error: _shown(visit, error))


def _enrol(error: OverseerError | None) -> Answer:
    return View("account/enrol.html", {"error": error}, status=error.status if error else 200)


async def _shown(visit: Visit, error: OverseerError | None = None) -> Answer:
    if visit.me is not None and visit.me.enrolling:
        return _enrol(error)
    content: dict[str, Any] = {
        "sessions": await visit.services.sessions.list_own_sessions(visit.caller),
        "error": error,
        "done": visit.query.text("done"),
    }
    return View("account/show.html", content, status=error.status if error else 200)


def _proof(visit: Visit) -> SecondFactorProof:
    return SecondFactorProof(password=visit.form.get("password", ""), code=visit.form.text("code"))


def _renewed(visit: Visit, session: str | None) -> tuple[tuple[bytes, bytes], ...]:
    """The session's new secret as its cookie; after a change of the sign-in the former one is worth nothing."""
    if session is None:
        return ()
    return ((b"set-cookie", session_cookie(session, secure=visit.secure).encode("ascii")),)


def _qr(uri: str) -> Markup:
    """The QR code of ISO/IEC 18004 as SVG, made here: no image service sees the authenticator's secret."""
    drawn = io.BytesIO()
    code = segno.make(uri, error="m")
    code.save(drawn, kind="svg", xmldecl=False, svgclass="qr", lineclass=None, border=2, omitsize=True)
    return Markup(drawn.getvalue().decode("utf-8"))  # noqa: S704  # the library's own drawing of dots, no text in it
