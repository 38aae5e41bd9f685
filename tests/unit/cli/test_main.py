from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from overseer.cli.terminal import confirm
from tests.unit.cli.conftest import Overseer

MODULES = "import sys\nsys.argv = ['overseer', '--version']\nfrom overseer.cli.main import main\nmain()\nprint(*sys.modules)"


def test_the_version_is_told_without_the_command_line_library() -> None:
    run = subprocess.run([sys.executable, "-c", MODULES], capture_output=True, text=True, check=True)
    told, modules = run.stdout.splitlines()
    assert told == f"overseer {version('overseer')}"
    assert not {"click", "msgspec", "asyncio", "http.client", "typing"} & set(modules.split())


def test_a_client_command_imports_no_server_and_no_agent() -> None:
    code = "import sys, overseer.cli.program, overseer.cli.commands.secret, overseer.client.secrets, overseer.client.api\n"
    unwanted = "('overseer.server', 'overseer.agent', 'overseer.crypto', 'asyncio', 'yaml', 'cryptography', 'rich')"
    run = subprocess.run(
        [sys.executable, "-c", f"{code}print([m for m in sys.modules if m.startswith({unwanted})])"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stdout.strip() == "[]"


def test_the_exit_code_reaches_the_shell() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "overseer.cli.main", "secret", "nonsense"], capture_output=True, text=True, check=False
    )
    assert run.returncode == 2
    assert run.stdout == ""
    assert "nonsense" in run.stderr


def test_a_command_that_is_not_there_names_the_one_that_is_alike(overseer: Overseer) -> None:
    ended = overseer("secrets", "list")
    assert ended.code == 2
    assert "No such command 'secrets'. Did you mean 'secret'?" in ended.err
    assert "Did you mean" not in overseer("quux").err


def test_a_file_that_is_not_there_is_told_before_a_passphrase_is_asked_for(overseer: Overseer) -> None:
    for command in (("restore", "gone.age"), ("backup", "verify", "gone.age"), ("migrate", "import", "gone.age")):
        assert "gone.age cannot be read: no such file or directory" in overseer(*command).err


def test_a_file_without_a_value_is_told_with_what_it_was_read_as(overseer: Overseer, tmp_path: Path) -> None:
    (tmp_path / "compose.yaml").write_text("services: {web: {image: web}}\n")
    ended = overseer("secret", "import", str(tmp_path / "compose.yaml"), "--app", "shop")
    assert ended.code == 65
    assert "compose.yaml to import, read as compose: another --format may read more" in ended.err


def test_a_broken_file_is_told_with_the_place(overseer: Overseer, tmp_path: Path) -> None:
    (tmp_path / "shop.env").write_text("A=1\nBAD NAME=3\n")
    ended = overseer("secret", "import", str(tmp_path / "shop.env"), "--app", "shop")
    assert ended.err == "overseer: error: line 2, column 1: a variable's name cannot hold a blank\n"


def test_a_question_that_cannot_be_asked_keeps_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> int:
        raise OSError

    monkeypatch.setattr("overseer.cli.terminal.os.open", absent)
    with pytest.raises(click.UsageError, match="is SHA256:AbC what was printed"):
        confirm("Is SHA256:AbC what was printed?", instead="give it as --signed-by")
