"""Infisical: secrets of one project, with universal auth, over the HTTP API.

A reference is ``ENVIRONMENT/FOLDER/…/KEY``, so that the prefix of a binding bounds the environment too; ``@N`` pins a version.
Imports count as in Infisical: a folder's own secrets win, then the last import. References inside values (``${…}``) stay as they
are unless ``expand_references`` says otherwise: who may write one secret there would read others through this server's identity.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote, urlencode

import msgspec

from overseer.core.backend_references import BackendReference
from overseer.core.secret_value import SecretValue
from overseer.server.backends.contract import BackendFailure, Fetched, Key, Stage
from overseer.server.backends.service import Round, Service, Setup, decoded, each, not_understood
from overseer.server.outgoing import Answer

SETTINGS: Final = (
    Key("project_id", "the id of the project"),
    Key("client_id", "of the machine identity's universal auth"),
    Key("address", "https://HOST[:PORT] of the instance", "https://app.infisical.com"),
    Key("expand_references", "true: values that refer to other secrets are expanded by Infisical", "false"),
    Key("ca_pem", "certificates (PEM) of the CA that alone is trusted; else those of the system", ""),
)
CREDENTIALS: Final = (Key("client_secret", "of the machine identity's universal auth"),)


class _Login(msgspec.Struct, rename="camel"):
    access_token: str
    expires_in: int


class _Secret(msgspec.Struct, rename="camel"):
    secret_key: str
    secret_value: str
    secret_value_hidden: bool = False


class _One(msgspec.Struct):
    secret: _Secret


class _Import(msgspec.Struct):
    secrets: list[_Secret] = []


class _Many(msgspec.Struct):
    secrets: list[_Secret]
    imports: list[_Import] = []


class _Folder(msgspec.Struct):
    name: str


class _Folders(msgspec.Struct):
    folders: list[_Folder]


class Infisical:
    """See the module's text; ``clock`` gives seconds that only go forward."""

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.monotonic) -> None:
        self._setup = setup
        self._clock = clock
        self._base = setup.settings["address"].rstrip("/") + "/api/"
        self._service = Service(setup, setup.settings["address"], ca_pem=setup.settings["ca_pem"])
        self._token = ""
        self._ends_at = 0.0
        self._signing_in = asyncio.Lock()

    async def check(self) -> None:
        """Sign in, and see that the project is there for this identity."""
        async with self._service.round() as connection:
            project = quote(self._setup.settings["project_id"], safe="")
            answer = await self._ask(connection, f"v1/workspace/{project}", {})
            if answer.status != 200:
                raise _refused(answer, "the project")

    async def fetch_many(self, references: Sequence[BackendReference]) -> Fetched:
        """One request for each folder, and one for each pinned version, over shared connections."""
        folders: dict[tuple[str, str], list[BackendReference]] = defaultdict(list)
        for reference in references:
            if not reference.version and len(reference.parts) > 1:
                folders[_place(reference)].append(reference)
        alone = [one for one in references if one.version or len(one.parts) == 1]
        found: dict[BackendReference, SecretValue | BackendFailure] = {}
        async with self._service.round() as connection:
            read = await each(list(folders), lambda place: self._read(connection, place))
            found |= await each(alone, lambda reference: self._one(connection, reference))
        for place, values in read.items():
            for one in folders[place]:
                found[one] = values if isinstance(values, BackendFailure) else values.get(one.parts[-1]) or _nothing_at(one)
        return found

    async def list(self, folder: str) -> Sequence[str]:
        """Folders and keys in ``ENVIRONMENT[/FOLDER…]``."""
        if not folder:
            raise BackendFailure(Stage.PATH, "name an environment: its slug comes first in a reference")
        environment, _, path = folder.partition("/")
        async with self._service.round() as connection:
            where = {"workspaceId": self._setup.settings["project_id"], "environment": environment, "path": f"/{path}"}
            answer = await self._ask(connection, "v1/folders", where)
            if answer.status != 200:
                raise _refused(answer, folder)
            names = [f"{folder}/{one.name}/" for one in decoded(answer, _Folders).folders]
            secrets = await self._read(connection, (environment, f"/{path}"))
        return [*names, *(f"{folder}/{key}" for key in sorted(secrets))]

    async def _read(self, connection: Round, place: tuple[str, str]) -> dict[str, SecretValue | BackendFailure]:
        answer = await self._ask(connection, "v3/secrets/raw", {**self._query(*place), "include_imports": "true"})
        if answer.status != 200:
            raise _refused(answer, "/".join(place).replace("//", "/"))
        found = decoded(answer, _Many)
        layers = [*(one.secrets for one in found.imports), found.secrets]
        return {one.secret_key: _value(one) for layer in layers for one in layer}

    async def _one(self, connection: Round, reference: BackendReference) -> SecretValue:
        if len(reference.parts) == 1:
            raise BackendFailure(Stage.PATH, f"{reference.path}: a reference is ENVIRONMENT/FOLDER/…/KEY")
        if not reference.version.isdigit():
            raise BackendFailure(Stage.PATH, "a version is a number")
        name = quote(reference.parts[-1], safe="")
        query = {**self._query(*_place(reference)), "include_imports": "true", "version": reference.version}
        answer = await self._ask(connection, f"v3/secrets/raw/{name}", query)
        if answer.status != 200:
            raise _refused(answer, reference.path)
        value = _value(decoded(answer, _One).secret)
        if isinstance(value, BackendFailure):
            raise value
        return value

    def _query(self, environment: str, path: str) -> dict[str, str]:
        chosen = self._setup.settings
        return {
            "workspaceId": chosen["project_id"],
            "environment": environment,
            "secretPath": path,
            "expandSecretReferences": chosen["expand_references"],
        }

    async def _ask(self, connection: Round, path: str, query: dict[str, str]) -> Answer:
        """One request with a live token; a token that Infisical no longer knows (401) is got anew once."""
        url = self._base + path + (f"?{urlencode(query)}" if query else "")
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
            body: dict[str, Any] = {
                "clientId": self._setup.settings["client_id"],
                "clientSecret": self._setup.credential("client_secret"),
            }
            answer = await connection.send("POST", self._base + "v1/auth/universal-auth/login", body=body)
            if answer.status in (400, 401, 403, 404):
                raise BackendFailure(
                    Stage.AUTH, "it refuses client_id and client_secret: check them, and trusted addresses there"
                )
            if answer.status != 200:
                raise not_understood(answer)
            login = decoded(answer, _Login)
            self._token, self._ends_at = login.access_token, self._clock() + login.expires_in * 2 / 3
            return self._token


def _place(reference: BackendReference) -> tuple[str, str]:
    """Environment and folder."""
    return reference.parts[0], "/" + "/".join(reference.parts[1:-1])


def _value(found: _Secret) -> SecretValue | BackendFailure:
    """Who may see that a secret is there but not read it gets a mask in place of the value, with status 200."""
    if found.secret_value_hidden:
        return BackendFailure(Stage.PERMISSION, f"the identity may see {found.secret_key} but not read its value")
    return SecretValue(found.secret_value)


def _nothing_at(reference: BackendReference) -> BackendFailure:
    return BackendFailure(Stage.PATH, f"it has nothing at {reference.path}: check environment, folder and key")


def _refused(answer: Answer, path: str) -> BackendFailure:
    if answer.status == 401:
        return BackendFailure(Stage.AUTH, "it does not accept the token that it has just given")
    if answer.status == 403:
        return BackendFailure(Stage.PERMISSION, f"the identity may not read {path}")
    if answer.status == 404:
        return BackendFailure(Stage.PATH, f"it has nothing at {path}: check project, environment, folder and key")
    return not_understood(answer)
