"""The files of an embedded PostgreSQL cluster: made whole or not at all, who may connect, and who still runs in it.

Directories are handed to PostgreSQL's programs as ``/proc/self/fd/N`` (see :mod:`overseer.server.storage.embedded`).
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from overseer.core.errors import ConfigurationProblem, StoreUnavailable
from overseer.server.storage.postgres_account import Account, login_name
from overseer.server.storage.postgres_programs import Programs
from overseer.server.storage.queries import named_queries

CREATE_SECONDS: Final = 120.0
STOP_SECONDS: Final = 30.0
ENVIRONMENT: Final = {"LC_ALL": "C", "TZ": "UTC", "PATH": "/usr/bin:/bin"}


def create_cluster(programs: Programs, account: Account, data: Path) -> None:
    """Make the cluster beside its place and move it there when it is whole."""
    partial = data.with_name("postgres.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(mode=0o700)
    account.own(partial)
    descriptor = os.open(partial, os.O_RDONLY | os.O_DIRECTORY)
    place = f"/proc/self/fd/{descriptor}"
    try:
        options = ["-U", "postgres", "-A", "peer", "-E", "UTF8", "--no-locale", "--data-checksums"]
        _run([programs.directory / "initdb", "-D", place, *options], account, descriptor, b"")
        single = ["--single", "-D", place, "-c", "exit_on_error=on", "postgres"]
        text = named_queries()["embedded_database"] + "\n"
        _run([programs.directory / "postgres", *single], account, descriptor, text.encode())
    finally:
        os.close(descriptor)
    partial.rename(data)


def _run(command: Sequence[str | Path], account: Account, descriptor: int, text: bytes) -> None:
    result = subprocess.run(
        command,
        input=text,
        capture_output=True,
        check=False,
        cwd="/",
        env=ENVIRONMENT,
        pass_fds=(descriptor,),
        timeout=CREATE_SECONDS,
        **account.popen_arguments(),
    )
    if result.returncode:
        lines = result.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        said = next((line for line in lines if "error" in line.lower() or "FATAL" in line), lines[-1])
        raise ConfigurationProblem(f"PostgreSQL's {Path(command[0]).name} failed: {said}")


def check_owner(data: Path, account: Account) -> None:
    """Raises :class:`ConfigurationProblem` where the cluster belongs to somebody else: PostgreSQL would refuse it."""
    owner = data.stat().st_uid
    if owner != (os.geteuid() if account.user is None else account.user):
        raise ConfigurationProblem(f"{data} belongs to user number {owner}, who made it: run Overseer as that user again")


def write_access_rules(data: Path, account: Account) -> None:
    """Who may connect: this process's user alone, known by the kernel's word for the other end of the socket."""
    user = login_name()
    _write(data / "pg_hba.conf", "local all all peer map=overseer\n", account)
    _write(data / "pg_ident.conf", f'overseer "{user}" overseer\noverseer "{user}" postgres\n', account)


def _write(path: Path, text: str, account: Account) -> None:
    # Root writes into a directory of the account: a new file that replaces the old name never follows a link that lies there.
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    account.own(fresh)
    fresh.replace(path)


def postmaster(data: Path) -> tuple[int, str] | None:
    """Process id and state of the server that ``postmaster.pid`` names (its eighth line is the server's own word), if any."""
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        return int(lines[0]), lines[7].strip() if len(lines) > 7 else ""
    except (OSError, ValueError, IndexError):
        return None


def stop_orphan(data: Path) -> None:
    """The lock is ours, so whoever still runs in ``data`` lost its parent. A process id that now belongs to another is only a
    leftover."""
    state = postmaster(data)
    if state is None:
        return
    process_id, _ = state
    if not Path(f"/proc/{process_id}").exists():
        return  # PostgreSQL itself checks and replaces the file
    if not _works_in(process_id, data):
        (data / "postmaster.pid").unlink(missing_ok=True)
        return
    with suppress(ProcessLookupError):
        os.kill(process_id, signal.SIGINT)
    deadline = time.monotonic() + STOP_SECONDS
    while _works_in(process_id, data):
        if time.monotonic() > deadline:
            raise StoreUnavailable(
                f"a PostgreSQL server left over from a crash does not end: stop process {process_id}, then start again"
            )
        time.sleep(0.02)


def _works_in(process_id: int, data: Path) -> bool:
    try:
        return Path(f"/proc/{process_id}/cwd").samefile(data)
    except OSError:  # gone, a zombie, or not ours to look into
        return False


def is_ready(data: Path) -> bool:
    """True where a server accepts connections on the cluster in ``data``."""
    state = postmaster(data)
    return state is not None and state[1] == "ready" and _works_in(state[0], data)
