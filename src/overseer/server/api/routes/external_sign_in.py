"""Signing in through an identity provider, and exchanging a CI job's identity token."""

from __future__ import annotations

from overseer.server.api.call import Call
from overseer.server.api.route import Open, route
from overseer.wire.messages import Page
from overseer.wire.people import SessionCreated
from overseer.wire.sign_in import ExchangedToken, OidcBegin, OidcBegun, OidcFinish, ProviderView, TokenExchange


@route(
    "GET",
    "/api/auth/oidc",
    permission=Open("whoever wants to sign in has to see through whom; names only"),
    summary="List the identity providers",
    returns=Page[ProviderView],
)
async def list_providers(call: Call[None, None]) -> Page[ProviderView]:
    return Page(items=call.services.oidc.providers())


@route(
    "POST",
    "/api/auth/oidc/begin",
    permission=Open("begins a sign-in: nothing is written, and the answer holds what the provider publishes"),
    summary="Begin to sign in through an identity provider",
    body=OidcBegin,
    returns=OidcBegun,
)
async def begin_oidc(call: Call[OidcBegin, None]) -> OidcBegun:
    return await call.services.oidc.begin(call.body)


@route(
    "POST",
    "/api/auth/oidc/finish",
    permission=Open("ticket, state and the provider's code are the credential; audited"),
    summary="End a sign-in through an identity provider",
    body=OidcFinish,
    returns=SessionCreated,
    status=201,
)
async def finish_oidc(call: Call[OidcFinish, None]) -> SessionCreated:
    return await call.services.oidc.finish(call.caller, call.body)


@route(
    "POST",
    "/api/auth/exchange",
    permission=Open("the CI job's signed identity token is the credential, once; audited"),
    summary="Exchange a CI job's identity token for a short token",
    body=TokenExchange,
    returns=ExchangedToken,
    status=201,
)
async def exchange_token(call: Call[TokenExchange, None]) -> ExchangedToken:
    return await call.services.ci.exchange(call.caller, call.body)
