"""Signing in and out, accepting an invitation, and unsealing: the pages for those who have no session yet.

What was typed is never sent back: after a refusal the name stands in the form again, password and code do not. Where a visitor
goes after signing in is a path of this site, whatever the address says.
"""

from __future__ import annotations

from typing import Final

from overseer.core.errors import (
    Conflict,
    Denied,
    InvalidInput,
    KeyProblem,
    NotReady,
    OverseerError,
    RateLimited,
    Unauthenticated,
)
from overseer.server.api.route import AnyIdentity, Open
from overseer.server.api.session_cookies import no_session_cookie, session_cookie
from overseer.server.web.oidc_cookie import no_ticket_cookie, read_ticket, ticket_cookie
from overseer.server.web.page import Answer, Redirect, View, page
from overseer.server.web.visit import Visit
from overseer.wire.people import InvitationAccept, SignIn
from overseer.wire.seal import Unseal
from overseer.wire.sign_in import OidcBegin, OidcFinish

_SIGN_IN: Final = Open("name, password and code are the credential; tries are counted, limited and audited")
_PROVIDER: Final = Open("the identity provider's answer is the credential, bound to the browser that began by its ticket")
_INVITED: Final = Open("the invitation is the credential: 256 random bits, used once")
_UNSEAL: Final = Open("the passphrase or the shares are the credential; tries are limited and audited", while_sealed=True)


@page("GET", "/sign-in", permission=_SIGN_IN)
async def sign_in_form(visit: Visit) -> Answer:
    return _sign_in(visit, None)


@page("POST", "/sign-in", permission=_SIGN_IN)
async def sign_in(visit: Visit) -> Answer:
    form = visit.form
    body = SignIn(name=form.text("name"), password=form.get("password", ""), code=form.text("code"))
    try:
        made = await visit.services.sign_in.sign_in(visit.caller, body)
    except (Unauthenticated, InvalidInput, RateLimited) as error:
        return _sign_in(visit, error)
    cookie = session_cookie(made.session, secure=visit.secure).encode("ascii")
    return Redirect(local_path(form.get("next", "/")), ((b"set-cookie", cookie),))


@page("GET", "/sign-in/oidc/callback", permission=_PROVIDER)
async def finish_provider(visit: Visit) -> Answer:
    """The provider sends the visitor back here. Whatever comes of it, the ticket is used up."""
    ticket, path = read_ticket(visit.ticket)
    gone = no_ticket_cookie(secure=visit.secure)
    query = visit.query
    try:
        if query.get("error"):
            raise Unauthenticated("the identity provider did not sign you in; begin again, or ask whoever runs it")
        body = OidcFinish(
            ticket=ticket, code=query.get("code", ""), state=query.get("state", ""), issuer=query.optional("iss")
        )
        made = await visit.services.oidc.finish(visit.caller, body)
    except (Unauthenticated, Conflict, Denied, InvalidInput, NotReady, RateLimited) as error:
        return _sign_in(visit, error, (gone,))
    cookie = session_cookie(made.session, secure=visit.secure).encode("ascii")
    return Redirect(local_path(path), ((b"set-cookie", cookie), gone))


@page("GET", "/sign-in/oidc/{name}", permission=_PROVIDER)
async def begin_provider(visit: Visit, name: str) -> Answer:
    try:
        begun = await visit.services.oidc.begin(OidcBegin(provider=name))
    except (InvalidInput, NotReady, Unauthenticated) as error:
        return _sign_in(visit, error)
    kept = ticket_cookie(begun.ticket, local_path(visit.query.get("next", "/")), secure=visit.secure)
    return Redirect(begun.url, (kept,))


@page("POST", "/sign-out", permission=AnyIdentity("everyone may end the session that asks"), enrolling=True)
async def sign_out(visit: Visit) -> Answer:
    await visit.services.sessions.sign_out(visit.caller)
    return Redirect("/sign-in?done=out", ((b"set-cookie", no_session_cookie(secure=visit.secure).encode("ascii")),))


@page("GET", "/invitation", permission=_INVITED)
async def invitation_form(visit: Visit) -> Answer:  # noqa: ARG001  # the same for everybody
    return View("sign_in/invitation.html", {"error": None})


@page("POST", "/invitation", permission=_INVITED)
async def accept_invitation(visit: Visit) -> Answer:
    form = visit.form
    try:
        if form.get("password", "") != form.get("again", ""):
            raise InvalidInput("the two passwords are not the same")
        body = InvitationAccept(invitation=form.text("invitation"), password=form.get("password", ""))
        await visit.services.sign_in.accept_invitation(visit.caller, body)
    except (Unauthenticated, InvalidInput, RateLimited) as error:
        return View("sign_in/invitation.html", {"error": error}, status=error.status)
    return Redirect("/sign-in?done=invited")


@page("GET", "/unseal", permission=_UNSEAL)
async def unseal_form(visit: Visit) -> Answer:
    return await _unseal(visit, None)


@page("POST", "/unseal", permission=_UNSEAL)
async def unseal(visit: Visit) -> Answer:
    form = visit.form
    try:
        if form.get("share"):
            body = Unseal(share=form.text("share"), anew=form.checked("anew"))
        else:
            body = Unseal(passphrase=form.get("passphrase", ""))
        await visit.services.seal.unseal(visit.caller, body)
    except (InvalidInput, Denied, RateLimited, KeyProblem, Conflict, NotReady) as error:
        return await _unseal(visit, error)
    return Redirect("/unseal")


async def _unseal(visit: Visit, error: OverseerError | None) -> Answer:
    status = await visit.services.seal.status()
    return View("sign_in/unseal.html", {"seal": status, "error": error}, status=error.status if error else 200)


def _sign_in(visit: Visit, error: OverseerError | None, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    given = visit.form if visit.form else visit.query
    content = {
        "error": error,
        "name": visit.form.text("name"),
        "next": local_path(given.get("next", "/")),
        "done": visit.query.text("done"),
        "providers": [provider.name for provider in visit.services.oidc.providers() if provider.web],
        "needs_code": error is not None and error.code == "second_factor_needed",
    }
    # A wrong password is a page, not a failed request of a program: but its status is true all the same.
    return View("sign_in/sign_in.html", content, status=error.status if error else 200, headers=headers)


def local_path(text: str) -> str:
    """``text`` where it is a path of this site, else ``/``: ``//host`` and ``/\\host`` are addresses of other sites."""
    plain = text.isascii() and text.isprintable() and " " not in text
    return text if plain and text.startswith("/") and not text.startswith(("//", "/\\")) and len(text) < 2000 else "/"
