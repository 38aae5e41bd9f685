"""Azure Key Vault: secrets of one vault over its HTTP API, signed in with a client secret or the machine's managed identity.

A reference is the name of a secret; ``@ID`` pins a version. The managed identity is the server's own, so the operator's
configuration has to lend it (``host_identity``); it alone asks the machine's metadata service, at its one fixed address.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from overseer.core.backend_references import BackendReference
from overseer.core.secret_value import SecretValue
from overseer.server.backends.contract import MOST_LISTED, BackendFailure, Fetched, Key, Stage
from overseer.server.backends.service import Round, Service, Setup, decoded, each, host_of, not_understood
from overseer.server.outgoing import Answer

SETTINGS: Final = (
    Key("address", "https://NAME.vault.azure.net"),
    Key("auth", "client-secret or managed-identity", "client-secret"),
    Key("tenant_id", "for auth=client-secret", ""),
    Key("client_id", "of the application, or of one of several managed identities", ""),
    Key("authority", "where tokens come from", "https://login.microsoftonline.com"),
    Key("resource", "what tokens are asked for", "https://vault.azure.net"),
    Key("ca_pem", "certificates (PEM) of the CA that alone is trusted; else those of the system", ""),
)
CREDENTIALS: Final = (Key("client_secret", "for auth=client-secret", ""),)
API: Final = "api-version=7.4"
METADATA: Final = "http://169.254.169.254"
_NAME: Final = re.compile(r"[0-9A-Za-z-]{1,127}")


class _Token(msgspec.Struct):
    access_token: str
    expires_in: int | str = 0


class _Secret(msgspec.Struct):
    value: str


class _Item(msgspec.Struct):
    id: str


class _Page(msgspec.Struct):
    value: list[_Item]
    next_link: str | None = msgspec.field(default=None, name="nextLink")


class AzureKeyVault:
    """See the module's text; ``clock`` gives seconds that only go forward."""

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.monotonic) -> None:
        self._setup = setup
        self._clock = clock
        self._base = setup.settings["address"].rstrip("/")
        managed = setup.settings["auth"] == "managed-identity"
        metadata_host = host_of(METADATA) if managed and setup.rules.host_identity(host_of(self._base)) else None
        self._service = Service(setup, self._base, ca_pem=setup.settings["ca_pem"], metadata_host=metadata_host)
        self._token = ""
        self._ends_at = 0.0
        self._signing_in = asyncio.Lock()

    async def check(self) -> None:
        """Sign in, and have the vault judge the token: the smallest list."""
        async with self._service.round() as connection:
            answer = await self._ask(connection, f"{self._base}/secrets?{API}&maxresults=1")
            if answer.status != 200:
                raise _refused(answer, "the list of secrets")

    async def fetch_many(self, references: Sequence[BackendReference]) -> Fetched:
        """One request each, over shared connections: Key Vault has no request for many."""
        async with self._service.round() as connection:
            return await each(references, lambda reference: self._fetch(connection, reference))

    async def list(self, folder: str) -> Sequence[str]:
        """Names that begin with ``folder``; a vault has no folders."""
        names: list[str] = []
        link: str | None = f"{self._base}/secrets?{API}&maxresults=25"
        async with self._service.round() as connection:
            while link and len(names) < MOST_LISTED:
                answer = await self._ask(connection, link)
                if answer.status != 200:
                    raise _refused(answer, "the list of secrets")
                page = decoded(answer, _Page)
                names += [one.id.rstrip("/").rpartition("/secrets/")[2].partition("/")[0] for one in page.value]
                link = self._own(page.next_link)
        return sorted(name for name in names if name.startswith(folder))[:MOST_LISTED]

    def _own(self, link: str | None) -> str | None:
        """The link to the next page, which gets the token as well: it has to be this vault's."""
        if link is None:
            return None
        ours, theirs = urlsplit(self._base), urlsplit(link)
        if (theirs.scheme, theirs.netloc) != (ours.scheme, ours.netloc):
            raise BackendFailure(Stage.REDIRECT, "its list goes on at another host, which is not followed")
        return link

    async def _fetch(self, connection: Round, reference: BackendReference) -> SecretValue:
        if not _NAME.fullmatch(reference.path):
            raise BackendFailure(Stage.PATH, "the name of a secret there has letters, digits and -, and no slash")
        version = f"/{quote(reference.version, safe='')}" if reference.version else ""
        answer = await self._ask(connection, f"{self._base}/secrets/{reference.path}{version}?{API}")
        if answer.status != 200:
            raise _refused(answer, reference.path)
        return SecretValue(decoded(answer, _Secret).value)

    async def _ask(self, connection: Round, url: str) -> Answer:
        """One request with a live token; a token that the vault no longer accepts (401) is got anew once."""
        token = await self._live_token(connection)
        answer = await connection.send("GET", url, headers={"authorization": f"Bearer {token}"})
        if answer.status == 401:
            token = await self._live_token(connection, instead_of=token)
            answer = await connection.send("GET", url, headers={"authorization": f"Bearer {token}"})
        return answer

    async def _live_token(self, connection: Round, instead_of: str = "") -> str:
        async with self._signing_in:
            if self._token and self._token != instead_of and self._clock() < self._ends_at:
                return self._token
            managed = self._setup.settings["auth"] == "managed-identity"
            answer = await (self._from_machine(connection) if managed else self._from_authority(connection))
            if answer.status in (400, 401, 403, 404):
                raise BackendFailure(Stage.AUTH, "no token: check tenant_id, client_id and the client's secret, or the identity")
            if answer.status != 200:
                raise not_understood(answer)
            found = decoded(answer, _Token)
            lifetime = int(found.expires_in) if str(found.expires_in).isdigit() else 0
            self._token, self._ends_at = found.access_token, self._clock() + lifetime * 2 / 3
            return self._token

    async def _from_authority(self, connection: Round) -> Answer:
        chosen = self._setup.settings
        url = f"{chosen['authority'].rstrip('/')}/{quote(chosen['tenant_id'], safe='')}/oauth2/v2.0/token"
        form = {
            "grant_type": "client_credentials",
            "client_id": chosen["client_id"],
            "client_secret": self._setup.credential("client_secret"),
            "scope": f"{chosen['resource']}/.default",
        }
        return await connection.send("POST", url, form=form)

    async def _from_machine(self, connection: Round) -> Answer:
        if not self._setup.rules.host_identity(host_of(self._base)):
            why = "the operator's configuration does not lend the server's identity (host_identity): use auth=client-secret"
            raise BackendFailure(Stage.AUTH, why)
        chosen = self._setup.settings
        asked = {"api-version": "2018-02-01", "resource": chosen["resource"]}
        if chosen["client_id"]:
            asked["client_id"] = chosen["client_id"]
        url = f"{METADATA}/metadata/identity/oauth2/token?{urlencode(asked)}"
        return await connection.send("GET", url, headers={"metadata": "true"})


def _refused(answer: Answer, what: str) -> BackendFailure:
    if answer.status == 401:
        return BackendFailure(Stage.AUTH, "the vault does not accept the token: is the application in this vault's tenant?")
    if answer.status == 403:
        return BackendFailure(Stage.PERMISSION, f"access to {what} is not granted, the secret is disabled, or a firewall refuses")
    if answer.status == 404:
        return BackendFailure(Stage.PATH, f"the vault has no secret {what}, or not this version of it")
    return not_understood(answer)
