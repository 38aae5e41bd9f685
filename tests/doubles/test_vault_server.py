"""The Vault double, driven by the official client, and a real OpenBao after it: what hvac makes of one it makes of the other."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hvac
import pytest
from hvac import exceptions

from tests.doubles.vault_kv import Jwt, Kv1
from tests.doubles.vault_server import VaultServer, served
from tests.unit.server.certificate import self_signed
from tests.vault_administration import VaultAdministrator

SECRET = base64.b64encode(b"plain text").decode()
Clients = Callable[..., hvac.Client]


@pytest.fixture
def clients(any_vault: VaultAdministrator) -> Iterator[Clients]:
    """Clients of the server; root's where nothing else is said."""
    made: list[hvac.Client] = []

    def client(**options: Any) -> hvac.Client:
        verify = str(any_vault.ca_file) if any_vault.ca_file else True
        made.append(hvac.Client(**{"url": any_vault.url, "token": any_vault.root_token, "verify": verify, **options}))
        return made[-1]

    yield client
    for one in made:
        one.adapter.close()


@pytest.fixture
def client(any_vault: VaultAdministrator, clients: Clients) -> hvac.Client:
    """Root's, and a transit engine."""
    any_vault.mount("transit")
    return clients()


def test_health_seal_and_tokens(any_vault: VaultAdministrator, client: hvac.Client) -> None:
    assert client.sys.read_health_status(method="GET")["sealed"] is False
    assert client.is_authenticated()
    assert client.auth.token.lookup_self()["data"]["policies"] == ["root"]
    client.token = "hvs.unknown"
    assert not client.is_authenticated()
    any_vault.seal()
    try:
        assert client.sys.is_sealed()
        assert client.sys.read_health_status(method="GET").status_code == 503
        with pytest.raises(exceptions.VaultDown):
            client.secrets.transit.list_keys()
    finally:
        any_vault.unseal(any_vault.share)


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
        with pytest.raises(exceptions.InvalidRequest, match=r"invalid ciphertext|message authentication failed"):
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
    with pytest.raises(exceptions.InvalidRequest, match="message authentication failed"):
        transit.decrypt_data(name="d", ciphertext=sealed, context=there)


def test_policies_bound_a_token(any_vault: VaultAdministrator, client: hvac.Client) -> None:
    client.secrets.transit.create_key(name="k")
    any_vault.allow("encrypts", "transit/encrypt/*", "update")
    client.token = any_vault.token("encrypts")
    sealed = client.secrets.transit.encrypt_data(name="k", plaintext=SECRET)["data"]["ciphertext"]
    with pytest.raises(exceptions.Forbidden, match="permission denied"):
        client.secrets.transit.decrypt_data(name="k", ciphertext=sealed)
    with pytest.raises(exceptions.Forbidden):  # to make a key by encrypting is `create`
        client.secrets.transit.encrypt_data(name="new", plaintext=SECRET)
    any_vault.allow("encrypts", "transit/encrypt/new", "create")
    client.secrets.transit.encrypt_data(name="new", plaintext=SECRET)


def test_a_token_of_one_use_and_a_revoked_one(any_vault: VaultAdministrator, client: hvac.Client) -> None:
    client.token = client.auth.token.create(policies=["root"], ttl="3600s", num_uses=1)["auth"]["client_token"]
    client.secrets.transit.create_key(name="k")
    with pytest.raises(exceptions.Forbidden):
        client.secrets.transit.list_keys()
    client.token = any_vault.token("default")
    client.auth.token.revoke_self()
    assert not client.is_authenticated()


def test_approle_logs_in(any_vault: VaultAdministrator, client: hvac.Client) -> None:
    any_vault.enable("approle")
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


def test_unknown_mounts_and_namespaces(any_vault: VaultAdministrator, clients: Clients) -> None:
    any_vault.enter("team")
    any_vault.mount("transit")
    inside = clients(namespace=any_vault.namespace)
    with pytest.raises(exceptions.InvalidPath, match="no handler for route"):
        inside.secrets.transit.encrypt_data(name="k", plaintext=SECRET, mount_point="elsewhere")
    inside.secrets.transit.create_key(name="k")
    with pytest.raises(exceptions.InvalidPath):
        clients(namespace="nowhere").secrets.transit.read_key(name="k")


def test_kv_2_is_read_and_written(any_vault: VaultAdministrator, clients: Clients) -> None:
    any_vault.kv("secret")
    kv = clients().secrets.kv.v2
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
    with pytest.raises(exceptions.InvalidPath, match=r'"destroyed": ?true'):
        kv.read_secret_version("shop/db", raise_on_deleted_version=False)
    with pytest.raises(exceptions.InvalidPath):
        kv.read_secret_version("shop/none", raise_on_deleted_version=True)


def test_kv_1_and_jwt(any_vault: VaultAdministrator, clients: Clients) -> None:
    any_vault.kv("kv", 1)
    any_vault.allow("writer", "kv/*", "create", "read", "update", "list")
    signed = any_vault.jwt_role("overseer", "writer")
    client = clients(token="")
    with pytest.raises(exceptions.InvalidRequest):
        client.auth.jwt.jwt_login(role="overseer", jwt="forged")
    client.token = client.auth.jwt.jwt_login(role="overseer", jwt=signed)["auth"]["client_token"]
    kv = client.secrets.kv.v1
    kv.create_or_update_secret("shop/db", secret={"password": "one"}, mount_point="kv")
    assert kv.read_secret("shop/db", mount_point="kv")["data"] == {"password": "one"}
    assert kv.list_secrets("", mount_point="kv")["data"]["keys"] == ["shop/"]
    assert client.auth.token.renew_self()["auth"]["lease_duration"] == 3600


def test_a_lease_of_the_double_ends() -> None:
    server = VaultServer()
    server.mounts["kv"] = Kv1()
    server.auth["jwt"] = Jwt({"overseer": ("root",)}, {"signed": "overseer"})
    with served(server) as url:
        client = hvac.Client(url=url)
        client.token = client.auth.jwt.jwt_login(role="overseer", jwt="signed")["auth"]["client_token"]
        server.later += 3000
        assert client.auth.token.lookup_self()["data"]["ttl"] <= 600
        assert client.auth.token.renew_self()["auth"]["lease_duration"] == 3600
        server.later += 3601
        with pytest.raises(exceptions.Forbidden):
            client.auth.token.lookup_self()
        client.adapter.close()


def test_tls_with_a_ca_of_its_own(tmp_path: Path) -> None:
    certificate, vault = self_signed(tmp_path), VaultServer()
    with served(vault, certificate) as url:
        client = hvac.Client(url=url, token=vault.root_token, verify=str(certificate[0]))
        assert client.is_authenticated()
        client.adapter.close()
