"""Plans and deployments through the command line: a real server, and nodes that talk as agents do without an engine."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cli.conftest import Overseer, command
from tests.e2e.cli.hand_agent import HandAgent

pytestmark = [pytest.mark.postgres]

COMPOSE = """\
services:
  web:
    image: nginx
    environment: {P: "${SECRET:deploy-db}"}
  reader:
    image: nginx
    secrets: [key]
secrets:
  key: {external: true, name: deploy-key}
"""
PLACE = ("--app", "deployed", "--env", "rollout-stage")


@pytest.fixture(scope="module")
def agents(overseer: Overseer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[HandAgent]]:
    overseer("app", "create", "deployed")
    overseer("env", "create", "rollout-stage")
    overseer("secret", "set", "deploy-db", "--app", "deployed", "--stdin", stdin=b"cAnArY-1")
    overseer("secret", "set", "deploy-key", "--app", "deployed", "--stdin", stdin=b"cAnArY-2")
    home = tmp_path_factory.mktemp("nodes")
    made = []
    for name in ("north", "south", "west"):
        overseer("node", "create", name)
        made.append(HandAgent(overseer, name, home / name))
    with made[0], made[1], made[2]:
        yield made


@pytest.fixture
def stack(tmp_path: Path) -> Path:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    return tmp_path


def said(done: Any) -> Any:
    return json.loads(done.stdout)


def deployed(overseer: Overseer, stack: Path, *more: str, code: int = 0) -> Any:
    return said(overseer("deploy", str(stack), *PLACE, *more, "--json", code=code))


def test_a_plan_is_kept_and_what_changed_is_said(overseer: Overseer, agents: list[HandAgent], stack: Path) -> None:
    first = overseer("plan", str(stack), *PLACE, "--node", "north", code=2)
    assert b"cAnArY" not in first.stdout + first.stderr
    assert b"2 to create; plan " in first.stdout
    digest = first.stdout.decode().split()[-1]
    assert deployed(overseer, stack, "--node", "north", "--plan", digest)["plan"] == digest
    nothing = said(overseer("plan", *PLACE, "--node", "north", "--json"))
    assert (nothing["changes"], {one["effect"] for one in nothing["services"]}) == (False, {"nothing"})
    overseer("secret", "set", "deploy-db", "--app", "deployed", "--env", "rollout-stage", "--stdin", stdin=b"cAnArY-3")
    late = overseer("deploy", str(stack), *PLACE, "--node", "north", "--plan", nothing["digest"], code=75)
    assert b"references.deploy-db: version 1 in the plan, version 1 now, of another secret of that name" in late.stderr
    assert b"effects.web: nothing in the plan, recreate now" in late.stderr
    again = overseer("plan", *PLACE, "--node", "north", code=2).stdout.decode()
    assert "~ web     recreate" in again
    assert "(another secret)" in again


def test_several_nodes_one_after_the_other(overseer: Overseer, agents: list[HandAgent], stack: Path) -> None:
    done = overseer("deploy", str(stack), *PLACE, "--node", "south", "--node", "north", "--node", "west")
    assert [line.split()[:2] for line in done.stdout.decode().splitlines()[1:]] == [
        ["south", "succeeded"],
        ["north", "succeeded"],
        ["west", "succeeded"],
    ]
    told = [line.split()[:2] for line in done.stderr.decode().splitlines()]
    ends = [node for node, state in (line for line in told if len(line) == 2) if state == "succeeded"]
    assert ends == ["south", "north", "west"]


def test_after_a_failure_the_rest_stays_as_it_is(overseer: Overseer, agents: list[HandAgent], stack: Path) -> None:
    agents[1].ends = "failed"
    try:
        group = deployed(overseer, stack, "--node", "north", "--node", "south", "--node", "west", code=76)
    finally:
        agents[1].ends = "succeeded"
    assert [one["state"] for one in group["deployments"]] == ["succeeded", "failed", "superseded"]
    assert group["deployments"][2]["id"] not in agents[2].done


def test_back_to_an_earlier_one_and_verified(overseer: Overseer, agents: list[HandAgent], stack: Path) -> None:
    first = deployed(overseer, stack, "--node", "west")
    overseer("secret", "rotate", "deploy-key", "--app", "deployed", "--immediate")
    agents[2].holds = {"deploy-key": "something else"}
    second = deployed(overseer, stack, "--node", "west")
    agents[2].holds = {}
    seen = said(overseer("deployment", "verify", second["id"], "--json", code=1))
    assert {one["reference"]: one["result"] for one in seen["references"]} == {"deploy-db": "matches", "deploy-key": "differs"}
    back = said(overseer("deployment", "rollback", first["id"], "--json"))
    assert (back["rollback_of"], back["state"], back["bundle"]) == (first["id"], "succeeded", first["bundle"])
    assert {one["name"]: one["version"] for one in back["references"]} == {"deploy-db": 1, "deploy-key": 1}
    assert b"what they should" in overseer("deployment", "verify", back["id"]).stdout
    shown = overseer("deployment", "list", "--node", "west").stdout.decode().splitlines()
    assert shown[1].split()[4:6] == ["rollback", "succeeded"]
    assert "goes back to  " + first["id"] in overseer("deployment", "show", back["id"]).stdout.decode()


def test_who_deletes_a_secret_is_told_first_what_uses_it(overseer: Overseer, agents: list[HandAgent], stack: Path) -> None:
    deployed(overseer, stack, "--node", "west")
    refused = overseer("secret", "delete", "deploy-key", "--app", "deployed", "--yes", code=75).stderr.decode().splitlines()
    used = [line for line in refused if line.startswith("used by ")]
    assert any(line.endswith("(app=deployed env=rollout-stage node=west): deploy-key of reader") for line in used)
    assert refused.index(used[-1]) < next(number for number, line in enumerate(refused) if "error: " in line)


def test_a_deployment_is_watched_to_its_end(overseer: Overseer, agents: list[HandAgent], stack: Path) -> None:
    agents[0].ends = "failed"
    try:
        ordered = deployed(overseer, stack, "--node", "north", "--detach")
        watched = overseer("deployment", "watch", ordered["id"], code=76).stderr.decode()
    finally:
        agents[0].ends = "succeeded"
    assert "  Container web Started" in watched.splitlines()
    assert watched.splitlines()[-1].endswith("failed: not healthy: web")


def test_watching_ends_when_its_time_is_up(overseer: Overseer, agents: list[HandAgent], stack: Path) -> None:
    """A node without an agent: its deployment stays queued, and the watcher is told so when its time is up."""
    overseer("node", "create", "empty")
    ordered = deployed(overseer, stack, "--node", "empty", "--detach")
    watching = subprocess.run(
        command("deployment", "watch", ordered["id"], "--timeout", "2s"),
        capture_output=True, check=False, timeout=120, env=overseer.environment,
    )  # fmt: skip
    assert watching.returncode == 69
    assert b"is still queued after 2 seconds" in watching.stderr


def test_a_wrong_selection_is_refused_before_anything_is_sent(overseer: Overseer, stack: Path) -> None:
    for wrong in ((), ("--node", "north", "--label", "a=b"), ("--label", "a"), ("--node", "north", "--parallel", "0")):
        overseer("deploy", str(stack), *PLACE, *wrong, code=2)
    overseer("deploy", *PLACE, "--node", "north", code=2)
    overseer("plan", *PLACE, "--node", "north", "--bundle", "0", "-f", "compose.yaml", code=2)
