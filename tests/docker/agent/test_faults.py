"""The agent, Compose and the machine's memory end at every step of a deployment over one that runs."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.docker.agent.daemon import Daemon, wait_for
from tests.unit.client.scripted_server import Asked

pytestmark = pytest.mark.docker

IMAGE = "overseer-example/shop:1"
FAST = f"image: {IMAGE}\n    init: true\n    stop_grace_period: 1s\n    command: [sleep, '600']"
COMPOSE = f"""
services:
  a-variable:
    {FAST}
    environment: {{PW: "${{SECRET:pw}}"}}
  b-variable:
    {FAST}
    environment: {{PW: "${{SECRET:pw}}"}}
  files:
    {FAST}
    restart: always
    secrets: [pw]
secrets: {{pw: {{external: true}}}}
"""
OLD, NEW = "the-old-value-" * 1000, "the-new-value-" * 1000
#: Does to the agent or to itself what the file beside it says, once, when ``up`` is about to begin or has begun.
WRAPPER = """#!/bin/sh
if [ -f "$FAULT" ] && case " $* " in *" up "*) true;; *) false;; esac; then
  read -r what < "$FAULT"; rm "$FAULT"
  case "$what" in
    agent-before) kill -9 "$PPID"; exit 1;;
    compose-before) kill -9 $$;;
    compose-during) "$REAL" "$@" & sleep 0.4; kill -9 $!; exit 137;;
  esac
fi
exec "$REAL" "$@"
"""


class Fleet:
    """One daemon over a running project, and the engine's side of it."""

    def __init__(self, daemon: Daemon, docker: list[str], compose: list[str], project: str, place: Path) -> None:
        self.daemon, self.docker, self.project = daemon, docker, project
        self.fault, wrapper = place / "fault", place / "compose"
        if len(compose) > 1:
            real = place / "real"
            real.write_text(f'#!/bin/sh\nexec {" ".join(compose)} "$@"\n')
            real.chmod(0o755)
            compose = [str(real)]
        wrapper.write_text(WRAPPER.replace("$REAL", compose[0]).replace("$FAULT", str(self.fault)))
        wrapper.chmod(0o755)
        daemon.environment["OVERSEER_COMPOSE"] = str(wrapper)
        daemon.start()
        self.first = daemon.order(project, COMPOSE, OLD)
        wait_for(lambda: "succeeded" in daemon.states(self.first))

    def ids(self) -> dict[str, str]:
        chosen = ["--filter", f"label=com.docker.compose.project={self.project}"]
        listed = self.run("ps", *chosen, "--no-trunc", "--format", '{{.Label "com.docker.compose.service"}} {{.ID}}').split("\n")
        return dict(line.split(" ") for line in listed if line)

    def run(self, *arguments: str) -> str:
        return subprocess.run([*self.docker, *arguments], check=True, capture_output=True, text=True, timeout=180).stdout

    def values(self) -> dict[str, str]:
        """What each container holds, whole."""
        found = {}
        for service, one in self.ids().items():
            argv = ["cat", "/run/secrets/pw"] if service == "files" else ["sh", "-c", 'printf %s "$PW"']
            found[service] = self.run("exec", one, *argv)
        return found

    def left(self) -> list[str]:
        """What should not be there between deployments."""
        sets = list(self.daemon.root.rglob("..set-*"))
        more = [path for path in self.daemon.root.rglob("*") if path.name == "..former" or "/work/" in str(path)]
        return [str(path) for path in more + sets[1:]]


@pytest.fixture
def fleet(daemon: Daemon, docker_engine: list[str], compose_binary: list[str], project_name: str, tmp_path: Path) -> Fleet:
    return Fleet(daemon, docker_engine, compose_binary, project_name, tmp_path)


def killed(fleet: Fleet) -> None:
    assert fleet.daemon.process is not None
    fleet.daemon.process.wait(30)


def test_a_killed_agent_ends_what_it_began_wherever_it_was(fleet: Fleet) -> None:
    """Three kills in the life of one deployment: before its release, when its files are there, and before its report."""
    daemon = fleet.daemon
    before = fleet.ids()

    def kill_at(name: str, state: str | None = None) -> None:
        def kill(asked: Asked) -> None:
            if state is None or asked.json["state"] == state:
                del daemon.server.before[name]
                assert daemon.process is not None
                os.kill(daemon.process.pid, signal.SIGKILL)
                raise ConnectionAbortedError

        daemon.server.before[name] = kill

    kill_at("release")
    second = daemon.order(fleet.project, COMPOSE, NEW)
    killed(fleet)
    assert fleet.ids() == before
    assert set(fleet.values().values()) == {OLD}
    fleet.fault.write_text("agent-before\n")
    daemon.start()
    killed(fleet)
    assert not fleet.fault.exists()
    assert fleet.ids() == before
    assert fleet.values() == {"a-variable": OLD, "b-variable": OLD, "files": NEW}  # whole, whichever it is
    kill_at("report", "succeeded")
    daemon.start()
    killed(fleet)
    assert daemon.states(second) == ["applying"] * len(daemon.states(second))
    after = fleet.ids()
    daemon.start()
    wait_for(lambda: "succeeded" in daemon.states(second))
    assert fleet.ids() == after  # nothing was left to do but to say so
    assert after["files"] == before["files"]
    assert set(fleet.values().values()) == {NEW}
    assert fleet.left() == []


@pytest.mark.parametrize("fault", ["compose-before", "compose-during"])
def test_a_killed_compose_is_a_failure_that_leaves_the_former_deployment(fleet: Fleet, fault: str) -> None:
    before = fleet.ids()
    fleet.fault.write_text(f"{fault}\n")
    second = fleet.daemon.order(fleet.project, COMPOSE, NEW)
    wait_for(lambda: "failed" in fleet.daemon.states(second))
    report = fleet.daemon.server.reports[-1][1]
    assert "the former deployment was restored" in report["error"], report
    assert set(fleet.values().values()) == {OLD}
    assert fleet.ids()["files"] == before["files"]
    assert fleet.left() == []


def test_after_a_kill_and_a_failure_the_former_files_are_back(fleet: Fleet) -> None:
    """The set of files to go back to outlives the agent that replaced it."""
    fleet.fault.write_text("agent-before\n")
    second = fleet.daemon.order(fleet.project, COMPOSE, NEW)
    killed(fleet)
    assert fleet.values()["files"] == NEW
    fleet.fault.write_text("compose-before\n")
    fleet.daemon.start()
    wait_for(lambda: "failed" in fleet.daemon.states(second))
    assert set(fleet.values().values()) == {OLD}
    assert fleet.left() == []


def test_after_the_loss_of_memory_all_comes_back(fleet: Fleet) -> None:
    daemon = fleet.daemon
    before = fleet.ids()
    assert daemon.process is not None
    daemon.process.terminate()
    daemon.process.wait(15)
    shutil.rmtree(daemon.root)  # what a restart of the machine does to memory
    fleet.run("stop", "--time", "1", before["files"])  # …and to containers: this one cannot start by itself any more
    assert subprocess.run([*fleet.docker, "start", before["files"]], capture_output=True, check=False).returncode != 0
    daemon.environment["OVERSEER_AGENT_HOLDINGS_SECONDS"] = "1"
    daemon.start()
    wait_for(lambda: fleet.ids() == before)
    assert set(fleet.values().values()) == {OLD}
    assert daemon.states(fleet.first)[-1] == "succeeded"
    assert len(daemon.states(fleet.first)) == 2  # it is no new deployment
    wait_for(lambda: daemon.server.holdings)
    [holding] = daemon.server.holdings[:1]
    assert holding["deployment_id"] == fleet.first
    assert {one["service"] for one in holding["fingerprints"]} == {"a-variable", "b-variable", "files"}
    assert {one["state"] for one in holding["services"]} == {"running"}
    assert len({one["fingerprint"] for one in holding["fingerprints"]}) == 1
    # Somebody changes what a container holds: the next look says so, without saying what.
    place = next(daemon.root.rglob("files/run%2Fsecrets/..data/pw")).resolve()
    place.chmod(0o600)
    place.write_text("changed by hand")
    seen = len(daemon.server.holdings)
    wait_for(lambda: len(daemon.server.holdings) > seen)
    prints = {one["service"]: one["fingerprint"] for one in daemon.server.holdings[-1]["fingerprints"]}
    assert prints["files"] != prints["a-variable"] == holding["fingerprints"][0]["fingerprint"]
    assert "changed by hand" not in str(daemon.server.holdings) + daemon.log.read_text()
