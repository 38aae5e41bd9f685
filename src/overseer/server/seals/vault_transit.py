"""The ``vault-transit`` seal: the transit engine of a Vault or OpenBao server wraps the root key; the database keeps the
ciphertext.

Guarantees: TLS is verified (with the operator's CA where one is named), and plain HTTP is for this machine's own loopback only;
the token, or the secret id of an AppRole, comes from a file or a variable and never from the setting itself. Every request
carries a context that names this instance, so with a *derived* transit key the wrap is bound to it (Vault ignores the
context for other keys). A token that an AppRole login gave is revoked after its one use.

What it will not do: create the transit key, renew a token, or follow a redirect to another host.
"""

from __future__ import annotations

import base64
import json
import os
import re
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from overseer.core.errors import ConfigurationProblem, KeyProblem, NotReady, OverseerError
from overseer.core.secret_value import SecretValue
from overseer.crypto.framing import frame
from overseer.crypto.keys import RootKey
from overseer.server.seals.contract import NewSeal
from overseer.server.seals.wrapped_root import PURPOSE, bound_to, parse_wrapped, refuse_given, serialise_wrapped, unwrapped

if TYPE_CHECKING:
    import httpx

SECONDS: Final = 5.0
_LONGEST: Final = 64 * 1024
_CREDENTIAL: Final = re.compile(rb"[\x21-\x7e]{1,4096}")
_MISSING: Final = "no token was found where OVERSEER_SEAL says: check"


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a credential is: a file, or a variable of the environment."""

    file: Path | None = None
    variable: str | None = None

    def read(self) -> SecretValue:
        """The credential without white space around it; :class:`KeyProblem` where there is none."""
        try:
            found = self.file.read_bytes() if self.file is not None else os.environb.get((self.variable or "").encode(), b"")
        except OSError as error:
            raise KeyProblem(f"{_MISSING} {self.file} ({error.strerror})") from None
        if not found.strip():
            raise KeyProblem(f"{_MISSING} {self.file or self.variable}")
        if not _CREDENTIAL.fullmatch(found.strip()):
            raise KeyProblem(f"what is in {self.file or self.variable} is no token and no secret id of Vault")
        return SecretValue(found.strip())


@dataclass(frozen=True, slots=True)
class TransitKey:
    """Which transit key on which server. With ``role_id`` the credential is the secret id of that AppRole, else a token."""

    address: str
    key: str
    credential: Reference
    mount: str = "transit"
    role_id: str | None = field(default=None, repr=False)
    approle_mount: str = "approle"
    namespace: str | None = None
    ca_file: Path | None = None


class VaultTransitSeal:
    """The seal ``vault-transit:URL?key=…``. ``config`` is what the database keeps, None for a new one."""

    kind = "vault-transit"
    needs_operator = False
    asks_service = True

    def __init__(self, place: TransitKey, config: bytes | None, instance_id: UUID | None) -> None:
        self._place = place
        self._config = config
        self._instance_id = instance_id

    def describe(self) -> str:
        place = self._place
        return (
            f"transit key {place.mount}/{place.key} of {place.address}: protects a stolen machine once that server refuses it; "
            "every start asks it"
        )

    async def create(self, given: SecretValue | None = None) -> NewSeal:
        """A new root key, wrapped by the transit key. Raises :class:`KeyProblem`, :class:`NotReady`,
        :class:`ConfigurationProblem`."""
        refuse_given(given, self.kind)
        if self._config is not None:
            raise KeyProblem("the vault-transit seal exists already")
        root_key = RootKey.generate()
        data = await self._transit("encrypt", {"plaintext": base64.b64encode(root_key.reveal()).decode("ascii")})
        return NewSeal(root_key, serialise_wrapped(_text(data, "ciphertext")))

    async def root_key(self, given: SecretValue | None = None) -> RootKey:
        """The root key, unwrapped by the transit key; errors as :meth:`create`."""
        refuse_given(given, self.kind)
        data = await self._transit("decrypt", {"ciphertext": parse_wrapped(self._config, self.kind)})
        try:
            plaintext = base64.b64decode(_text(data, "plaintext"), validate=True)
        except ValueError:
            raise KeyProblem("what the vault-transit seal unwrapped is no root key; nothing was written") from None
        return unwrapped(plaintext, self.kind)

    async def _transit(self, action: str, body: dict[str, str]) -> dict[str, Any]:
        place = self._place
        context = frame(PURPOSE.encode("ascii"), bound_to(self._instance_id).bytes)
        body = {**body, "context": base64.b64encode(context).decode("ascii")}
        async with _client(place) as client:
            token = place.credential.read()
            if place.role_id is not None:
                login = {"role_id": place.role_id, "secret_id": token.reveal().decode("ascii")}
                answer = await _post(client, f"/v1/auth/{place.approle_mount}/login", login, None)
                token = SecretValue(_text(answer.get("auth"), "client_token"))
            try:
                answer = await _post(client, f"/v1/{place.mount}/{action}/{place.key}", body, token)
            finally:
                if place.role_id is not None:
                    await _forget(client, token)
        data = answer.get("data")
        return data if isinstance(data, dict) else {}


def _client(place: TransitKey) -> httpx.AsyncClient:
    try:
        import httpx
    except ModuleNotFoundError:
        raise ConfigurationProblem("the vault-transit seal needs httpx: install overseer[server]") from None
    try:
        context = ssl.create_default_context(cafile=place.ca_file) if place.address.startswith("https:") else False
    except (OSError, ssl.SSLError):
        raise ConfigurationProblem(f"ca_file of the vault-transit seal cannot be read as PEM: {place.ca_file}") from None
    headers = {"X-Vault-Request": "true"} | ({"X-Vault-Namespace": place.namespace} if place.namespace else {})
    # No proxies and no .netrc from the environment: what the operator wrote is where the key goes.
    return httpx.AsyncClient(base_url=place.address, verify=context, headers=headers, timeout=SECONDS, trust_env=False)


async def _post(client: httpx.AsyncClient, path: str, body: dict[str, str], token: SecretValue | None) -> dict[str, Any]:
    import httpx

    headers = {} if token is None else {"X-Vault-Token": token.reveal().decode("ascii")}
    try:
        answer = await client.post(path, json=body, headers=headers)
    except httpx.TransportError as error:
        if isinstance(error.__cause__, ssl.SSLCertVerificationError) or "CERTIFICATE_VERIFY" in str(error):
            raise KeyProblem("the certificate of the Vault server does not verify: name its CA with ca_file") from None
        raise NotReady("the Vault server cannot be reached; the server tries again", retry_after=10) from None
    if answer.status_code == 200 and len(answer.content) <= _LONGEST:
        try:
            found = json.loads(answer.content)
        except ValueError:
            found = None
        if isinstance(found, dict):
            return found
    raise _refusal(answer.status_code, path, answer.content[:_LONGEST])


async def _forget(client: httpx.AsyncClient, token: SecretValue) -> None:
    """Revoke the token of a login; where that fails it runs out by itself."""
    import httpx

    try:
        await client.post("/v1/auth/token/revoke-self", headers={"X-Vault-Token": token.reveal().decode("ascii")})
    except httpx.HTTPError:
        return


def _refusal(status: int, path: str, body: bytes) -> OverseerError:
    """What it means and what to do. The texts of the server are recognised and not repeated."""
    if status in (412, 429, 472, 473) or status >= 500:
        why = "is sealed or a standby" if status in (429, 472, 473, 503) else "cannot answer now"
        return NotReady(f"the Vault server {why} (status {status}); the server tries again", retry_after=10)
    where = path.removeprefix("/v1/")
    check = "check mount, key and namespace in OVERSEER_SEAL"
    if status == 403:
        why = f"the Vault server refused: the token is not valid, or its policy lacks `update` on {where}"
    elif status == 404:
        why = f"the Vault server knows no {where}: {check}"
    elif status != 400:
        why = f"the Vault server did not answer as Vault does (status {status}): check its address"
    elif "/login" in path:
        why = "the Vault server refused the AppRole login: check role_id, the secret id and whether it ran out"
    elif b"too old" in body:
        why = "the transit key no longer decrypts this old version: lower its min_decryption_version"
    elif b"key not found" in body:
        why = f"the Vault server has no such transit key ({where}): {check}"
    else:
        why = "the stored seal was wrapped for another instance or by another transit key, or was damaged"
    return KeyProblem(why)


def _text(fields: Any, name: str) -> str:
    found = fields.get(name) if isinstance(fields, dict) else None
    if not isinstance(found, str):
        raise KeyProblem("the Vault server did not answer as Vault does: check its address")
    return found
