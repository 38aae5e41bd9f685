"""The doubles of backends, driven by the official clients: hvac, infisicalsdk, azure-keyvault-secrets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hvac
import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError, ResourceNotFoundError
from azure.keyvault.secrets import SecretClient
from hvac import exceptions
from infisical_sdk import InfisicalSDKClient

from tests.doubles import azure_server, infisical_server, vault_server
from tests.doubles.azure_server import AzureServer
from tests.doubles.infisical_server import InfisicalServer
from tests.doubles.vault_kv import Jwt, Kv1, Kv2
from tests.doubles.vault_server import VaultServer
from tests.unit.server.certificate import self_signed


def test_vault_kv_2_as_hvac_reads_and_writes_it() -> None:
    server = VaultServer()
    server.mounts["secret"] = Kv2()
    with vault_server.served(server) as url:
        client = hvac.Client(url=url, token=server.root_token)
        kv = client.secrets.kv.v2
        kv.create_or_update_secret("shop/db", secret={"password": "one"})
        kv.create_or_update_secret("shop/db", secret={"password": "two"})
        found = kv.read_secret_version("shop/db", raise_on_deleted_version=True)["data"]
        assert (found["data"], found["metadata"]["version"]) == ({"password": "two"}, 2)
        assert kv.read_secret_version("shop/db", version=1, raise_on_deleted_version=True)["data"]["data"] == {"password": "one"}
        assert kv.list_secrets("shop")["data"]["keys"] == ["db"]
        kv.delete_secret_versions("shop/db", versions=[2])
        with pytest.raises(exceptions.InvalidPath):
            kv.read_secret_version("shop/db", raise_on_deleted_version=True)
        gone = kv.read_secret_version("shop/db", raise_on_deleted_version=False)["data"]
        assert (gone["data"], bool(gone["metadata"]["deletion_time"])) == (None, True)
        kv.undelete_secret_versions("shop/db", versions=[2])
        assert kv.read_secret_version("shop/db", raise_on_deleted_version=True)["data"]["data"] == {"password": "two"}
        kv.destroy_secret_versions("shop/db", versions=[2])
        with pytest.raises(exceptions.InvalidPath, match='"destroyed": true'):
            kv.read_secret_version("shop/db", raise_on_deleted_version=False)
        with pytest.raises(exceptions.InvalidPath):
            kv.read_secret_version("shop/none", raise_on_deleted_version=True)
        client.adapter.close()


def test_vault_kv_1_and_jwt_and_leases_as_hvac_uses_them() -> None:
    server = VaultServer()
    server.mounts["kv"] = Kv1()
    server.auth["jwt"] = Jwt({"overseer": ("root",)}, {"signed": "overseer"})
    with vault_server.served(server) as url:
        client = hvac.Client(url=url)
        with pytest.raises(exceptions.InvalidRequest):
            client.auth.jwt.jwt_login(role="overseer", jwt="forged")
        client.token = client.auth.jwt.jwt_login(role="overseer", jwt="signed")["auth"]["client_token"]
        kv = client.secrets.kv.v1
        kv.create_or_update_secret("shop/db", secret={"password": "one"}, mount_point="kv")
        assert kv.read_secret("shop/db", mount_point="kv")["data"] == {"password": "one"}
        assert kv.list_secrets("", mount_point="kv")["data"]["keys"] == ["shop/"]
        server.later += 3000
        assert client.auth.token.lookup_self()["data"]["ttl"] <= 600
        assert client.auth.token.renew_self()["auth"]["lease_duration"] == 3600
        server.later += 3601
        with pytest.raises(exceptions.Forbidden):
            client.auth.token.lookup_self()
        client.adapter.close()


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
