"""Installations with a short path each (a socket's path has at most 107 bytes), removed afterwards."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from overseer.core.errors import ConfigurationProblem
from tests.integration.server_process.installation import Installation, RunningServer


@pytest.fixture(scope="module")
def short_dir() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="ovs-"))
    if os.geteuid() == 0:
        path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="module")
def installation(short_dir: Path) -> Iterator[Installation]:
    """An initialised installation with the file seal and a running PostgreSQL."""
    try:
        made = Installation(short_dir / "data")
    except ConfigurationProblem as problem:
        pytest.skip(problem.message)
    yield made
    made.postgres.stop()


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[[dict[str, str]], RunningServer]]:
    """Starts servers and stops them at the end of the test."""
    started: list[RunningServer] = []

    def start(settings: dict[str, str]) -> RunningServer:
        started.append(RunningServer(settings, tmp_path / f"server-{len(started)}.log"))
        return started[-1]

    yield start
    for server in started:
        server.stop()
