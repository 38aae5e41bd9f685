"""``overseer quickstart``, which ``make run`` is: the whole product on one machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cli.conftest import Overseer, command, own_environment
from tests.ports import free_port

pytestmark = [pytest.mark.postgres]


@pytest.fixture
def fresh(tmpfs_dir: Path) -> Iterator[Overseer]:
    """A machine without an Overseer and, by its PATH, without Docker."""
    with tempfile.TemporaryDirectory(prefix="ovs-qs-") as place:
        environment = own_environment(Path(place), free_port())
        empty = Path(place) / "bin"
        empty.mkdir()
        yield Overseer({**environment, "OVERSEER_TMPFS_ROOT": str(tmpfs_dir / "root"), "PATH": str(empty)})


def _nothing_listens(overseer: Overseer) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(overseer.url.rpartition(":")[2]))) != 0


def _processes_of(overseer: Overseer) -> list[str]:
    """Processes that still use the data directory."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if str(overseer.data_dir).encode() in entry.read_bytes():
                found.append((entry.parent / "cmdline").read_bytes().decode())
        except OSError:
            continue
    return found


def test_without_docker_it_says_so_and_proves_it_with_a_process_twice(fresh: Overseer) -> None:
    first = fresh("quickstart", "--once")
    assert b"no Docker" in first.stderr
    rows = [line.split() for line in first.stdout.decode().splitlines()[1:5]]
    assert [(row[0], row[3], row[-1]) for row in rows] == [
        ("db-password", "environment", "matches"),
        ("api-key", "environment", "matches"),
        ("db-password", "file", "matches"),
        ("api-key", "file", "matches"),
    ]
    assert _nothing_listens(fresh)
    assert _processes_of(fresh) == []
    token = (fresh.data_dir / "owner-token").read_bytes()
    second = fresh("quickstart", "--once")
    assert b"found from before" in second.stderr
    assert b"2 secrets, 0 new" in second.stderr
    assert (fresh.data_dir / "owner-token").read_bytes() == token
    assert token.strip() not in first.stdout + first.stderr + second.stdout + second.stderr
    assert all(path.stat().st_mode & 0o077 == 0 for path in (fresh.data_dir / "log").iterdir())
    (fresh.data_dir / "owner-token").unlink()
    assert b"a new one is in" in fresh("quickstart", "--once").stderr


def test_a_taken_port_is_told_before_anything_is_made(fresh: Overseer) -> None:
    with socket.create_server(("127.0.0.1", int(fresh.url.rpartition(":")[2]))):
        done = fresh("quickstart", "--once", code=78)
    assert b"OVERSEER_LISTEN" in done.stderr
    assert not fresh.data_dir.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_stays_until_a_signal_and_stops_all_that_it_started(fresh: Overseer, number: int) -> None:
    process = subprocess.Popen(
        command("quickstart"), env=fresh.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    told = b""
    while b"Ctrl-C stops" not in told:
        line = process.stdout.readline()
        assert line, told
        told += line
    assert not _nothing_listens(fresh)
    process.send_signal(number)
    told += process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 0, told
    assert _nothing_listens(fresh)
    assert _processes_of(fresh) == []


def test_a_signal_in_the_middle_stops_all_that_was_started(fresh: Overseer) -> None:
    process = subprocess.Popen(
        command("quickstart"), env=fresh.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    deadline = time.monotonic() + 60
    while _nothing_listens(fresh):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    told = process.stdout.read()
    process.stdout.close()
    assert process.wait(60) == 130, told
    assert _nothing_listens(fresh)
    assert _processes_of(fresh) == []


@pytest.mark.docker
def test_with_docker_the_example_is_deployed_and_taken_away(
    fresh: Overseer, docker_engine: list[str], compose_binary: list[str]
) -> None:
    done = fresh("quickstart", "--once", PATH=os.environ["PATH"])
    rows = [line for line in done.stdout.decode().splitlines() if line.endswith("matches")]
    assert [row.split()[0] for row in rows] == ["api-key", "db-password"]
    assert "docker secret" in rows[1]
    assert all("environment" in row and "worker" in row for row in rows)
    left = subprocess.run(
        [*docker_engine, "ps", "--all", "--quiet", "--filter", "label=com.docker.compose.project=shop-demo"],
        capture_output=True,
        check=True,
    )
    assert left.stdout == b""
    assert not list(Path(fresh.environment["OVERSEER_TMPFS_ROOT"]).glob("apps/*"))
