"""The agent as a process of its own: killed, told to stop, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docker.agent.daemon import CANARY, RUN, Daemon, wait_for
from tests.unit.agent.agent_server import work

pytestmark = pytest.mark.docker

def test_a_life(daemon: Daemon, project_name: str) -> None:
    process = daemon.start()
    deployment = daemon.deploy(project_name, "[CMD, test, -f, /run/secrets/pw]")
    wait_for(lambda: daemon.states(deployment) == ["applying", "succeeded"])
    report = daemon.server.reports[-1][1]
    assert {one["reference"] for one in report["fingerprints"]} == {"pw"}
    assert [one["health"] for one in report["services"]] == ["healthy"]
    assert CANARY not in str(daemon.server.reports)
    # Nothing of it is in the agent's memory image for others, its arguments, its environment or its log.
    limits = Path(f"/proc/{process.pid}/limits").read_text()
    assert next(line for line in limits.splitlines() if line.startswith("Max core file size")).split()[4:6] == ["0", "0"]
    for name in ("cmdline", "environ"):
        assert CANARY.encode() not in Path(f"/proc/{process.pid}/{name}").read_bytes()
    second = subprocess.run([sys.executable, "-c", RUN], env=daemon.environment, capture_output=True, check=False, timeout=120)
    assert b"another agent uses" in second.stderr
    process.send_signal(signal.SIGTERM)
    assert process.wait(15) == 0
    assert daemon.files() != []  # the containers go on, and so do their files
    process = daemon.start()
    daemon.server.work.append(gone := work("undeploy", project_name))
    wait_for(lambda: daemon.states(gone["deployment_id"]) == ["applying", "succeeded"])
    assert daemon.files() == []
    process.send_signal(signal.SIGINT)
    assert process.wait(15) == 0
    assert list(daemon.root.iterdir()) == []
    assert CANARY not in daemon.log.read_text()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_an_agent_that_ends_in_the_middle_does_it_again(
    daemon: Daemon, project_name: str, docker_engine: list[str], end: signal.Signals
) -> None:
    process = daemon.start()
    deployment = daemon.deploy(project_name, "[CMD, test, -f, /tmp/ready]")
    listing = [*docker_engine, "ps", "--quiet", "--filter", f"label=com.docker.compose.project={project_name}"]
    wait_for(lambda: subprocess.run(listing, check=True, capture_output=True).stdout)
    process.send_signal(end)
    process.wait(20)
    assert daemon.states(deployment) == ["applying"]
    # A killed agent cannot end its Compose; that one keeps the project locked for as long as it works.
    assert daemon.is_locked(project_name) == (end is signal.SIGKILL)
    container = subprocess.run(listing, check=True, capture_output=True).stdout.split()[0].decode()
    subprocess.run([*docker_engine, "exec", container, "sh", "-c", "mkdir -p /tmp; touch /tmp/ready"], check=True)
    daemon.start()
    wait_for(lambda: "succeeded" in daemon.states(deployment))
    again = subprocess.run(listing, check=True, capture_output=True).stdout.split()
    assert again == [container.encode()]  # what was right already was kept
    assert "interrupted; it comes again" in daemon.log.read_text()
    assert [path.name for path in daemon.root.rglob("work/*")] == []


def test_a_machine_that_is_no_node(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "OVERSEER_DATA_DIR": str(tmp_path)}
    ended = subprocess.run([sys.executable, "-c", RUN], env=environment, capture_output=True, check=False, timeout=120)
    assert ended.returncode != 0
    assert b"overseer agent join" in ended.stderr
