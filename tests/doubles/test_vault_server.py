"""The Vault double, driven by the official client: where hvac understands it, it does not lie about the protocol."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path

import hvac
import pytest
from hvac import exceptions

from tests.doubles.vault_approle import AppRole
from tests.doubles.vault_server import VaultServer, served
from tests.doubles.vault_transit import TransitEngine
from tests.unit.server.certificate import self_signed

SECRET = base64.b64encode(b"plain text").decode()


@pytest.fixture
def vault() -> VaultServer:
    server = VaultServer()
    server.mounts["transit"] = TransitEngine()
    server.auth["approle"] = AppRole()
    return server


@pytest.fixture
def client(vault: VaultServer) -> Iterator[hvac.Client]:
    with served(vault) as url:
        made = hvac.Client(url=url, token=vault.root_token)
        yield made
        made.adapter.close()


def test_health_seal_and_tokens(vault: VaultServer, client: hvac.Client) -> None:
    assert client.sys.read_health_status(method="GET")["sealed"] is False
    assert client.is_authenticated()
    assert client.auth.token.lookup_self()["data"]["policies"] == ["root"]
    client.token = "hvs.unknown"
    assert not client.is_authenticated()
    vault.sealed = True
    assert client.sys.is_sealed()
    assert client.sys.read_health_status(method="GET").status_code == 503
    with pytest.raises(exceptions.VaultDown):
        client.secrets.transit.list_keys()


def test_transit_encrypts_under_versions(client: hvac.Client) -> None:
    transit = client.secrets.transit
    with pytest.raises(exceptions.InvalidPath):
        transit.list_keys()
    transit.create_key(name="k")
    assert transit.list_keys()["data"]["keys"] == ["k"]
    first = transit.encrypt_data(name="k", plaintext=SECRET)["data"]["ciphertext"]
    assert first.startswith("vault:v1:")
    assert first != transit.encrypt_data(name="k", plaintext=SECRET)["data"]["ciphertext"]
    transit.rotate_key(name="k")
    assert transit.read_key(name="k")["data"]["latest_version"] == 2
    assert transit.encrypt_data(name="k", plaintext=SECRET)["data"]["ciphertext"].startswith("vault:v2:")
    assert transit.decrypt_data(name="k", ciphertext=first)["data"]["plaintext"] == SECRET
    again = transit.rewrap_data(name="k", ciphertext=first)["data"]["ciphertext"]
    assert again.startswith("vault:v2:")
    transit.update_key_configuration(name="k", min_decryption_version=2)
    with pytest.raises(exceptions.InvalidRequest, match="too old"):
        transit.decrypt_data(name="k", ciphertext=first)
    assert transit.decrypt_data(name="k", ciphertext=again)["data"]["plaintext"] == SECRET


def test_transit_refuses_what_is_not_its_own(client: hvac.Client) -> None:
    transit = client.secrets.transit
    transit.create_key(name="k")
    whole = transit.encrypt_data(name="k", plaintext=SECRET)["data"]["ciphertext"]
    for wrong in (whole[:-8] + "AAAAAAA=", "vault:v1:AAAA", "vault:v9:AAAA", "nothing", "vault:vx:AAAA"):
        with pytest.raises(exceptions.InvalidRequest, match="invalid ciphertext"):
            transit.decrypt_data(name="k", ciphertext=wrong)
    with pytest.raises(exceptions.InvalidRequest, match="encryption key not found"):
        transit.decrypt_data(name="other", ciphertext=whole)
    with pytest.raises(exceptions.InvalidRequest, match="deletion is not allowed"):
        transit.delete_key(name="k")
    transit.update_key_configuration(name="k", deletion_allowed=True)
    transit.delete_key(name="k")
    with pytest.raises(exceptions.InvalidPath):
        transit.read_key(name="k")


def test_a_derived_key_is_another_for_each_context(client: hvac.Client) -> None:
    transit = client.secrets.transit
    transit.create_key(name="d", derived=True)
    here, there = (base64.b64encode(text).decode() for text in (b"here", b"there"))
    with pytest.raises(exceptions.InvalidRequest, match="missing 'context'"):
        transit.encrypt_data(name="d", plaintext=SECRET)
    sealed = transit.encrypt_data(name="d", plaintext=SECRET, context=here)["data"]["ciphertext"]
    assert transit.decrypt_data(name="d", ciphertext=sealed, context=here)["data"]["plaintext"] == SECRET
    with pytest.raises(exceptions.InvalidRequest, match="unable to decrypt"):
        transit.decrypt_data(name="d", ciphertext=sealed, context=there)


def test_policies_bound_a_token(vault: VaultServer, client: hvac.Client) -> None:
    client.secrets.transit.create_key(name="k")
    vault.allow("encrypts", "transit/encrypt/*", "update")
    client.token = vault.token("encrypts")
    sealed = client.secrets.transit.encrypt_data(name="k", plaintext=SECRET)["data"]["ciphertext"]
    with pytest.raises(exceptions.Forbidden, match="permission denied"):
        client.secrets.transit.decrypt_data(name="k", ciphertext=sealed)
    with pytest.raises(exceptions.Forbidden):  # to make a key by encrypting is `create`
        client.secrets.transit.encrypt_data(name="new", plaintext=SECRET)
    vault.allow("encrypts", "transit/encrypt/new", "create")
    client.secrets.transit.encrypt_data(name="new", plaintext=SECRET)


def test_a_token_of_one_use_and_a_revoked_one(vault: VaultServer, client: hvac.Client) -> None:
    client.token = vault.token("root", uses=1)
    client.secrets.transit.create_key(name="k")
    with pytest.raises(exceptions.Forbidden):
        client.secrets.transit.list_keys()
    client.token = vault.token()
    client.auth.token.revoke_self()
    assert not client.is_authenticated()


def test_approle_logs_in(vault: VaultServer, client: hvac.Client) -> None:
    client.auth.approle.create_or_update_approle(role_name="overseer", token_policies=["transit"])
    role_id = client.auth.approle.read_role_id("overseer")["data"]["role_id"]
    secret_id = client.auth.approle.generate_secret_id("overseer")["data"]["secret_id"]
    client.token = None
    answer = client.auth.approle.login(role_id=role_id, secret_id=secret_id)
    assert "transit" in answer["auth"]["policies"]
    assert client.is_authenticated()
    for wrong in ({"role_id": "x", "secret_id": secret_id}, {"role_id": role_id, "secret_id": "x"}):
        with pytest.raises(exceptions.InvalidRequest):
            client.auth.approle.login(**wrong)


def test_unknown_mounts_and_namespaces(vault: VaultServer, client: hvac.Client) -> None:
    with pytest.raises(exceptions.InvalidPath, match="no handler for route"):
        client.secrets.transit.encrypt_data(name="k", plaintext=SECRET, mount_point="elsewhere")
    vault.namespace = "team"
    with pytest.raises(exceptions.InvalidPath):
        client.secrets.transit.create_key(name="k")
    inside = hvac.Client(url=client.url, token=vault.root_token, namespace="team")
    inside.secrets.transit.create_key(name="k")
    inside.adapter.close()


def test_tls_with_a_ca_of_its_own(vault: VaultServer, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with served(vault, certificate) as url:
        client = hvac.Client(url=url, token=vault.root_token, verify=str(certificate[0]))
        assert client.is_authenticated()
        client.adapter.close()
