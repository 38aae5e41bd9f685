from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

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
