"""The embedded PostgreSQL: as root and as an ordinary user, after crashes, twice at once, in awkward places."""

from __future__ import annotations

import asyncio
import os
import pickle
import pwd
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from overseer.core.errors import ConfigurationProblem, OverseerError
from overseer.server.storage import embedded, postgres_account, postgres_programs
from overseer.server.storage.embedded import EmbeddedPostgres
from overseer.server.storage.postgres_account import Account, server_account
from overseer.server.storage.postgres_programs import Programs, find_programs, usable_programs

ROOT = os.geteuid() == 0
USERS = [None, "nobody"] if ROOT else [None]
START = "import sys, time; from pathlib import Path; from overseer.server.storage.embedded import EmbeddedPostgres\n"


@pytest.fixture
def home() -> Iterator[Path]:
    path = Path(f"/tmp/ovs-embedded-{os.getpid()}-{time.monotonic_ns()}")
    path.mkdir(mode=0o700)  # root's own: the server's account cannot get through it
    yield path
    shutil.rmtree(path, ignore_errors=True)


async def _value(url: str, query: str, **options: Any) -> Any:
    connection = await asyncpg.connect(url, **options)
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


def _as_user(name: str | None, work: Callable[[], Any]) -> Any:
    """The result of ``work`` in a child process of user ``name``, who may not be able to start this interpreter himself."""
    if name is None:
        return work()
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            entry = pwd.getpwnam(name)
            os.setgroups([])
            os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
            os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
            os.write(write, pickle.dumps(work()))
        except BaseException as error:  # noqa: BLE001 - the parent shows it
            os.write(write, pickle.dumps(f"failed: {error!r}"))
        finally:
            os._exit(0)
    os.close(write)
    with os.fdopen(read, "rb") as result:
        answer = pickle.load(result)  # noqa: S301 - our own child wrote it
    os.waitpid(child, 0)
    return answer


@pytest.mark.parametrize("user", USERS)
def test_starts_and_stops_and_keeps_its_data(home: Path, user: str | None) -> None:
    if user:
        os.chown(home, pwd.getpwnam(user).pw_uid, -1)
    psql = find_programs().directory / "psql"

    def sql(url: str, text: str) -> str:
        answer = subprocess.run([psql, "-XAtqd", url, "-c", text], capture_output=True, text=True, check=False, cwd="/")
        return (answer.stdout + answer.stderr).strip()

    def work() -> list[str]:
        said = []
        for _ in range(2):
            with EmbeddedPostgres(home / "data") as server:
                sql(server.url, "CREATE TABLE IF NOT EXISTS kept (at int)")
                sql(server.url, "INSERT INTO kept VALUES (1)")
                said.append(sql(server.url, "SELECT count(*) FROM kept"))
                said.append(sql(server.url, "SELECT rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = current_user"))
                for name in ("fsync", "data_checksums", "listen_addresses"):
                    said.append(sql(server.url, f"SHOW {name}"))
                process = server.process_id
            said.append(str(Path(f"/proc/{process}").exists()))
        return said

    assert _as_user(user, work) == ["1", "f", "on", "on", "", "False", "2", "f", "on", "on", "", "False"]


@pytest.mark.skipif(not ROOT, reason="needs root to try as another user")
def test_other_users_are_refused_by_the_directory_and_by_the_server(home: Path) -> None:
    home.chmod(0o711)
    psql = find_programs().directory / "psql"
    with EmbeddedPostgres(home / "data") as server:
        run = home / "data" / "postgres-run"
        assert stat.S_IMODE(run.stat().st_mode) == 0o700

        def attempt() -> str:
            url = server.url
            return subprocess.run([psql, "-Xd", url, "-c", "SELECT 1"], capture_output=True, text=True, check=False).stderr

        assert "Permission denied" in _as_user("nobody", attempt)
        for path in (home / "data", run, run / ".s.PGSQL.5432"):  # as if every mode had been opened by mistake
            path.chmod(0o777)
        assert "Peer authentication failed" in _as_user("nobody", attempt)


def test_a_second_start_finds_the_first_and_leaves_it_running(home: Path) -> None:
    with EmbeddedPostgres(home) as first:
        second = EmbeddedPostgres(home)
        assert second.start() == first.url
        assert not second.owned
        second.stop()
        assert Path(f"/proc/{first.process_id}").exists()
        third = EmbeddedPostgres(home)
        assert third.start() == first.url


def _parent_that_dies(home: Path) -> int:
    """Start a server in another process and kill that process; returns the orphan's process id."""
    code = (
        START
        + "server = EmbeddedPostgres(Path(sys.argv[1])); server.start(); print(server.process_id, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    process = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    return process


def test_a_start_after_the_parent_was_killed_stops_the_orphan(home: Path) -> None:
    orphan = _parent_that_dies(home)
    assert Path(f"/proc/{orphan}").exists()
    with EmbeddedPostgres(home) as server:
        assert server.process_id != orphan
        assert not Path(f"/proc/{orphan}/cwd").exists()


@pytest.mark.anyio
async def test_a_start_after_the_server_was_killed_recovers_what_was_committed(home: Path) -> None:
    server = EmbeddedPostgres(home)
    url = server.start()
    connection = await asyncpg.connect(url)
    await connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    assert server.process_id is not None
    os.kill(server.process_id, signal.SIGKILL)
    again = EmbeddedPostgres(home)
    server._process, process = None, server._process  # its owner is gone, as after a power cut
    server.stop()
    assert process is not None
    process.wait()
    connection.terminate()
    with again:
        assert await _value(again.url, "SELECT number FROM kept") == 7


@pytest.mark.anyio
async def test_a_start_waits_for_a_backend_of_a_killed_server(home: Path) -> None:
    """One that is stopped does not notice that its server is gone, and holds the shared memory that no new one may share."""
    server = EmbeddedPostgres(home)
    connection = await asyncpg.connect(server.start())
    backend = await connection.fetchval("SELECT pg_backend_pid()")
    os.kill(backend, signal.SIGSTOP)
    try:
        process, server._process = server._process, None
        assert process is not None
        process.kill()
        process.wait()
        server.stop()
        again = EmbeddedPostgres(home)
        starting = asyncio.ensure_future(asyncio.to_thread(again.start))
        while "still in use" not in (home / "postgres.log").read_text():
            assert not starting.done()
            await asyncio.sleep(0.01)
    finally:
        os.kill(backend, signal.SIGCONT)
    url = await starting
    try:
        assert await _value(url, "SELECT 1") == 1
    finally:
        again.stop()
    connection.terminate()


def test_the_last_line_of_a_dying_backend_hides_no_reason(home: Path) -> None:
    """It may come between a new server's complaint about shared memory and our look at the log."""
    server = EmbeddedPostgres(home)
    home.mkdir(exist_ok=True)
    old = "FATAL:  an older start's\n"
    lines = ["FATAL:  pre-existing shared memory block is still in use", "LOG:  nothing", "FATAL:  unexpected postmaster exit"]
    (home / "postgres.log").write_text(old + "\n".join(lines))
    server._log_start = len(old)
    assert server._complaints() == [lines[0], lines[2]]


def test_a_process_id_that_now_belongs_to_another_is_no_server(home: Path) -> None:
    with EmbeddedPostgres(home):
        pass
    bystander = subprocess.Popen(["sleep", "60"])
    try:
        (home / "postgres" / "postmaster.pid").write_text(f"{bystander.pid}\n/x\n1\n5432\n\n\n1 1\nready\n")
        with EmbeddedPostgres(home):
            assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_a_half_made_cluster_is_made_anew(home: Path) -> None:
    partial = home / "postgres.partial"
    partial.mkdir()
    (partial / "PG_VERSION").write_text("18\n")
    with EmbeddedPostgres(home) as server:
        assert server.owned
        assert not partial.exists()


@pytest.mark.anyio
@pytest.mark.parametrize("name", ["a" * 120, "with, comma: and 'quotes' é"])
async def test_paths_too_long_or_odd_for_a_socket_get_a_short_one(home: Path, name: str) -> None:
    with EmbeddedPostgres(home / name) as server:
        sockets = (home / name / "postgres-socket").resolve()
        assert stat.S_IMODE(sockets.stat().st_mode) == 0o700
        assert await _value(server.url, "SELECT current_user::text") == "overseer"
        assert EmbeddedPostgres(home / name).start() == server.url
    assert not sockets.exists()


def test_data_of_another_version_is_refused_by_name(home: Path) -> None:
    (home / "postgres").mkdir()
    (home / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(ConfigurationProblem, match="made by PostgreSQL 9"):
        EmbeddedPostgres(home).start()


@pytest.mark.skipif(not ROOT, reason="needs root to give the data away")
def test_data_of_another_user_is_refused(home: Path) -> None:
    with EmbeddedPostgres(home):
        pass
    os.chown(home / "postgres", 65534, -1)
    with pytest.raises(ConfigurationProblem, match="belongs to user number 65534"):
        EmbeddedPostgres(home).start()


def test_no_postgresql_at_all_says_what_to_install(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(postgres_programs, "_directories", list)
    with pytest.raises(ConfigurationProblem, match="install the extra"):
        EmbeddedPostgres(home).start()


def test_an_installed_postgresql_does_without_the_wheel(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not installed:
        pytest.skip("no PostgreSQL below /usr/lib/postgresql: run scripts/postgresql_install.sh")
    monkeypatch.setattr(postgres_programs.importlib.util, "find_spec", lambda name: None)
    assert find_programs().directory in installed
    with EmbeddedPostgres(home) as server:
        assert server.owned


@pytest.mark.skipif(not ROOT, reason="needs root")
def test_programs_that_the_account_cannot_reach_are_copied(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = find_programs()
    package = found.directory.parent.parent
    for part in (package, package.with_name(package.name + ".libs")):
        shutil.copytree(part, home / "venv" / part.name, symlinks=True)
    hidden = Programs(home / "venv" / package.name / "pginstall" / "bin", found.major, found.version)
    account, copies = server_account(), Path(f"{home}-copies")
    try:
        usable = usable_programs(hidden, account, copies)
        assert usable.directory.is_relative_to(copies / found.version)
        written = (usable.directory / "postgres").stat().st_mtime_ns
        assert usable_programs(hidden, account, copies) == usable
        assert (usable.directory / "postgres").stat().st_mtime_ns == written
        assert (copies / found.version).stat().st_uid == 0
        assert not [path for path in copies.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022]

        monkeypatch.setattr(embedded, "find_programs", lambda major=None: hidden)
        monkeypatch.setattr(embedded, "usable_programs", lambda programs, account: usable_programs(programs, account, copies))
        with EmbeddedPostgres(home / "data") as server:
            assert Path(f"/proc/{server.process_id}/exe").resolve().is_relative_to(copies)
    finally:
        shutil.rmtree(copies)


def test_a_user_number_without_a_name_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    monkeypatch.setattr(postgres_account.os, "geteuid", lambda: 54321)
    with pytest.raises(OverseerError, match="OVERSEER_DATABASE_URL"):
        EmbeddedPostgres(home).start()


def test_an_ordinary_user_keeps_his_own_account() -> None:
    assert Account(None, None).popen_arguments() == {}
