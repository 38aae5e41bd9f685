"""Reading secrets out of Vault or OpenBao for an import: KV version 1 and 2 over their HTTP API, with a token.

Guarantees: the token goes into a header and nowhere else; no redirect is followed with it; an answer has a size limit; an error
says the status and what to check, and nothing that was answered. It reads what it is told to, and lists nothing.
"""

from __future__ import annotations

import http.client
import json
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

from overseer.core.errors import ConfigurationProblem, Denied, InvalidInput, Unavailable, Unreachable
from overseer.core.secret_value import SecretValue
from overseer.interchange.found import Found
from overseer.interchange.platforms import vault_fields

MAX_ANSWER: Final = 8 * 1024 * 1024
_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class VaultReader:
    """One server. ``version`` is the version of the KV engine, 1 or 2; ``namespace`` may be empty."""

    address: str
    token: SecretValue
    version: int = 2
    namespace: str = ""
    ca_file: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], token_file: str | None, version: int) -> VaultReader:
        """As the ``vault`` command takes it: VAULT_ADDR, VAULT_TOKEN (or a file), VAULT_NAMESPACE, VAULT_CACERT.

        Raises :class:`ConfigurationProblem`.
        """
        address = environ.get("VAULT_ADDR", "")
        if not address:
            raise ConfigurationProblem("set VAULT_ADDR to the address of Vault")
        if token_file is not None:
            try:
                token = SecretValue(Path(token_file).read_bytes().strip())
            except OSError as error:
                raise InvalidInput(f"{token_file} cannot be read: {(error.strerror or os.strerror(5)).lower()}") from None
        elif environ.get("VAULT_TOKEN"):
            token = SecretValue(environ["VAULT_TOKEN"])
        else:
            raise ConfigurationProblem("set VAULT_TOKEN, or name a file with --vault-token-file")
        return cls(address, token, version, environ.get("VAULT_NAMESPACE", ""), environ.get("VAULT_CACERT") or None)

    def read(self, path: str) -> list[Found]:
        """The fields of one secret, such as ``secret/shop/db``: the mount is the first part of the path.

        Raises :class:`Unavailable`, :class:`Denied`, :class:`Unreachable`, :class:`InvalidInput`.
        """
        mount, _, rest = path.strip("/").partition("/")
        if not rest or any(part in {"", ".", ".."} for part in rest.split("/")):
            raise InvalidInput("a path in Vault has the mount and the secret's path below it, as in secret/shop/db")
        place = f"{mount}/data/{rest}" if self.version == 2 else f"{mount}/{rest}"
        return vault_fields(self._get(f"/v1/{quote(place)}"))

    def _get(self, place: str) -> Any:
        url = urlsplit(self.address)
        if url.scheme not in {"http", "https"} or not url.hostname:
            raise ConfigurationProblem("VAULT_ADDR is a URL such as https://vault.example:8200")
        if url.scheme == "http" and url.hostname not in {"127.0.0.1", "::1", "localhost"}:
            raise ConfigurationProblem("VAULT_ADDR is not https: the token and every value could be read on the way")
        headers = {"X-Vault-Token": self.token.reveal().decode("ascii", "replace"), "X-Vault-Request": "true"}
        if self.namespace:
            headers["X-Vault-Namespace"] = self.namespace
        connection = self._connection(url.scheme, url.hostname, url.port)
        try:
            connection.request("GET", url.path.rstrip("/") + place, headers=headers)
            answer = connection.getresponse()
            body = answer.read(MAX_ANSWER + 1)
        except (OSError, http.client.HTTPException, ValueError):
            raise Unreachable("Vault cannot be reached; check VAULT_ADDR and VAULT_CACERT") from None
        finally:
            connection.close()
        return _understood(answer.status, body)

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "http":
            return http.client.HTTPConnection(host, port, timeout=_SECONDS)
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except (OSError, ssl.SSLError):
            raise ConfigurationProblem("VAULT_CACERT names no certificate") from None
        return http.client.HTTPSConnection(host, port, timeout=_SECONDS, context=context)


def _understood(status: int, body: bytes) -> Any:
    if status == 403:
        raise Denied("Vault refuses this token here; check its policies, the path and the version of the engine")
    if status == 404:
        raise Unavailable("Vault has no secret at this path, or its newest version is deleted; check the engine's version")
    if status != 200:
        raise Unreachable(f"Vault answered with status {status}")
    if len(body) > MAX_ANSWER:
        raise InvalidInput("Vault's answer is too large")
    try:
        return json.loads(body)
    except ValueError:
        raise InvalidInput("Vault's answer is no JSON") from None
