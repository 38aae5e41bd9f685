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
    [("file:/etc/overseer/root.key", "file", False), ("env", "env", False), ("passphrase", "passphrase", True)],
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
        "shamir",
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
