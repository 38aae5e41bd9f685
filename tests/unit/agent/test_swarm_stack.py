"""When a service of a Swarm counts as well, by what Docker's own commands say of it and of its tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from overseer.agent.engine import Engine, Outcome
from overseer.agent.swarm_stack import Service, SwarmStack

SECONDS = 1_000_000_000
TASK = {"ContainerSpec": {"Image": "example/shop:1", "Init": True}, "ForceUpdate": 0}


class Docker(Engine):
    """Answers with one service and two running tasks of it."""

    def __init__(self, service: dict[str, Any], task: dict[str, Any]) -> None:
        super().__init__(docker=["docker"], compose=["docker", "compose"], environment={})
        spec = {"Name": "shop_web", "Mode": {"Replicated": {"Replicas": 2}}, "TaskTemplate": service}
        self.described = {
            "service": [{"ID": "s1", "Spec": spec}],
            "task": [
                {"ID": name, "ServiceID": "s1", "Spec": task, "Status": {"State": "running"}, "DesiredState": "running"}
                for name in ("t1", "t2")
            ],
        }

    def run(self, command: Sequence[str], **_: Any) -> Outcome:
        match list(command[len(self.docker) :]):
            case ["inspect", "--type", kind, *_]:
                return Outcome(0, json.dumps(self.described[kind]).encode(), b"")
            case ["service", "ps", *_]:
                return Outcome(0, b"t1\nt2\n", b"")
            case ["service", "ls", *_]:
                return Outcome(0, b"s1\n", b"")
        return Outcome(0, b"n1\n", b"")


def web(service: dict[str, Any], task: dict[str, Any], root: Path) -> Service:
    [found] = SwarmStack(Docker(service, task), "shop", root).services()
    return found


def test_a_default_that_docker_fills_in_makes_no_other_task(tmp_path: Path) -> None:
    # `docker inspect --type service` asks for defaults: the service has a grace period that none of its tasks has.
    filled = {**TASK, "ContainerSpec": {**TASK["ContainerSpec"], "StopGracePeriod": 10 * SECONDS, "DNSConfig": {}}}  # type: ignore[dict-item]
    assert web(filled, TASK, tmp_path).is_well
    assert web(filled, filled, tmp_path).is_well


@pytest.mark.parametrize("changed", [{"Image": "example/shop:2"}, {"StopGracePeriod": 30 * SECONDS}])
def test_a_task_of_another_specification_is_not_the_one_that_is_waited_for(changed: dict[str, Any], tmp_path: Path) -> None:
    newest = {**TASK, "ContainerSpec": {**TASK["ContainerSpec"], **changed}}  # type: ignore[dict-item]
    assert not web(newest, TASK, tmp_path).is_well
    assert web(newest, newest, tmp_path).is_well
