"""The env seal: one source, taken once, gone from the environment."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from overseer.core.errors import KeyProblem
from overseer.core.secret_value import SecretValue
from overseer.crypto.keys import RootKey
from overseer.server.seals.env import EnvSeal
from overseer.server.seals.root_key_text import write_root_key

ROOT = RootKey.generate()
DIGITS = ROOT.reveal().hex()


def credential(directory: Path, content: bytes | None = None) -> dict[str, str]:
    (directory / "overseer-root-key").write_bytes(write_root_key(ROOT).reveal() if content is None else content)
    return {"CREDENTIALS_DIRECTORY": str(directory)}


@pytest.mark.anyio
@pytest.mark.parametrize("text", [DIGITS, DIGITS + "\n", f"overseer-root-key-v1\n{DIGITS}\n"])
async def test_the_variable_gives_the_key_and_is_removed(text: str) -> None:
    environment = {"OVERSEER_ROOT_KEY": text, "OTHER": "stays"}
    seal = EnvSeal(environment)
    assert await seal.root_key() == ROOT
    assert environment == {"OTHER": "stays"}
    assert await seal.root_key() == ROOT, "a second call gives it again"
    made = await seal.create()
    assert (made.root_key, made.config) == (ROOT, b"")


def test_no_child_process_inherits_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVERSEER_ROOT_KEY", DIGITS)
    asyncio.run(EnvSeal(os.environ).root_key())
    child = subprocess.run(
        [sys.executable, "-c", "import os; print('OVERSEER_ROOT_KEY' in os.environ)"], capture_output=True, text=True, check=True
    )
    assert child.stdout == "False\n"


@pytest.mark.anyio
async def test_a_bad_variable_is_removed_too_and_not_repeated() -> None:
    environment = {"OVERSEER_ROOT_KEY": DIGITS[:-2]}
    with pytest.raises(KeyProblem, match=r"^OVERSEER_ROOT_KEY: ") as refused:
        await EnvSeal(environment).root_key()
    assert environment == {}
    assert DIGITS[:10] not in refused.value.message


@pytest.mark.anyio
async def test_the_systemd_credential_gives_the_key(tmp_path: Path) -> None:
    assert await EnvSeal(credential(tmp_path)).root_key() == ROOT
    assert await EnvSeal(credential(tmp_path, DIGITS.encode())).root_key() == ROOT


@pytest.mark.anyio
async def test_two_sources_are_an_error_and_not_a_precedence(tmp_path: Path) -> None:
    environment = credential(tmp_path) | {"OVERSEER_ROOT_KEY": DIGITS}
    with pytest.raises(KeyProblem, match="one place only"):
        await EnvSeal(environment).root_key()
    assert "OVERSEER_ROOT_KEY" not in environment


@pytest.mark.anyio
@pytest.mark.parametrize("extra", [{}, {"CREDENTIALS_DIRECTORY": ""}])
async def test_no_source_says_what_to_set(extra: dict[str, str]) -> None:
    with pytest.raises(KeyProblem, match="no root key was handed over"):
        await EnvSeal(dict(extra)).root_key()


@pytest.mark.anyio
async def test_a_credentials_directory_of_other_credentials_is_fine(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="no root key was handed over"):
        await EnvSeal({"CREDENTIALS_DIRECTORY": str(tmp_path)}).root_key()
    assert await EnvSeal({"CREDENTIALS_DIRECTORY": str(tmp_path), "OVERSEER_ROOT_KEY": DIGITS}).root_key() == ROOT


@pytest.mark.anyio
async def test_a_damaged_credential_a_link_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyProblem, match="systemd credential"):
        await EnvSeal(credential(tmp_path, b"nonsense")).root_key()
    with pytest.raises(KeyProblem):
        await EnvSeal(credential(tmp_path, (DIGITS + " " * 300 + "x").encode() * 2)).root_key()
    target = tmp_path / "overseer-root-key"
    target.unlink()
    (tmp_path / "elsewhere").write_bytes(write_root_key(ROOT).reveal())
    target.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyProblem, match="cannot be opened"):
        await EnvSeal({"CREDENTIALS_DIRECTORY": str(tmp_path)}).root_key()
    target.unlink()
    target.mkdir()
    with pytest.raises(KeyProblem, match="cannot be read"):
        await EnvSeal({"CREDENTIALS_DIRECTORY": str(tmp_path)}).root_key()


@pytest.mark.anyio
async def test_a_passphrase_is_not_silently_ignored() -> None:
    with pytest.raises(KeyProblem, match="takes no passphrase"):
        await EnvSeal({"OVERSEER_ROOT_KEY": DIGITS}).root_key(SecretValue("a passphrase"))
