"""Reading out of Vault's KV against the double that the official client drives, too."""

from __future__ import annotations

from pathlib import Path

import pytest

from overseer.cli.vault_reading import VaultReader
from overseer.core.errors import ConfigurationProblem, Denied, InvalidInput, Unavailable, Unreachable
from tests.doubles.vault_kv import Kv1, Kv2
from tests.doubles.vault_server import VaultServer, served

CANARY = "canary-c0de"


def reader(address: str, token: str, version: int) -> VaultReader:
    return VaultReader.from_environment({"VAULT_ADDR": address, "VAULT_TOKEN": token}, None, version)


def test_both_versions_of_the_engine() -> None:
    server = VaultServer()
    second, first = Kv2(), Kv1()
    server.mounts["secret"], server.mounts["old"] = second, first
    second.put("shop/db", password="former")
    second.put("shop/db", password=CANARY, port=5432)
    first.values["shop"] = {"user": "u"}
    with served(server) as address:
        root = server.token("root")
        found = reader(address, root, 2).read("secret/shop/db")
        assert {one.name: one.value.reveal().decode() for one in found} == {"password": CANARY, "port": "5432"}
        (user,) = reader(address, root, 1).read("/old/shop")
        assert (user.name, user.value.reveal()) == ("user", b"u")
        with pytest.raises(Unavailable):
            reader(address, root, 2).read("secret/nope")
        with pytest.raises(Denied) as refused:
            reader(address, CANARY, 2).read("secret/shop/db")
        assert CANARY not in refused.value.message + repr(reader(address, CANARY, 2))


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
