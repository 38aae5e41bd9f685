"""The vault-transit seal against the double of Vault, which really encrypts, and against a real OpenBao."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from overseer.core.errors import ConfigurationProblem, KeyProblem, NotReady
from overseer.core.secret_value import SecretValue
from overseer.server.seals.contract import Seal
from overseer.server.seals.selection import make_seal
from tests.doubles.vault_system import DoubleVault, double_vault
from tests.openbao_server import OpenBao
from tests.ports import free_port
from tests.unit.server.certificate import self_signed
from tests.vault_administration import VaultAdministrator

pytestmark = pytest.mark.anyio
INSTANCE = uuid4()


@dataclass
class Vault:
    """A server with the transit key ``overseer``, a policy that may use it, and a token in a file."""

    server: VaultAdministrator
    url: str
    token_file: Path

    def spec(self, **options: str) -> str:
        ca_file = str(self.server.ca_file) if self.server.ca_file else ""
        chosen = {"key": "overseer", "token_file": str(self.token_file), "ca_file": ca_file} | options
        return f"vault-transit:{self.url}?" + "&".join(f"{name}={value}" for name, value in chosen.items() if value)

    def seal(self, config: bytes | None = None, instance_id: object = INSTANCE, **options: str) -> Seal:
        return make_seal(self.spec(**options), config, instance_id=instance_id)  # type: ignore[arg-type]

    def key(self, **options: bool) -> None:
        """Make the key ``overseer`` anew."""
        self.server.ask("POST", "transit/keys/overseer/config", {"deletion_allowed": True})
        self.server.ask("DELETE", "transit/keys/overseer")
        self.server.call("POST", "transit/keys/overseer", options)


@pytest.fixture
def vault(any_vault: VaultAdministrator, tmp_path: Path) -> Vault:
    any_vault.mount("transit")
    any_vault.call("POST", "transit/keys/overseer", {})
    any_vault.allow("seal", "transit/encrypt/overseer", "update")
    any_vault.allow("seal", "transit/decrypt/overseer", "update")
    token_file = tmp_path / "token"
    token_file.write_text(f"{any_vault.token('seal')}\n")
    return Vault(any_vault, any_vault.url, token_file)


async def test_what_transit_wrapped_transit_unwraps(vault: Vault) -> None:
    made = await vault.seal().create()
    assert json.loads(made.config)["ciphertext"].startswith("vault:v1:")
    assert await vault.seal(made.config).root_key() == made.root_key
    assert made.root_key.reveal().hex() not in made.config.decode()


async def test_a_derived_key_binds_it_to_the_instance(vault: Vault) -> None:
    vault.key(derived=True)
    made = await vault.seal().create()
    assert await vault.seal(made.config).root_key() == made.root_key
    with pytest.raises(KeyProblem, match="another instance"):
        await vault.seal(made.config, instance_id=uuid4()).root_key()


async def test_a_rotated_key_opens_and_one_that_forbids_the_version_says_so(vault: Vault) -> None:
    made = await vault.seal().create()
    vault.server.call("POST", "transit/keys/overseer/rotate", {})
    assert await vault.seal(made.config).root_key() == made.root_key
    again = await vault.seal().create()
    assert json.loads(again.config)["ciphertext"].startswith("vault:v2:")
    vault.server.call("POST", "transit/keys/overseer/config", {"min_decryption_version": 2})
    with pytest.raises(KeyProblem, match="min_decryption_version"):
        await vault.seal(made.config).root_key()
    assert await vault.seal(again.config).root_key() == again.root_key


async def test_a_token_from_the_environment(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSIT_TOKEN", vault.server.token("seal"))
    made = await vault.seal(token_file="", token_env="TRANSIT_TOKEN").create()
    assert await vault.seal(made.config).root_key() == made.root_key
    monkeypatch.delenv("TRANSIT_TOKEN")
    with pytest.raises(KeyProblem, match="TRANSIT_TOKEN"):
        await vault.seal(made.config, token_file="", token_env="TRANSIT_TOKEN").root_key()


async def test_an_approle_logs_in_and_its_token_is_revoked(vault: Vault, tmp_path: Path) -> None:
    role_id, secret_id = vault.server.approle("overseer", "seal", uses=2)
    file = tmp_path / "secret-id"
    file.write_text(secret_id)
    options = {"token_file": "", "role_id": role_id, "secret_id_file": str(file)}
    asked(vault)
    made = await vault.seal(**options).create()
    assert asked(vault) == ["auth/approle/login", "transit/encrypt/overseer", "auth/token/revoke-self"]
    assert await vault.seal(made.config, **options).root_key() == made.root_key
    with pytest.raises(KeyProblem, match="AppRole login"):
        await vault.seal(made.config, **options).root_key()
    # The token is revoked also where it did not do.
    file.write_text(vault.server.secret_id("overseer"))
    vault.server.deny("seal")
    asked(vault)
    with pytest.raises(KeyProblem, match="policy lacks `update`"):
        await vault.seal(made.config, **options).root_key()
    assert asked(vault)[-1] == "auth/token/revoke-self"
    if isinstance(vault.server, DoubleVault):
        assert [token.path for token in vault.server.server.tokens.values() if "approle" in token.path] == []


def asked(vault: Vault) -> list[str]:
    """The paths of requests since the last look."""
    assert isinstance(vault.server, DoubleVault | OpenBao)
    return vault.server.asked()


async def test_refusals_say_what_to_do(vault: Vault) -> None:
    made = await vault.seal().create()
    token = vault.token_file.read_text()
    vault.token_file.write_text("hvs.canary-of-a-token")
    with pytest.raises(KeyProblem, match="token is not valid") as refused:
        await vault.seal(made.config).root_key()
    assert "canary" not in refused.value.message
    vault.token_file.write_text("not a header\nvalue canary")
    with pytest.raises(KeyProblem) as refused:
        await vault.seal(made.config).root_key()
    assert "canary" not in refused.value.message
    for gone in ("", None):
        vault.token_file.unlink() if gone is None else vault.token_file.write_text(gone)
        with pytest.raises(KeyProblem, match="no token was found"):
            await vault.seal(made.config).root_key()
    vault.token_file.write_text(vault.server.root_token)
    with pytest.raises(KeyProblem, match="no such transit key"):
        await vault.seal(made.config, key="other").root_key()
    with pytest.raises(KeyProblem, match="check mount, key and namespace"):
        await vault.seal(made.config, mount="elsewhere").root_key()
    with pytest.raises(KeyProblem, match="check mount, key and namespace"):
        await vault.seal(made.config, namespace="elsewhere").root_key()
    vault.token_file.write_text(token)
    with pytest.raises(KeyProblem, match=r"lacks `update` on elsewhere/decrypt"):
        await vault.seal(made.config, mount="elsewhere").root_key()
    vault.key()
    with pytest.raises(KeyProblem, match="another transit key"):
        await vault.seal(made.config).root_key()


async def test_the_seal_does_not_make_the_key_by_encrypting(vault: Vault) -> None:
    vault.key()
    vault.server.call("POST", "transit/keys/overseer/config", {"deletion_allowed": True})
    vault.server.call("DELETE", "transit/keys/overseer")
    with pytest.raises(KeyProblem, match="policy lacks"):
        await vault.seal().create()
    assert vault.server.ask("LIST", "transit/keys").status_code == 404


async def test_a_sealed_server_or_none_is_for_later(vault: Vault) -> None:
    made = await vault.seal().create()
    vault.server.seal()
    try:
        with pytest.raises(NotReady, match="sealed or a standby"):
            await vault.seal(made.config).root_key()
    finally:
        vault.server.unseal(vault.server.share)
    assert await vault.seal(made.config).root_key() == made.root_key
    vault.url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(NotReady, match="cannot be reached"):
        await vault.seal(made.config).root_key()


async def test_namespace_and_mount(vault: Vault) -> None:
    vault.server.tidy()
    vault.server.enter("team")
    vault.server.mount("keys/transit")
    vault.server.call("POST", "keys/transit/keys/overseer", {"derived": True})
    vault.server.allow("seal", "keys/transit/*", "update")
    vault.token_file.write_text(vault.server.token("seal"))
    options = {"namespace": vault.server.namespace, "mount": "keys/transit"}
    made = await vault.seal(**options).create()
    assert await vault.seal(made.config, **options).root_key() == made.root_key


async def test_tls_is_verified_with_the_ca_that_is_named(openbao: OpenBao, tmp_path: Path) -> None:
    openbao.mount("transit")
    openbao.call("POST", "transit/keys/overseer", {})
    token_file = tmp_path / "token"
    token_file.write_text(openbao.root_token)
    vault = Vault(openbao, openbao.url, token_file)
    made = await vault.seal().create()
    assert await vault.seal(made.config).root_key() == made.root_key
    with pytest.raises(KeyProblem, match="does not verify"):
        await vault.seal(made.config, ca_file="").root_key()
    with pytest.raises(KeyProblem, match="does not verify"):
        await vault.seal(made.config, ca_file=str(self_signed(tmp_path)[0])).root_key()
    with pytest.raises(ConfigurationProblem, match="ca_file"):
        await vault.seal(made.config, ca_file=str(tmp_path / "none.pem")).root_key()


async def test_something_else_answers(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    with double_vault() as server:
        server.mount("transit")
        token_file.write_text(server.root_token)
        vault = Vault(server, server.url, token_file)
        made = await vault.seal().create()
        for answer, says in (
            ((200, b"<html>"), "as Vault does"),
            ((200, b'{"data":{"plaintext":"AAAA"}}'), "no root key"),
            ((302, b""), "status 302"),
        ):
            server.server.answer = lambda *_, answer=answer: answer  # type: ignore[method-assign,misc]
            with pytest.raises(KeyProblem, match=says):
                await vault.seal(made.config).root_key()


async def test_it_takes_no_passphrase_and_makes_no_second(vault: Vault) -> None:
    made = await vault.seal().create()
    with pytest.raises(KeyProblem, match="exists already"):
        await vault.seal(made.config).create()
    with pytest.raises(KeyProblem, match="takes no passphrase"):
        await vault.seal(made.config).root_key(SecretValue("x"))
