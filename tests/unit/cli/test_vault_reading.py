"""Reading out of Vault's KV: against the double that the official client drives, too, and against a real OpenBao."""

from __future__ import annotations

from pathlib import Path

import pytest

from overseer.cli.vault_reading import VaultReader
from overseer.core.errors import ConfigurationProblem, Denied, InvalidInput, Unavailable, Unreachable
from tests.openbao_server import OpenBao
from tests.unit.server.certificate import self_signed
from tests.vault_administration import VaultAdministrator

CANARY = "canary-c0de"


def reader(address: str, token: str, version: int, **environ: str) -> VaultReader:
    return VaultReader.from_environment({"VAULT_ADDR": address, "VAULT_TOKEN": token, **environ}, None, version)


def test_both_versions_of_the_engine(any_vault: VaultAdministrator) -> None:
    any_vault.enter("team")
    any_vault.kv("secret")
    any_vault.kv("old", 1)
    any_vault.put("secret", "shop/db", password="former")
    any_vault.put("secret", "shop/db", password=CANARY, port=5432)
    any_vault.put("secret", "shop/gone", password="x")
    any_vault.mark("secret", "shop/gone", "delete", 1)
    any_vault.put("old", "shop", user="u")
    any_vault.allow("nobody", "secret/data/other", "read")

    def read(path: str, token: str = any_vault.root_token, version: int = 2, **environ: str) -> dict[str, str]:
        where = {"VAULT_NAMESPACE": any_vault.namespace, "VAULT_CACERT": str(any_vault.ca_file or ""), **environ}
        found = reader(any_vault.url, token, version, **where)
        assert CANARY not in repr(found)
        return {one.name: one.value.reveal().decode() for one in found.read(path)}

    assert read("secret/shop/db") == {"password": CANARY, "port": "5432"}
    assert read("/old/shop", version=1) == {"user": "u"}
    for absent in ("secret/nope", "secret/shop/gone", "nowhere/x"):
        with pytest.raises(Unavailable):
            read(absent)
    with pytest.raises(Unavailable):
        read("secret/shop/db", version=1)
    with pytest.raises(Unavailable):
        read("secret/shop/db", VAULT_NAMESPACE="nowhere")
    for token in (CANARY, any_vault.token("nobody")):
        with pytest.raises(Denied) as refused:
            read("secret/shop/db", token)
        assert CANARY not in refused.value.message
    any_vault.seal()
    try:
        with pytest.raises(Unreachable, match="503"):
            read("secret/shop/db")
    finally:
        any_vault.unseal(any_vault.share)


def test_the_ca_of_a_real_server_has_to_be_named(openbao: OpenBao, tmp_path: Path) -> None:
    openbao.kv("secret")
    openbao.put("secret", "db", password="one")
    other = self_signed(tmp_path)[0]
    for environ in ({}, {"VAULT_CACERT": str(other)}):
        with pytest.raises(Unreachable, match="VAULT_CACERT"):
            reader(openbao.url, openbao.root_token, 2, **environ).read("secret/db")
    with pytest.raises(ConfigurationProblem, match="VAULT_CACERT"):
        reader(openbao.url, openbao.root_token, 2, VAULT_CACERT=str(tmp_path / "none.pem")).read("secret/db")


@pytest.mark.parametrize("path", ["secret", "", "secret/../sys", "secret//x"])
def test_a_path_that_is_none(path: str) -> None:
    with pytest.raises(InvalidInput):
        reader("http://127.0.0.1:1", "t", 2).read(path)


def test_where_and_with_what(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("abc\n")
    assert VaultReader.from_environment({"VAULT_ADDR": "https://v"}, str(file), 2).token.reveal() == b"abc"
    for environ in ({}, {"VAULT_ADDR": "https://v"}):
        with pytest.raises(ConfigurationProblem):
            VaultReader.from_environment(environ, None, 2)
    with pytest.raises(ConfigurationProblem, match="not https"):
        reader("http://vault.example:8200", "t", 2).read("secret/x")
    with pytest.raises(Unreachable):
        reader("http://127.0.0.1:1", "t", 2).read("secret/x")
