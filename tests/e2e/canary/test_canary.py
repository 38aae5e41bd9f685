"""The second invariant: a value appears nowhere but where somebody asked for it.

A real server with its database, a real agent and a real engine handle canaries (see ``story``); then everything is searched that
is left of it. The exceptions, all of them:

- answers to reveal and resolve, the output of ``secret get``, and what ``overseer run`` gives to its program;
- the tokens, sessions, invitations and second factors in the answers that make them, and the owner's token in its file
  ``owner-token``;
- of the two references that the plan marks ``persists``, and only of those: the engine's own files of that one container (their
  path holds its id) and the metadata database of containerd, which keeps a copy of the container's configuration and does not
  wipe pages that it freed.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from examples.shop.images import ensure_image
from tests.e2e.canary.disk import LARGEST, changed_since, disks, is_core
from tests.e2e.canary.markers import Canaries, Marks
from tests.e2e.canary.people import sign_people_in
from tests.e2e.canary.processes import ProcessWatch
from tests.e2e.canary.search import Finding, Search, files_below
from tests.e2e.canary.story import PERSISTING, Story
from tests.e2e.canary.system import System, docker

pytestmark = [pytest.mark.docker, pytest.mark.postgres]
CONTAINERD_METADATA = "io.containerd.metadata.v1.bolt/meta.db"


@dataclass
class Evidence:
    """What is left when everything has happened. ``disk_before`` is from the time when the containers ran."""

    home: Path
    memory: Path
    engine: Path
    container: str
    search: Search
    watch: ProcessWatch
    answers: int
    leaks: list[Finding]
    tables: dict[str, list[Finding]]
    disk_before: list[Finding]
    disk_after: list[Finding]
    searched: set[Path]


@pytest.fixture(scope="module")
def evidence(docker_engine: list[str]) -> Iterator[Evidence]:
    """The whole story, once."""
    ensure_image(docker_engine)
    engine = Path(docker(docker_engine, "info", "--format", "{{.DockerRootDir}}"))
    if not engine.is_dir() or not os.path.ismount("/dev/shm"):
        pytest.skip("the engine's data or a tmpfs cannot be read here")
    home = Path(tempfile.mkdtemp(prefix="ovs-canary-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="ovs-canary-", dir="/dev/shm"))
    try:
        yield _happened(docker_engine, engine, home, memory)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(memory, ignore_errors=True)


def _happened(docker_engine: list[str], engine: Path, home: Path, memory: Path) -> Evidence:
    (stamp := home / "stamp").touch()
    canaries = Canaries(Marks.new())
    search = Search(canaries)
    for path in (home / "data", home / "sealed", home / "project", memory / "scratch"):
        path.mkdir(mode=0o700)
    with ProcessWatch(search) as watch:
        system = System(home / "data", memory / "secrets", search, watch)
        sealed = System(home / "sealed", memory / "none", search, watch, OVERSEER_SEAL="passphrase")
        story = Story(system, canaries, search, docker_engine, memory / "scratch", home / "project")
        try:
            story.set_up()
            sign_people_in(system, canaries, search)
            story.put_in()
            story.take_out()
            story.deploy()
            story.be_refused()
            story.fail_to_deploy()
            story.break_the_store()
            story.kill_the_agent()
            story.try_a_passphrase(sealed)
            story.look_around()
            system.sql("CHECKPOINT")
            disk_before, _ = _searched(search, stamp, home)
            story.undeploy()
            tables = {f"{one.url} {name}": search.in_bytes(rows, name) for one in (system, sealed) for name, rows in one.tables()}
        finally:
            for one in (system, sealed):
                one.stop_all()
            story.remove_containers()
    disk_after, searched = _searched(search, stamp, home)
    leaks = system.leaks + sealed.leaks
    return Evidence(
        home, memory, engine, story.container, search, watch, system.answers, leaks, tables, disk_before, disk_after, searched
    )


def _searched(search: Search, stamp: Path, home: Path) -> tuple[list[Finding], set[Path]]:
    """Findings in all that changed on disk, and what that was. Of unknown node tokens only ours count: others run tests, too."""
    files = {*changed_since(stamp), *files_below(home)}
    found = [one for one in search.in_files(files) if one.form != "token" or one.place.startswith(str(home))]
    return found, files


def test_what_was_asked_for_nothing_else_was_told(evidence: Evidence) -> None:
    assert evidence.answers > 150
    assert evidence.leaks == []


def test_no_table_holds_a_canary(evidence: Evidence) -> None:
    assert len(evidence.tables) > 40
    assert {name: found for name, found in evidence.tables.items() if found} == {}


def test_no_file_holds_a_canary_while_containers_run(evidence: Evidence) -> None:
    excepted = [one for one in evidence.disk_before if _is_excepted(one, evidence)]
    assert [one for one in evidence.disk_before if one not in excepted] == []
    # The engine's files were searched: what persists was found there.
    assert {one.purpose for one in excepted} >= PERSISTING


def test_no_file_holds_a_canary_after_undeploy(evidence: Evidence) -> None:
    assert [one for one in evidence.disk_after if not _is_excepted(one, evidence)] == []
    assert [one for one in evidence.disk_after if evidence.container in one.place] == []


def _is_excepted(one: Finding, evidence: Evidence) -> bool:
    if one.purpose == "owner's token":
        return one.place.startswith(str(evidence.home)) and one.place.endswith("/owner-token")
    engines = evidence.container in one.place or (
        one.place.startswith(str(evidence.engine)) and one.place.endswith(CONTAINERD_METADATA)
    )
    return one.purpose in PERSISTING and engines


def test_all_that_matters_was_searched(evidence: Evidence) -> None:
    names = {str(path.relative_to(evidence.home)) for path in evidence.searched if path.is_relative_to(evidence.home)}
    assert {"data/log/server.log", "data/log/agent.log", "data/postgres.log", "sealed/log/server.log"} <= names
    assert sum("/pg_wal/" in name for name in names) >= 2
    assert sum("/postgres/base/" in name for name in names) > 100
    assert any(path.is_relative_to(evidence.engine) for path in evidence.searched)
    assert any(evidence.home.is_relative_to(place) for place in disks())
    assert all(path.stat().st_size < LARGEST for path in evidence.searched if path.exists() and evidence.home in path.parents)


def test_memory_is_wiped(evidence: Evidence) -> None:
    shutil.rmtree(evidence.memory / "scratch")
    assert evidence.search.in_files(files_below(evidence.memory)) == []


def test_no_process_shows_a_canary(evidence: Evidence) -> None:
    assert evidence.watch.findings == set()
    assert len(evidence.watch.seen) > 50
    assert len(evidence.watch.environments_of) > 10


def test_a_crash_left_no_core(evidence: Evidence) -> None:
    assert "a worker ended" in (evidence.home / "data/log/server.log").read_text()
    assert [path for path in evidence.searched if is_core(path)] == []


def test_the_logs_told_something(evidence: Evidence) -> None:
    assert (evidence.home / "data/log/server.log").read_text().count("\n") > 100
    assert "deployment" in (evidence.home / "data/log/agent.log").read_text()
