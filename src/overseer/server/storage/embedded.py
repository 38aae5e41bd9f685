"""A PostgreSQL server of our own for one machine, below the data directory.

Guarantees: it listens on a Unix socket only, in a directory that only its account (and root) can enter; connections authenticate
by the peer's user, never by ``trust``; ``fsync`` stays on. The server is a child of the process that started it and is
stopped by its process id. A start after a crash heals: a half-made cluster is made anew, a stale ``postmaster.pid`` is taken
away, an orphaned server is stopped first. A second start while the first still runs finds the running server and leaves it
alone at its own end.

How: the server is given its directories as ``/proc/self/fd/N``, so neither the length of the path nor parents that its
account may not enter (``/root``, a 0700 directory of root) matter; nobody's permissions are changed for it.

What it will not do: listen on a network, upgrade a cluster to another major version of PostgreSQL, or run where ``/proc`` is
not mounted.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self
from urllib.parse import quote

from overseer.core.errors import ConfigurationProblem, StoreUnavailable
from overseer.server.storage.postgres_account import Account, login_name, server_account
from overseer.server.storage.postgres_cluster import (
    ENVIRONMENT,
    STOP_SECONDS,
    check_owner,
    create_cluster,
    is_ready,
    postmaster,
    stop_orphan,
    write_access_rules,
)
from overseer.server.storage.postgres_programs import Programs, find_programs, usable_programs

START_SECONDS: Final = 60.0  # recovery after a crash replays the log before the server is ready
SOCKET_NAME: Final = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH: Final = 107  # sockaddr_un.sun_path has 108 bytes, the last is NUL
LARGEST_LOG: Final = 10 * 1024 * 1024

# On the command line they win over any file in the data directory.
_SETTINGS: Final = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "full_page_writes": "on",
    "max_prepared_transactions": "0",
    "jit": "off",
    "logging_collector": "off",
    "log_destination": "stderr",
    "log_min_messages": "warning",
    "log_checkpoints": "off",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_timezone": "UTC",
}


class EmbeddedPostgres:
    """The server below one data directory. ``start`` and ``stop`` block (a first start takes about a second)."""

    def __init__(self, data_dir: Path) -> None:
        """Nothing is touched before :meth:`start`."""
        self._home = data_dir.absolute()
        self._data = self._home / "postgres"
        self._link = self._home / "postgres-socket"
        self._log = self._home / "postgres.log"
        self._log_start = 0  # where the newest start's lines begin
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def owned(self) -> bool:
        """True where this object started the server, and :meth:`stop` ends it."""
        return self._process is not None

    @property
    def process_id(self) -> int | None:
        """The postmaster's process id where :attr:`owned`."""
        return self._process.pid if self._process else None

    @property
    def url(self) -> str:
        """What goes into ``OVERSEER_DATABASE_URL``'s place: the role ``overseer``, owner of the database ``overseer``."""
        return f"postgresql://overseer@/overseer?host={quote(str(self._link.resolve()), safe='/')}"

    @property
    def running(self) -> bool:
        """True where a server answers here, whoever started it. Nothing is touched."""
        return is_ready(self._data)

    def start(self) -> str:
        """Start the server, or find the one that another process of this machine runs here; returns :attr:`url`.

        Raises :class:`ConfigurationProblem` (no PostgreSQL, no account, another version's data), :class:`StoreUnavailable`.
        """
        try:
            self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
            deadline = time.monotonic() + START_SECONDS
            while not self._acquire():
                if is_ready(self._data):
                    return self.url
                if time.monotonic() > deadline:
                    raise StoreUnavailable(
                        f"another process holds {self._home}, but its PostgreSQL does not answer; see {self._log}"
                    )
                time.sleep(0.05)
            self._start_own()
        except PermissionError as error:
            self.stop()
            raise ConfigurationProblem(f"{error.filename} may not be used by {login_name()}: set OVERSEER_DATA_DIR") from None
        except BaseException:
            self.stop()
            raise
        return self.url

    def stop(self) -> None:
        """Stop the server that :meth:`start` started: open transactions are rolled back, data is flushed. Does nothing twice."""
        process, self._process = self._process, None
        if process is not None:
            _end(process)
            self._remove_short_socket()
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _acquire(self) -> bool:
        # Closed on exec, so the server itself never holds it; 0600, so no other user can.
        lock = os.fdopen(os.open(self._home / "postgres.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600), "w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            return False
        self._lock = lock
        return True

    def _start_own(self) -> None:
        account = server_account()
        made_by = self._data / "PG_VERSION"
        programs = find_programs(int(made_by.read_text()) if made_by.is_file() else None)
        programs = usable_programs(programs, account)
        if not made_by.is_file():
            create_cluster(programs, account, self._data)
        check_owner(self._data, account)
        stop_orphan(self._data)
        write_access_rules(self._data, account)
        sockets = self._socket_directory(account)
        deadline = time.monotonic() + START_SECONDS
        while not self._launch(programs, account, sockets, deadline):
            # Backends of a server that was killed may still be ending; they hold its shared memory for a moment.
            held = any("shared memory" in line for line in self._complaints())
            if not held or time.monotonic() > deadline - START_SECONDS + 10:
                raise StoreUnavailable(f"PostgreSQL does not start: {self._last_words()}")
            time.sleep(0.2)

    def _launch(self, programs: Programs, account: Account, sockets: Path, deadline: float) -> bool:
        """Start the server and wait until it accepts connections; False where it ended before."""
        options = [part for name, value in _SETTINGS.items() for part in ("-c", f"{name}={value}")]
        data_fd = os.open(self._data, os.O_RDONLY | os.O_DIRECTORY)
        socket_fd = os.open(sockets, os.O_RDONLY | os.O_DIRECTORY)
        places = ["-D", f"/proc/self/fd/{data_fd}", "-k", f"/proc/self/fd/{socket_fd}"]
        try:
            with self._open_log() as log:
                self._log_start = log.seek(0, os.SEEK_END)
                process = subprocess.Popen(
                    [programs.directory / "postgres", *places, *options],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=ENVIRONMENT,
                    cwd="/",
                    pass_fds=(data_fd, socket_fd),
                    start_new_session=True,  # Ctrl-C in a terminal reaches us; we stop the server after its last client
                    **account.popen_arguments(),
                )
        finally:
            os.close(data_fd)
            os.close(socket_fd)
        self._process = process
        while process.poll() is None:
            state = postmaster(self._data)
            if state and state[0] == process.pid and state[1] == "ready":
                return True
            if time.monotonic() > deadline:
                raise StoreUnavailable(f"PostgreSQL is not ready after {START_SECONDS:.0f} s: {self._last_words()}")
            time.sleep(0.01)
        self._process = None
        return False

    def _socket_directory(self, account: Account) -> Path:
        """Where the socket is, and the link that leads there: below the data directory unless that path is too long."""
        own = self._home / "postgres-run"
        length = len(os.fsencode(own / SOCKET_NAME))
        if length <= LONGEST_SOCKET_PATH and not {",", ":"} & set(str(own)):  # asyncpg reads a list of hosts with ports
            own.mkdir(mode=0o700, exist_ok=True)
            directory = own
        else:
            self._remove_short_socket()
            directory = Path(tempfile.mkdtemp(prefix="overseer-", dir="/tmp"))
        account.own(directory)
        directory.chmod(0o700)
        fresh = self._home / f".postgres-socket.{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(directory)
        fresh.replace(self._link)
        return directory

    def _remove_short_socket(self) -> None:
        with suppress(OSError):
            target = self._link.readlink()
            if target.parent == Path("/tmp") and target.name.startswith("overseer-"):  # noqa: S108 - made by _socket_directory
                shutil.rmtree(target, ignore_errors=True)
                self._link.unlink()

    def _open_log(self) -> IO[bytes]:
        if self._log.exists() and self._log.stat().st_size > LARGEST_LOG:
            self._log.replace(self._log.with_suffix(".log.1"))
        return os.fdopen(os.open(self._log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600), "ab")

    def _complaints(self) -> list[str]:
        """What went wrong since the newest start, in order; a dying backend of the server before may add its own last line."""
        with self._log.open(errors="replace") as log:
            log.seek(self._log_start)
            return [line for line in log.read().splitlines() if "FATAL" in line or "ERROR" in line]

    def _last_words(self) -> str:
        lines = self._complaints()
        return f"{lines[-1] if lines else 'it said nothing'} (see {self._log})"


def _end(process: subprocess.Popen[bytes]) -> None:
    for sign, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
        process.send_signal(sign)
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
            return
    raise StoreUnavailable(f"PostgreSQL does not end: stop process {process.pid}")
