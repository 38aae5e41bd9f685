"""The doubles of backends, driven by infisicalsdk and azure-keyvault-secrets; hvac drives Vault's in ``test_vault_server``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient
from infisical_sdk import InfisicalSDKClient

from tests.doubles import azure_server, infisical_server
from tests.doubles.azure_server import AzureServer
from tests.doubles.infisical_server import InfisicalServer
from tests.unit.server.certificate import self_signed


def test_infisical_as_its_sdk_reads_it() -> None:
    server = InfisicalServer()
    server.put("prod", "/shop", "DB", "old")
    server.put("prod", "/shop", "DB", "one")
    server.put("prod", "/base", "SHARED", "from the import")
    server.imports["prod", "/shop"] = [("prod", "/base")]
    with infisical_server.served(server) as url:
        client = InfisicalSDKClient(host=url, cache_ttl=None)  # its cache forgets the version that was asked for
        client.auth.universal_auth.login(client_id=server.client_id, client_secret=server.client_secret)
        where: dict[str, Any] = {"project_id": server.project, "environment_slug": "prod", "secret_path": "/shop"}
        listed = client.secrets.list_secrets(**where, include_imports=True)
        assert [(one.secretKey, one.secretValue, one.version) for one in listed.secrets] == [("DB", "one", 2)]
        assert [one["secretValue"] for one in listed.imports[0].secrets] == ["from the import"]
        assert client.secrets.get_secret_by_name(secret_name="DB", **where).secretValue == "one"
        assert client.secrets.get_secret_by_name(secret_name="DB", version="1", **where).secretValue == "old"
        with pytest.raises(Exception, match="not found"):
            client.secrets.get_secret_by_name(secret_name="NONE", **where)


class _Credential:
    """What azure-identity would be: a token of the double for the scope that the challenge names."""

    def __init__(self, server: AzureServer, token: str = "") -> None:
        self._server = server
        self._token = token

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        assert scopes == ("https://vault.azure.net/.default",)
        return AccessToken(self._token or self._server.token(), 4_000_000_000)


def test_azure_key_vault_as_its_sdk_reads_it(tmp_path: Path) -> None:
    server, certificate = AzureServer(), self_signed(tmp_path)
    first = server.put("db", "old")
    server.put("db", "one")
    with azure_server.served(server, certificate) as url:
        options: dict[str, Any] = {"verify_challenge_resource": False, "connection_verify": str(certificate[0]), "retry_total": 0}
        with SecretClient(url, _Credential(server), **options) as client:
            assert client.get_secret("db").value == "one"
            assert client.get_secret("DB", first).value == "old"
            assert [one.name for one in client.list_properties_of_secrets()] == ["db"]
            with pytest.raises(ResourceNotFoundError):
                client.get_secret("none")
            server.forbidden = True
            with pytest.raises(HttpResponseError) as refused:
                client.get_secret("db")
            assert refused.value.status_code == 403
        stranger = SecretClient(url, _Credential(server, "unknown"), **options)
        with stranger, pytest.raises(ClientAuthenticationError):
            stranger.get_secret("db")
