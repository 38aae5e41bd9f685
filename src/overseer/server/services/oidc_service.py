"""Signing in through an identity provider: OpenID Connect, authorization code with PKCE, for browsers and the command line alike.

1. ``begin`` makes a ticket and the address of the provider's page. Nothing is stored: the ticket is kept by whoever began.
2. The provider sends the person back with a code and the state.
3. ``finish`` exchanges the code, checks the identity token (signature, issuer, audience, times, nonce), and opens a session.

Guarantees: a ticket works once, on every replica; state and nonce are compared with the ticket's; ``iss`` of the answer
(RFC 9207) is compared where it is there; no transaction is open while the provider is asked; a provider that is down is a clear
error. A provider's second factor is its own business (one that is set here belongs to the password), and a sign-in that does not
show what the configuration demands of it (``acr``, ``amr``) is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, NotReady, Problem, Unauthenticated
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.identity_tokens import Refusal, Rules
from overseer.crypto.keyring import Purpose
from overseer.crypto.sign_in_tickets import Ticket, new_ticket, open_ticket, same
from overseer.server.services.gate import Gate
from overseer.server.services.issuer_keys import IssuerKeys
from overseer.server.services.key_service import KeyService
from overseer.server.services.provisioning import signed_in_user
from overseer.server.services.session_making import SessionRules, open_session
from overseer.server.sign_in_settings import OidcProvider
from overseer.server.storage.external_identity_rows import spend
from overseer.wire.people import SessionCreated
from overseer.wire.sign_in import OidcBegin, OidcBegun, OidcFinish, ProviderView

TICKET_SECONDS: Final = 600
MAX_CODE: Final = 4096
CALLBACK: Final = "/callback"


class OidcService:
    """See the module's text. ``providers`` by their names in the configuration."""

    def __init__(
        self,
        gate: Gate,
        keys: KeyService,
        providers: Mapping[str, OidcProvider],
        rules: SessionRules,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._gate = gate
        self._keys = keys
        self._providers = dict(providers)
        self._rules = rules
        self._clock = clock
        self._issuers = {
            name: IssuerKeys(
                f"the identity provider {name}",
                Rules(provider.issuer, provider.client_id, provider.algorithms),
                allow_private=provider.allow_private,
                ca_file=provider.ca_file,
            )
            for name, provider in providers.items()
        }

    def providers(self) -> list[ProviderView]:
        """What a sign-in page offers; public as that page is."""
        return [ProviderView(name=name, web=one.redirect_uri is not None) for name, one in sorted(self._providers.items())]

    async def begin(self, body: OidcBegin) -> OidcBegun:
        """The provider's page, and the ticket to come back with. Writes nothing, and tells what the provider publishes.

        Raises :class:`InvalidInput` for an unknown provider or a return address that is not allowed, :class:`NotReady`.
        """
        provider = self._provider(body.provider)
        redirect_uri = _redirect_uri(provider, body.redirect_uri)
        issuer = self._issuers[body.provider]
        page = issuer.endpoint(await issuer.document(), "authorization_endpoint")
        expires = int(self._clock().timestamp()) + TICKET_SECONDS
        key = self._keys.keyring.hmac_key(Purpose.SIGN_IN)
        text = new_ticket(key, body.provider, redirect_uri, expires)
        ticket = open_ticket(key, text, self._clock().timestamp())
        assert ticket is not None  # noqa: S101  # made a line ago
        demanded = {"acr_values": " ".join(provider.acr)} if provider.acr else {}
        query = urlencode(
            {
                "response_type": "code",
                "client_id": provider.client_id,
                "redirect_uri": redirect_uri,
                "scope": " ".join(dict.fromkeys(("openid", *provider.scopes))),
                "state": ticket.state,
                "nonce": ticket.nonce,
                "code_challenge": ticket.challenge,
                "code_challenge_method": "S256",
                **demanded,
            }
        )
        return OidcBegun(
            ticket=text.reveal().decode("ascii"), url=f"{page}?{query}", expires_at=datetime.fromtimestamp(expires, UTC)
        )

    async def finish(self, caller: Caller, body: OidcFinish) -> SessionCreated:
        """A session. Raises :class:`Unauthenticated` (the ticket, the state or the provider's answer is not good; the audit log
        says what), :class:`Denied` (this server does not let that identity in), :class:`NotReady`."""
        ticket = open_ticket(
            self._keys.keyring.hmac_key(Purpose.SIGN_IN),
            SecretValue(body.ticket.encode("utf-8", "surrogatepass")),
            self._clock().timestamp(),
        )
        if ticket is None or ticket.provider not in self._providers or len(body.code) > MAX_CODE:
            return await self._refuse(caller, "", "bad_ticket")
        provider = self._providers[ticket.provider]
        if not same(body.state, ticket.state):
            return await self._refuse(caller, ticket.provider, "bad_state")
        if body.issuer is not None and body.issuer != provider.issuer:
            return await self._refuse(caller, ticket.provider, "wrong_issuer")
        claims = await self._claims(provider, ticket, body.code)
        if isinstance(claims, Refusal):
            return await self._refuse(caller, ticket.provider, claims.code)
        async with self._gate.enter_open(caller, AuditAction.SESSION_CREATE) as entry:
            if not await spend(entry.session, ticket.digest, datetime.fromtimestamp(ticket.expires, UTC)):
                entry.refuse(Resource("provider", ticket.provider), "replayed")
                raise _refused()
            user = await signed_in_user(entry, ticket.provider, provider, claims)
            return await open_session(entry, self._rules, caller, user.id, user.name)

    async def _claims(self, provider: OidcProvider, ticket: Ticket, code: str) -> dict[str, Any] | Refusal:
        issuer = self._issuers[ticket.provider]
        endpoint = issuer.endpoint(await issuer.document(), "token_endpoint")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": ticket.redirect_uri,
            "client_id": provider.client_id,
            "code_verifier": ticket.verifier.reveal().decode("ascii"),
        }
        basic = None if provider.client_secret is None else (provider.client_id, provider.client_secret)
        answer = await issuer.outgoing.post_form(endpoint, form, basic)
        if answer.status >= 500:
            raise NotReady(f"the identity provider {ticket.provider} does not work at this moment; try again", retry_after=5)
        token = answer.json.get("id_token") if answer.status == 200 and isinstance(answer.json, dict) else None
        if not isinstance(token, str):
            return Refusal("code_refused")
        claims = await issuer.claims(SecretValue(token.encode("utf-8", "surrogatepass")), self._clock().timestamp())
        if isinstance(claims, Refusal):
            return claims
        nonce = claims.get("nonce")
        if not (isinstance(nonce, str) and same(nonce, ticket.nonce)):
            return Refusal("wrong_nonce")
        return claims if _strong_enough(provider, claims) else Refusal("weak_sign_in")

    async def _refuse(self, caller: Caller, provider: str, code: str) -> SessionCreated:
        async with self._gate.enter_open(caller, AuditAction.SESSION_CREATE) as entry:
            entry.refuse(Resource("provider", provider), code)
            raise _refused()

    def _provider(self, name: str) -> OidcProvider:
        provider = self._providers.get(name)
        if provider is None:
            rule = "no identity provider of that name is set up here"
            raise InvalidInput(rule, problems=[Problem("body.provider", rule, "unknown_provider")])
        return provider


def _strong_enough(provider: OidcProvider, claims: Mapping[str, Any]) -> bool:
    """Whether the token says that the sign-in was what is demanded (OpenID Connect Core 1.0, section 2: acr, amr)."""
    methods = claims.get("amr")
    used = {word for word in methods if isinstance(word, str)} if isinstance(methods, list) else set()
    return (not provider.acr or claims.get("acr") in provider.acr) and (not provider.amr or not used.isdisjoint(provider.amr))


def _redirect_uri(provider: OidcProvider, asked: str | None) -> str:
    """Where the provider may send somebody back to: its setting, or a loopback address (RFC 8252, section 7.3)."""
    if asked is None:
        if provider.redirect_uri is None:
            rule = "this provider has no redirect_uri in the configuration: it signs in the command line alone"
            raise InvalidInput(rule, problems=[Problem("body.provider", rule, "no_web_sign_in")])
        return provider.redirect_uri
    if not _is_loopback(asked):
        rule = f"http://127.0.0.1:PORT{CALLBACK} or http://[::1]:PORT{CALLBACK}"
        raise InvalidInput(f"redirect_uri is {rule}", problems=[Problem("body.redirect_uri", rule, "bad_redirect_uri")])
    return asked


def _is_loopback(uri: str) -> bool:
    try:
        parts = urlsplit(uri)
        address, port = ip_address(parts.hostname or ""), parts.port
    except ValueError:
        return False
    host = f"[{address}]" if address.version == 6 else str(address)
    return address.is_loopback and port is not None and uri == f"http://{host}:{port}{CALLBACK}"


def _refused() -> Unauthenticated:
    return Unauthenticated("this sign-in was refused: begin again; if it stays so, the audit log says why")
