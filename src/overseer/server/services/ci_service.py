"""Jobs of a CI system: their identity token for a short token of a service account, without a stored credential anywhere.

Guarantees: the table ``[ci.NAME]`` fixes issuer, audience and claims, each compared exactly, one of which names the project for
good (names can be given up and taken by somebody else); signatures are asymmetric; a token is exchanged once, on every replica,
by its ``jti``; what comes out lives no longer than the job's token and the table's limit. The audit row says which job it
was, from a list of claims, as erasable text.

An open route: the job's token is the credential. What is wrong with it stands in the audit log alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

from overseer.core.access import Resource
from overseer.core.audit_events import MAX_FREE_TEXT, AuditAction
from overseer.core.errors import Unauthenticated
from overseer.core.identifiers import new_id
from overseer.core.principals import Actor, Caller, PrincipalKind
from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame
from overseer.crypto.identity_tokens import LEEWAY_SECONDS, MAX_CLAIM, Refusal, Rules
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.issuer_keys import IssuerKeys
from overseer.server.sign_in_settings import CiIssuer
from overseer.server.storage import principal_rows as rows
from overseer.server.storage.external_identity_rows import spend
from overseer.wire.sign_in import ExchangedToken, TokenExchange

#: What may be written down of a job's token, in this order: which project, what of it, which run, on whose behalf.
AUDITED_CLAIMS: Final = (
    "repository",
    "repository_id",
    "project_path",
    "project_id",
    "ref",
    "ref_type",
    "environment",
    "workflow_ref",
    "event_name",
    "pipeline_source",
    "run_id",
    "run_attempt",
    "pipeline_id",
    "job_id",
    "sha",
    "actor",
    "actor_id",
    "user_login",
    "user_id",
)
MAX_AUDITED: Final = 100


class CiService:
    """See the module's text. ``issuers`` by their names in the configuration."""

    def __init__(
        self, gate: Gate, issuers: Mapping[str, CiIssuer], clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._gate = gate
        self._issuers = dict(issuers)
        self._clock = clock
        self._keys = {
            name: IssuerKeys(
                f"the CI issuer {name}",
                Rules(one.issuer, one.audience, one.algorithms),
                allow_private=one.allow_private,
                ca_file=one.ca_file,
                jwks_uri=one.jwks_uri,
            )
            for name, one in issuers.items()
        }

    async def exchange(self, caller: Caller, body: TokenExchange) -> ExchangedToken:
        """A short token. Raises :class:`Unauthenticated` and :class:`NotReady` (the issuer's keys cannot be had)."""
        issuer = self._issuers.get(body.name)
        if issuer is None:
            return await self._refuse(caller, "", "unknown_issuer")
        token = SecretValue(body.token.encode("utf-8", "surrogatepass"))
        claims = await self._keys[body.name].claims(token, self._clock().timestamp())
        if isinstance(claims, Refusal):
            return await self._refuse(caller, body.name, claims.code)
        async with self._gate.enter_open(caller, AuditAction.TOKEN_EXCHANGE) as entry:
            await self._check(entry, body.name, issuer, claims)
            account = await rows.principal_by_name(entry.session, PrincipalKind.SERVICE_ACCOUNT, issuer.service_account)
            if account is None or account.disabled_at is not None:
                self._deny(entry, body.name, "no_service_account", claims)
            ends = min(entry.now + timedelta(seconds=issuer.max_seconds), datetime.fromtimestamp(claims["exp"], UTC))
            if ends <= entry.now:
                self._deny(entry, body.name, "expired", claims)
            text, digest = new_token(TokenPrefix.API)
            token_id = new_id(entry.now)
            made = rows.NewToken(digest, token_id, account.id, f"exchanged through {body.name}", ends, None, account.id)
            await rows.insert_token(entry.session, made)
            entry.attribute(Actor(account.id, PrincipalKind.SERVICE_ACCOUNT, account.name, token_id, ()))
            entry.accept(Resource("token", account.name, id=token_id))
            entry.amend(code=body.name, reason=job_text(claims))
        return ExchangedToken(
            id=str(token_id), token=text.reveal().decode("ascii"), service_account=account.name, expires_at=ends
        )

    async def _check(self, entry: Entry, name: str, issuer: CiIssuer, claims: Mapping[str, Any]) -> None:
        if any(_plain(claims.get(claim)) != wanted for claim, wanted in issuer.claims.items()):
            self._deny(entry, name, "wrong_claim", claims)
        jti = claims.get("jti")
        if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_CLAIM:
            self._deny(entry, name, "no_jti", claims)
        digest = hashlib.sha256(frame(issuer.issuer.encode("utf-8"), jti.encode("utf-8", "surrogatepass"))).digest()
        ends = datetime.fromtimestamp(claims["exp"] + LEEWAY_SECONDS, UTC)
        if not await spend(entry.session, digest, ends):
            self._deny(entry, name, "replayed", claims)

    def _deny(self, entry: Entry, name: str, code: str, claims: Mapping[str, Any]) -> NoReturn:
        entry.refuse(Resource("issuer", name), code)
        entry.amend(reason=job_text(claims))
        raise _refused()

    async def _refuse(self, caller: Caller, name: str, code: str) -> ExchangedToken:
        async with self._gate.enter_open(caller, AuditAction.TOKEN_EXCHANGE) as entry:
            entry.refuse(Resource("issuer", name), code)
            raise _refused()


def job_text(claims: Mapping[str, Any]) -> str:
    """Which job it was: the claims of :data:`AUDITED_CLAIMS` that are there, cut and printable."""
    parts = []
    for name in AUDITED_CLAIMS:
        text = _plain(claims.get(name))
        if text and text.isprintable():
            parts.append(f"{name}={text[:MAX_AUDITED]}")
    return " ".join(parts)[:MAX_FREE_TEXT]


def _plain(value: Any) -> str | None:
    """A claim as the configuration writes it: text, or a whole number as its digits."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _refused() -> Unauthenticated:
    return Unauthenticated("this token is not accepted here; an operator finds out why in the audit log")
