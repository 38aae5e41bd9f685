"""Fixtures that start the real thing, and the rule that CI skips nothing.

With ``CI=true`` a skipped test fails the session: on a developer's machine a missing Docker engine is normal, in CI
it means that a part of the product went untested.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

from tests import postgres_server
from tests.scheduling import LongestFirst

if TYPE_CHECKING:  # most tests need none of it, and each process of a run would load it
    from tests.openbao_server import OpenBao
    from tests.vault_administration import VaultAdministrator

SESSION_HOME = "OVERSEER_TEST_SESSION_HOME"  # set by the first process, inherited by the xdist workers
IN_CI = os.environ.get("CI") == "true"

# No deadline: two workers on two cores make single examples slow now and then. CI tries the same examples every time.
settings.register_profile("overseer", deadline=None, derandomize=IN_CI)
settings.load_profile("overseer")


def pytest_configure(config: pytest.Config) -> None:
    if SESSION_HOME not in os.environ:
        # In memory where that is possible: CREATE and DROP DATABASE wait for the disk, and each test does both.
        home = Path(tempfile.mkdtemp(prefix="ovs-", dir="/dev/shm" if os.path.ismount("/dev/shm") else None))
        home.chmod(0o711)  # PostgreSQL's own account must get through to its directory
        os.environ[SESSION_HOME] = str(home)
        config.add_cleanup(_end_session)


def _end_session() -> None:
    home = Path(os.environ.pop(SESSION_HOME))
    for server in home.glob("pg-*"):
        postgres_server.stop(server)
    shutil.rmtree(home, ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Four processes on two cores: half of the tests' time is waiting, for processes that start and for engines. On large
    machines one for each core, as each has a PostgreSQL of its own."""
    cores = len(os.sched_getaffinity(0))
    return max(cores, min(2 * cores, 8))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    """For ``--dist loadfile``, which `make test` says; any other way is xdist's own."""
    return LongestFirst(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent / "docker" in item.path.parents:
            item.add_marker("docker")


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Long texts are often made at random (keys): as names they would differ between the workers, and be printed."""
    return argname if isinstance(val, str | bytes) and len(val) > 40 else None


def pytest_report_header() -> str:
    return "CI=true: a skipped test is a failure" if IN_CI else "a skipped test is allowed: CI is not set to true"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if not hasattr(report, "wasxfail"):  # an expected failure is reported as skipped too, and is no gap
        _refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _refuse_skip(report)
    return report


def _refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    if IN_CI and report.outcome == "skipped":
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"CI=true and this was not run. {reason}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Asynchronous tests run on asyncio, as the server does."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_home() -> Path:
    """The directory of this process's PostgreSQL server, which starts on first use.

    Each xdist worker has its own: an open transaction in any database of a server holds back what can be sealed in all others.
    """
    home = Path(os.environ[SESSION_HOME]) / f"pg-{os.environ.get('PYTEST_XDIST_WORKER', 'all')}"
    try:
        postgres_server.start(home)
    except postgres_server.PostgresMissing as missing:
        pytest.skip(str(missing))
    return home


@pytest.fixture(scope="session")
def postgres_url(postgres_home: Path) -> str:
    """The URL of the superuser's ``postgres`` database, for tests that make databases themselves."""
    return postgres_server.url(postgres_home, "postgres")


@pytest.fixture(scope="session")
def database_template() -> str:
    """The database that ``database_url`` copies. A directory's conftest may override it with a migrated one."""
    return "template0"


@pytest.fixture
def database_url(postgres_home: Path, database_template: str) -> Iterator[str]:
    """The URL of a database of this test's own, dropped afterwards whoever is still connected."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    postgres_server.execute(postgres_home, f"CREATE DATABASE {name} TEMPLATE {database_template}")
    yield postgres_server.url(postgres_home, name)
    postgres_server.execute(postgres_home, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def openbao_session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenBao]:
    """A real OpenBao for the tests of this process, which starts on first use."""
    from tests import openbao_server

    try:
        openbao_server.binary()
    except openbao_server.OpenBaoMissing as missing:
        pytest.skip(str(missing))
    with openbao_server.openbao_server(tmp_path_factory.mktemp("openbao")) as server:
        yield server


@pytest.fixture
def openbao(openbao_session: OpenBao) -> Iterator[OpenBao]:
    """The real OpenBao, unsealed and empty, and emptied again."""
    openbao_session.asked()
    yield openbao_session
    openbao_session.tidy()


@pytest.fixture(params=["double", "openbao"])
def any_vault(request: pytest.FixtureRequest) -> Iterator[VaultAdministrator]:
    """The double of Vault, then a real OpenBao: what holds for one has to hold for the other."""
    from tests.doubles.vault_system import double_vault

    if request.param == "openbao":
        yield request.getfixturevalue("openbao")
        return
    with double_vault() as vault:
        yield vault


@pytest.fixture(scope="session")
def docker_engine() -> list[str]:
    """The command that reaches a Docker engine (``DOCKER_HOST``, else the default socket), to be extended by arguments."""
    docker = shutil.which("docker")
    if docker is None or not _succeeds([docker, "version"]):
        pytest.skip("no Docker engine: start one and set DOCKER_HOST")
    return [docker]


@pytest.fixture(scope="session")
def compose_binary() -> list[str]:
    """The command of Compose v2: Docker's plug-in, else ``docker-compose`` beside the interpreter, else in ``PATH``."""
    beside = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    candidates = [["docker", "compose"], [beside or ""], [shutil.which("docker-compose") or ""]]
    for command in candidates:
        if shutil.which(command[0]) and _succeeds([*command, "version"]):
            return command
    pytest.skip("no Docker Compose v2: make setup installs one beside the interpreter")


def _succeeds(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=90).returncode == 0
    except subprocess.TimeoutExpired:
        return False


@pytest.fixture
def tmpfs_dir() -> Iterator[Path]:
    """A private directory in memory, as plaintext may only be written to one."""
    if not os.path.ismount("/dev/shm"):
        pytest.skip("no tmpfs: /dev/shm is not a mount")
    path = Path(tempfile.mkdtemp(prefix="ovs-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)
