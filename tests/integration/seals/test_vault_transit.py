"""The vault-transit seal against a server that speaks Vault's protocol and really encrypts (see ``tests/doubles``)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest

from overseer.core.errors import ConfigurationProblem, KeyProblem, NotReady
from overseer.core.secret_value import SecretValue
from overseer.server.seals.contract import Seal
from overseer.server.seals.selection import make_seal
from tests.doubles.vault_approle import AppRole, Role
from tests.doubles.vault_server import VaultServer, served
from tests.doubles.vault_transit import TransitEngine, TransitKey
from tests.integration.server_process.installation import free_port
from tests.unit.server.certificate import self_signed

pytestmark = pytest.mark.anyio
INSTANCE = uuid4()


@dataclass
class Vault:
    """A server with the transit key ``overseer``, a policy that may use it, and a token in a file."""

    server: VaultServer
    engine: TransitEngine
    url: str
    token_file: Path

    def spec(self, **options: str) -> str:
        chosen = {"key": "overseer", "token_file": str(self.token_file)} | options
        return f"vault-transit:{self.url}?" + "&".join(f"{name}={value}" for name, value in chosen.items() if value)

    def seal(self, config: bytes | None = None, instance_id: object = INSTANCE, **options: str) -> Seal:
        return make_seal(self.spec(**options), config, instance_id=instance_id)  # type: ignore[arg-type]


@pytest.fixture
def vault(tmp_path: Path) -> Iterator[Vault]:
    server, engine = VaultServer(), TransitEngine()
    server.mounts["transit"] = engine
    server.auth["approle"] = AppRole()
    engine.keys["overseer"] = TransitKey()
    server.allow("seal", "transit/encrypt/overseer", "update")
    server.allow("seal", "transit/decrypt/overseer", "update")
    token_file = tmp_path / "token"
    token_file.write_text(f"{server.token('seal')}\n")
    with served(server) as url:
        yield Vault(server, engine, url, token_file)


async def test_what_transit_wrapped_transit_unwraps(vault: Vault) -> None:
    made = await vault.seal().create()
    assert json.loads(made.config)["ciphertext"].startswith("vault:v1:")
    assert await vault.seal(made.config).root_key() == made.root_key
    assert made.root_key.reveal().hex() not in made.config.decode()


async def test_a_derived_key_binds_it_to_the_instance(vault: Vault) -> None:
    vault.engine.keys["overseer"] = TransitKey(derived=True)
    made = await vault.seal().create()
    assert await vault.seal(made.config).root_key() == made.root_key
    with pytest.raises(KeyProblem, match="another instance"):
        await vault.seal(made.config, instance_id=uuid4()).root_key()


async def test_a_rotated_key_opens_and_one_that_forbids_the_version_says_so(vault: Vault) -> None:
    made = await vault.seal().create()
    key = vault.engine.keys["overseer"]
    key.versions.append(bytes(32))
    assert await vault.seal(made.config).root_key() == made.root_key
    key.min_decryption_version = 2
    with pytest.raises(KeyProblem, match="min_decryption_version"):
        await vault.seal(made.config).root_key()


async def test_a_token_from_the_environment(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRANSIT_TOKEN", vault.server.token("seal"))
    made = await vault.seal(token_file="", token_env="TRANSIT_TOKEN").create()
    assert await vault.seal(made.config).root_key() == made.root_key
    monkeypatch.delenv("TRANSIT_TOKEN")
    with pytest.raises(KeyProblem, match="TRANSIT_TOKEN"):
        await vault.seal(made.config, token_file="", token_env="TRANSIT_TOKEN").root_key()


async def test_an_approle_logs_in_and_its_token_is_revoked(vault: Vault, tmp_path: Path) -> None:
    method = vault.server.auth["approle"]
    assert isinstance(method, AppRole)
    role = method.roles["overseer"] = Role(("seal",))
    file = tmp_path / "secret-id"
    file.write_text(role.secret_id(uses=2))
    options = {"token_file": "", "role_id": role.role_id, "secret_id_file": str(file)}
    before = dict(vault.server.tokens)
    made = await vault.seal(**options).create()
    assert await vault.seal(made.config, **options).root_key() == made.root_key
    assert vault.server.tokens == before
    with pytest.raises(KeyProblem, match="AppRole login"):
        await vault.seal(made.config, **options).root_key()
    # The token is revoked also where it did not do.
    file.write_text(role.secret_id())
    vault.server.policies["seal"].clear()
    with pytest.raises(KeyProblem, match="policy lacks `update`"):
        await vault.seal(made.config, **options).root_key()
    assert vault.server.tokens == before


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
    vault.engine.keys["overseer"] = TransitKey()
    with pytest.raises(KeyProblem, match="another transit key"):
        await vault.seal(made.config).root_key()


async def test_the_seal_does_not_make_the_key_by_encrypting(vault: Vault) -> None:
    del vault.engine.keys["overseer"]
    with pytest.raises(KeyProblem, match="policy lacks"):
        await vault.seal().create()
    assert not vault.engine.keys


async def test_a_sealed_server_or_none_is_for_later(vault: Vault) -> None:
    made = await vault.seal().create()
    vault.server.sealed = True
    with pytest.raises(NotReady, match="sealed or a standby"):
        await vault.seal(made.config).root_key()
    vault.server.sealed = False
    assert await vault.seal(made.config).root_key() == made.root_key
    vault.url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(NotReady, match="cannot be reached"):
        await vault.seal(made.config).root_key()


async def test_namespace_and_mount(vault: Vault) -> None:
    vault.server.namespace = "team/a"
    vault.server.mounts["keys/transit"] = vault.server.mounts.pop("transit")
    vault.server.allow("seal", "keys/transit/*", "update")
    options = {"namespace": "team/a", "mount": "keys/transit"}
    made = await vault.seal(**options).create()
    assert await vault.seal(made.config, **options).root_key() == made.root_key


async def test_tls_is_verified_with_the_ca_that_is_named(vault: Vault, tmp_path: Path) -> None:
    certificate = self_signed(tmp_path)
    with served(vault.server, certificate) as url:
        vault.url = url
        made = await vault.seal(ca_file=str(certificate[0])).create()
        assert await vault.seal(made.config, ca_file=str(certificate[0])).root_key() == made.root_key
        with pytest.raises(KeyProblem, match="does not verify"):
            await vault.seal(made.config).root_key()
    with pytest.raises(ConfigurationProblem, match="ca_file"):
        await vault.seal(made.config, ca_file=str(tmp_path / "none.pem")).root_key()


async def test_something_else_answers(vault: Vault) -> None:
    made = await vault.seal().create()
    vault.server.answer = lambda *_: (200, b"<html>")  # type: ignore[method-assign]
    with pytest.raises(KeyProblem, match="as Vault does"):
        await vault.seal(made.config).root_key()
    vault.server.answer = lambda *_: (200, b'{"data":{"plaintext":"AAAA"}}')  # type: ignore[method-assign]
    with pytest.raises(KeyProblem, match="no root key"):
        await vault.seal(made.config).root_key()
    vault.server.answer = lambda *_: (302, b"")  # type: ignore[method-assign]
    with pytest.raises(KeyProblem, match="status 302"):
        await vault.seal(made.config).root_key()


async def test_it_takes_no_passphrase_and_makes_no_second(vault: Vault) -> None:
    made = await vault.seal().create()
    with pytest.raises(KeyProblem, match="exists already"):
        await vault.seal(made.config).create()
    with pytest.raises(KeyProblem, match="takes no passphrase"):
        await vault.seal(made.config).root_key(SecretValue("x"))
