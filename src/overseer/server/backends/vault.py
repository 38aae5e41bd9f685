"""Vault and OpenBao: the engines KV version 1 and 2 over the HTTP API.

A reference is the path below the mount; ``@N`` pins a version (KV 2). The value is the JSON object that is stored there, so a
field is nearly always asked for. Tokens come from AppRole, JWT or the client's certificate, are renewed when two thirds of their
lease are over, and are got anew once where Vault no longer knows them. What it will not do: write, or use dynamic engines.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import quote

import msgspec

from overseer.core.backend_references import BackendReference
from overseer.core.secret_value import SecretValue
from overseer.server.backends.contract import BackendFailure, Fetched, Key, Stage
from overseer.server.backends.service import Round, Service, Setup, decoded, each, not_understood
from overseer.server.outgoing import Answer

SETTINGS: Final = (
    Key("address", "https://HOST[:PORT] of the server"),
    Key("auth", "token, approle, jwt or cert"),
    Key("mount", "where the KV engine is mounted", "secret"),
    Key("kv_version", "1 or 2; auto asks the server", "auto"),
    Key("namespace", "the namespace, where the server has them", ""),
    Key("auth_mount", "where the auth method is mounted, if not at its own name", ""),
    Key("role_id", "of the AppRole", ""),
    Key("role", "of the JWT or certificate auth method", ""),
    Key("ca_pem", "certificates (PEM) of the CA that alone is trusted; else those of the system", ""),
)
CREDENTIALS: Final = (
    Key("token", "for auth=token", ""),
    Key("secret_id", "of the AppRole, for auth=approle", ""),
    Key("jwt", "for auth=jwt", ""),
    Key("client_pem", "certificate and key (PEM), for auth=cert or where the server asks for one", ""),
)
_NEVER: Final = float("inf")


class _Auth(msgspec.Struct):
    client_token: str
    lease_duration: int = 0
    renewable: bool = False


class _Login(msgspec.Struct):
    auth: _Auth


class _Mount(msgspec.Struct):
    type: str
    options: dict[str, Any] | None = None


class _MountAnswer(msgspec.Struct):
    data: _Mount


class _Metadata(msgspec.Struct):
    deletion_time: str = ""
    destroyed: bool = False


class _Versioned(msgspec.Struct):
    metadata: _Metadata
    data: msgspec.Raw = msgspec.Raw(b"null")


class _Answer2(msgspec.Struct):
    data: _Versioned


class _Answer1(msgspec.Struct):
    data: msgspec.Raw


class _Keys(msgspec.Struct):
    keys: list[str]


class _KeysAnswer(msgspec.Struct):
    data: _Keys


class Vault:
    """See the module's text; ``clock`` gives seconds that only go forward."""

    def __init__(self, setup: Setup, clock: Callable[[], float] = time.monotonic) -> None:
        self._setup = setup
        self._clock = clock
        chosen = setup.settings
        self._base = chosen["address"].rstrip("/") + "/v1/"
        self._service = Service(
            setup, chosen["address"], ca_pem=chosen["ca_pem"], client_pem=setup.credentials.get("client_pem", "")
        )
        self._token = ""
        self._renew_at = self._ends_at = 0.0
        self._renewable = False
        self._signing_in = asyncio.Lock()
        self._version = 0 if chosen["kv_version"] == "auto" else int(chosen["kv_version"])

    async def check(self) -> None:
        """Sign in, look at the own token, and find the engine."""
        async with self._service.round() as connection:
            answer = await self._ask(connection, "GET", "auth/token/lookup-self")
            if answer.status == 404:
                raise BackendFailure(Stage.PATH, "there is no Vault at this address, or not this namespace: check both")
            if answer.status != 200:
                raise _refused(answer, "auth/token/lookup-self")
            found = await self._engine(connection)
        if not found:
            why = f"nothing is mounted at {self._mount}, or its policy allows nothing there: check mount, namespace and policy"
            raise BackendFailure(Stage.PERMISSION, why)
        if self._version and self._version != found:
            raise BackendFailure(Stage.PATH, f"the engine at {self._mount} has version {found}: check kv_version")

    async def fetch_many(self, references: Sequence[BackendReference]) -> Fetched:
        """One request each, over shared connections: KV has no request for many."""
        async with self._service.round() as connection:
            version = await self._kv_version(connection)
            return await each(references, lambda reference: self._fetch(connection, version, reference))

    async def list(self, folder: str) -> Sequence[str]:
        """The names below a path, which needs the capability ``list`` there."""
        async with self._service.round() as connection:
            below = "metadata/" if await self._kv_version(connection) == 2 else ""
            path = f"{self._mount}/{below}{_quoted(folder)}"
            answer = await self._ask(connection, "LIST", path)
        if answer.status == 404:
            return []
        if answer.status != 200:
            raise _refused(answer, path)
        return [f"{folder}/{key}" if folder else key for key in decoded(answer, _KeysAnswer).data.keys]

    async def _fetch(self, connection: Round, version: int, reference: BackendReference) -> SecretValue:
        path = _quoted(reference.path)
        if version == 1:
            if reference.version:
                raise BackendFailure(Stage.PATH, "KV version 1 keeps no versions: leave @VERSION out")
            answer = await self._ask(connection, "GET", f"{self._mount}/{path}")
            if answer.status == 200:
                return SecretValue(bytes(decoded(answer, _Answer1).data))
            raise _refused(answer, reference.path)
        if reference.version and not reference.version.isdigit():
            raise BackendFailure(Stage.PATH, "a version of KV 2 is a number")
        asked = f"?version={reference.version}" if reference.version else ""
        answer = await self._ask(connection, "GET", f"{self._mount}/data/{path}{asked}")
        if answer.status == 404 and (gone := _gone(answer)):
            raise BackendFailure(Stage.PATH, f"{reference.path}: this version was {gone}")
        if answer.status != 200:
            raise _refused(answer, reference.path)
        found = decoded(answer, _Answer2).data
        if bytes(found.data) == b"null":
            raise BackendFailure(Stage.PATH, f"{reference.path}: this version was deleted")
        return SecretValue(bytes(found.data))

    async def _kv_version(self, connection: Round) -> int:
        """1 or 2. A token that may not ask for it means version 2, which is the one that new mounts have."""
        if not self._version and (found := await self._engine(connection)):
            self._version = found
        return self._version or 2

    async def _engine(self, connection: Round) -> int:
        """The version of the engine at the mount; 0 where the server does not say, be it that there is none."""
        answer = await self._ask(connection, "GET", f"sys/internal/ui/mounts/{self._mount}")
        if answer.status == 403:
            return 0
        if answer.status != 200:
            raise _refused(answer, self._mount)
        mount = decoded(answer, _MountAnswer).data
        if mount.type not in ("kv", "generic"):
            raise BackendFailure(Stage.PATH, f"what is mounted at {self._mount} is no KV engine")
        return 2 if str((mount.options or {}).get("version")) == "2" else 1

    @property
    def _mount(self) -> str:
        return _quoted(self._setup.settings["mount"].strip("/"))

    async def _ask(self, connection: Round, method: str, path: str) -> Answer:
        """One request with a live token; where Vault does not know it any more, once again with a new one."""
        token = await self._live_token(connection)
        answer = await self._send(connection, method, path, token)
        if answer.status == 403 and self._setup.settings["auth"] != "token" and not await self._is_live(connection, token):
            answer = await self._send(connection, method, path, await self._live_token(connection, instead_of=token))
        return answer

    async def _is_live(self, connection: Round, token: str) -> bool:
        """A 403 of a policy and one of an ended token look the same; every token may look at itself."""
        return (await self._send(connection, "GET", "auth/token/lookup-self", token)).status == 200

    async def _live_token(self, connection: Round, instead_of: str = "") -> str:
        async with self._signing_in:
            now = self._clock()
            if self._token and self._token != instead_of and now < self._renew_at:
                return self._token
            if self._token and self._token != instead_of and self._renewable and now < self._ends_at:
                answer = await self._send(connection, "POST", "auth/token/renew-self", self._token, {})
                if answer.status == 200:
                    self._keep(decoded(answer, _Login).auth)
                    return self._token
            self._keep(await self._login(connection))
            return self._token

    def _keep(self, auth: _Auth) -> None:
        now, lease = self._clock(), auth.lease_duration or _NEVER
        self._token, self._renewable = auth.client_token, auth.renewable
        self._renew_at, self._ends_at = now + lease * 2 / 3, now + lease

    async def _login(self, connection: Round) -> _Auth:
        setup, chosen = self._setup, self._setup.settings
        method = chosen["auth"]
        if method == "token":
            return await self._given_token(connection)
        if method == "approle" and not chosen["role_id"]:
            raise BackendFailure(Stage.AUTH, "auth=approle needs the setting role_id")
        body = {
            "approle": lambda: {"role_id": chosen["role_id"], "secret_id": setup.credential("secret_id")},
            "jwt": lambda: {"role": chosen["role"], "jwt": setup.credential("jwt")},
            "cert": lambda: {"name": chosen["role"]} if chosen["role"] else {},
        }[method]()
        mount = _quoted(chosen["auth_mount"].strip("/") or method)
        answer = await self._send(connection, "POST", f"auth/{mount}/login", "", body)
        if answer.status in (400, 401, 403, 404):
            raise BackendFailure(Stage.AUTH, f"it refuses the {method} login: check the role, the credential and auth_mount")
        if answer.status != 200:
            raise not_understood(answer)
        return decoded(answer, _Login).auth

    async def _given_token(self, connection: Round) -> _Auth:
        token = self._setup.credential("token")
        answer = await self._send(connection, "GET", "auth/token/lookup-self", token)
        data = answer.json.get("data", {}) if answer.status == 200 and isinstance(answer.json, dict) else {}
        if answer.status == 403:
            raise BackendFailure(Stage.AUTH, "it does not accept the token: it ran out, was revoked, or is of another namespace")
        ttl = data.get("ttl") if isinstance(data, dict) else 0
        return _Auth(token, ttl if isinstance(ttl, int) else 0, isinstance(data, dict) and data.get("renewable") is True)

    async def _send(self, connection: Round, method: str, path: str, token: str, body: Any = None) -> Answer:
        headers = {"X-Vault-Request": "true"}
        if self._setup.settings["namespace"]:
            headers["X-Vault-Namespace"] = self._setup.settings["namespace"]
        if token:
            headers["X-Vault-Token"] = token
        answer = await connection.send(method, self._base + path, headers=headers, body=body)
        if answer.status in (412, 472, 473):
            raise BackendFailure(Stage.UNAVAILABLE, f"it is a standby that cannot answer now (status {answer.status})")
        return answer


def _quoted(path: str) -> str:
    return quote(path, safe="/")


def _gone(answer: Answer) -> str:
    """``deleted`` or ``destroyed`` where a 404 has the metadata of a version, '' for what never was."""
    try:
        metadata = msgspec.json.decode(answer.body, type=_Answer2).data.metadata
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""
    return "destroyed" if metadata.destroyed else "deleted"


def _refused(answer: Answer, path: str) -> BackendFailure:
    if answer.status == 403:
        return BackendFailure(Stage.PERMISSION, f"its policy does not allow this path: {path}")
    if answer.status == 404:
        return BackendFailure(Stage.PATH, f"it has nothing at {path}: check path, mount, namespace and kv_version")
    return not_understood(answer)
