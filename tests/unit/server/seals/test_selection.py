"""The setting OVERSEER_SEAL: each form makes its seal; anything else is refused unrepeated. What every seal promises."""

from __future__ import annotations

from pathlib import Path

import pytest

from overseer.core.errors import ConfigurationProblem, Sealed
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.server.seals.contract import Seal
from overseer.server.seals.selection import make_seal

PASSPHRASE = SecretValue("correct horse battery staple")


@pytest.mark.parametrize(
    ("spec", "kind", "needs_operator"),
    [
        ("file:/etc/overseer/root.key", "file", False),
        ("env", "env", False),
        ("passphrase", "passphrase", True),
        ("shamir", "shamir", True),
        ("shamir:3/5", "shamir", True),
        ("awskms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "awskms", False),
        ("awskms:alias/overseer?region=eu-central-1&endpoint=http://127.0.0.1:5000", "awskms", False),
        ("vault-transit:https://vault.example.com:8200?key=overseer&token_file=/run/token", "vault-transit", False),
        ("vault-transit:http://127.0.0.1:8200?key=k&mount=a/b&role_id=r&secret_id_env=S&namespace=n", "vault-transit", False),
    ],
)
def test_each_form_makes_its_seal(spec: str, kind: str, needs_operator: bool) -> None:
    seal = make_seal(spec)
    assert (seal.kind, seal.needs_operator) == (kind, needs_operator)
    assert seal.describe()


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "file",
        "file:",
        "file:relative",
        "file:~/key",
        "file:/a\0b",
        "env:",
        "env:X",
        "passphrase:hunter2-canary",
        "shamir:3",
        "shamir:3/5/7",
        "awskms",
        "awskms:",
        "awskms:key canary",
        "awskms:alias/a?secret=canary",
        "awskms:alias/a?region=x&region=canary",
        "awskms:alias/a?endpoint=http://kms.example.com",
        "vault-transit",
        "vault-transit:https://vault.example.com",
        "vault-transit:https://vault.example.com?key=k",
        "vault-transit:https://vault.example.com?key=k&token=canary",
        "vault-transit:https://vault.example.com?key=k&token_file=relative",
        "vault-transit:https://vault.example.com?key=k&token_file=/t&token_env=T",
        "vault-transit:https://vault.example.com?key=k&token_file=/t&role_id=r",
        "vault-transit:https://vault.example.com?key=../sys&token_file=/t",
        "vault-transit:https://user:canary@vault.example.com?key=k&token_file=/t",
        "vault-transit:http://vault.example.com?key=k&token_file=/t",
        "vault-transit:https://vault.example.com/path?key=k&token_file=/t",
        "vault-transit:https://vault.example.com:x?key=k&token_file=/t",
        "vault-transit:https://vault.example.com?key=k&token_env=a-b",
        "ENV",
        " env",
    ],
)
def test_anything_else_is_refused_without_repeating_it(spec: str) -> None:
    with pytest.raises(ConfigurationProblem, match="OVERSEER_SEAL") as refused:
        make_seal(spec)
    assert "canary" not in refused.value.message


@pytest.mark.anyio
@pytest.mark.parametrize("spec", ["file", "env", "passphrase"])
async def test_every_seal_gives_the_root_key_that_it_was_made_with(spec: str, tmp_path: Path) -> None:
    root_key = RootKey.generate()

    def environment() -> dict[str, str]:
        return {"OVERSEER_ROOT_KEY": root_key.reveal().hex()}

    spec = f"file:{tmp_path / 'root.key'}" if spec == "file" else spec
    passphrase = PASSPHRASE if spec == "passphrase" else None
    first: Seal = make_seal(spec, None, environment())
    new = await first.create(passphrase)
    again = make_seal(spec, new.config, environment())
    assert await again.root_key(passphrase) == new.root_key
    assert new.root_key.reveal().hex() not in again.describe() + repr(again) + repr(new) + repr(vars(again))
    if again.needs_operator:
        with pytest.raises(Sealed):
            await again.root_key()
