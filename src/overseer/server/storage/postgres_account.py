"""The operating system's account that an embedded PostgreSQL runs under, because PostgreSQL refuses root.

An ordinary user runs it as themselves. Root gets a system account of its own, ``overseer-postgres``, which nothing else uses:
sharing ``nobody`` or ``postgres`` would open the database files to whatever else runs under that name.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from overseer.core.errors import ConfigurationProblem

ACCOUNT: Final = "overseer-postgres"
ACCOUNT_HOME: Final = Path("/var/lib/overseer-postgres")
_SBIN: Final = "/usr/sbin:/sbin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Account:
    """``user`` and ``group`` are numbers to switch to; both None where the process stays who it is."""

    user: int | None
    group: int | None

    def popen_arguments(self) -> dict[str, Any]:
        """Keyword arguments for ``subprocess`` that make the child this account and nothing more (no other groups)."""
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.group, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Give a file or directory to the account."""
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group, follow_symlinks=False)


def login_name() -> str:
    """The name of the user that this process runs as. Raises :class:`ConfigurationProblem` where the number has no name."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise ConfigurationProblem(
            f"the user number {os.geteuid()} has no name here, which PostgreSQL asks for: add it to /etc/passwd, run as another "
            "user, or set OVERSEER_DATABASE_URL to a PostgreSQL server"
        ) from None


def server_account() -> Account:
    """Who the server shall run as; for root the account is made when it is missing. Raises :class:`ConfigurationProblem`."""
    if os.geteuid() != 0:
        login_name()
        return Account(None, None)
    entry = _entry() or _create()
    return Account(entry.pw_uid, entry.pw_gid)


def _entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(ACCOUNT)
    except KeyError:
        return None


def _create() -> pwd.struct_passwd:
    program = shutil.which("useradd", path=_SBIN)
    if program:
        options = [
            "--system",
            "--user-group",
            "--no-create-home",
            "--home-dir",
            str(ACCOUNT_HOME),
            "--shell",
            "/usr/sbin/nologin",
        ]
        subprocess.run([program, *options, ACCOUNT], check=False, capture_output=True, stdin=subprocess.DEVNULL, timeout=30)
    entry = _entry()  # another process may have been quicker, so the result counts and not the exit code
    if entry is None:
        raise ConfigurationProblem(
            f"PostgreSQL does not run as root, and the account {ACCOUNT} could not be made: create it (a system "
            f"account without a "
            "shell), run Overseer as an ordinary user, or set OVERSEER_DATABASE_URL to a PostgreSQL server"
        )
    return entry
