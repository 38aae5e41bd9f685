"""A Swarm of two engines, whose manager is a node: secrets reach tasks on both, change with a new version, and go."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.docker.nodes.conftest import MakeAgent
from tests.docker.nodes.machines import OVERSEER, Agent, Cluster, Machine, wait_for
from tests.e2e.stores.how_to import HowTo, Reader

pytestmark = pytest.mark.docker

VALUES = ("CanaryOfTheFirstVersion", "CanaryOfTheSecondVersion")
# VIPs need IPVS, which not every kernel has: names lead to the tasks themselves.
COMPOSE = """
services:
  web:
    image: overseer-example/shop:1
    command: [sleep, "600"]
    init: true
    stop_grace_period: 1s
    environment: {PLAIN: "cost: 5$$"}
    secrets:
      - password
      - {source: token, target: /etc/app/token, uid: "1000", gid: "1001", mode: 0400}
    deploy:
      mode: global
      endpoint_mode: dnsrr
      update_config: {monitor: 1s, order: start-first, parallelism: 2}
      restart_policy: {delay: 1s}
    healthcheck: {test: [CMD, test, -f, /run/secrets/password], interval: 1s}
secrets:
  password: {external: true}
  token: {external: true, name: api-token}
"""


@dataclass
class Swarm:
    """``manager`` is where the agent is; ``stack`` the directory of the Compose file."""

    cluster: Cluster
    agent: Agent
    manager: Machine
    worker: Machine
    stack: Path

    def deploy(self, *, app: str = "mall", code: int = 0) -> str:
        return self.cluster.deploy(self.stack, app, "--node", "manager", "--target", "swarm", "--wait", "40s", code=code)

    def plan(self, *more: str, app: str = "mall") -> Any:
        """What a deployment of the stack would do now."""
        command = ("plan", str(self.stack), "--app", app, "--node", "manager", *more, "--json")
        return json.loads(self.cluster.overseer(*command, code=None).stdout)

    def drift(self, app: str = "mall") -> set[tuple[str, str | None]]:
        """Kind and secret of all that is not as it was deployed."""
        return {(one["kind"], one["name"]) for one in self.cluster.json("drift", "--app", app)}

    def said_here(self, app: str = "mall") -> Any:
        """What the agent's own command says about the project."""
        projects = json.loads(self.agent.overseer("agent", "status", "--json").stdout)["projects"]
        return next(one for one in projects if one["app"] == app)

    def task(self, machine: Machine, app: str = "mall") -> str:
        """The container of the one service there, once the one before it has ended."""
        label = f"com.docker.stack.namespace={app}"
        wait_for(lambda: len(machine.containers(label)) == 1, 180)
        [container] = machine.containers(label)
        return container

    def secrets(self, app: str = "mall") -> list[str]:
        listed = self.manager.run("secret", "ls", "--filter", f"label=overseer.project={app}", "--format", "{{.Name}}")
        return sorted(listed.decode().split())


@pytest.fixture(scope="module")
def swarm(
    cluster: Cluster, machines: tuple[Machine, Machine], make_agent: MakeAgent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Swarm]:
    manager, worker = machines
    manager.run("swarm", "init", "--advertise-addr", manager.address, "--listen-addr", f"{manager.address}:2377")
    token = manager.run("swarm", "join-token", "--quiet", "worker").decode().strip()
    worker.run("swarm", "join", "--token", token, "--advertise-addr", worker.address, f"{manager.address}:2377")
    agent = make_agent(manager, "manager", OVERSEER_AGENT_HOLDINGS_SECONDS="1")
    assert agent.join(cluster.url, cluster.enrolment_token("manager")).returncode == 0
    agent.start()
    stack = tmp_path_factory.mktemp("stack")
    (stack / "compose.yaml").write_text(COMPOSE)
    for app in ("mall", "kiosk"):
        cluster.overseer("app", "create", app)
        cluster.set_secret("password", VALUES[0], "--app", app)
        cluster.set_secret("api-token", "a token", "--app", app)
    yield Swarm(cluster, agent, manager, worker, stack)
    agent.stop()
    for machine in (worker, manager):
        machine.run("swarm", "leave", "--force")


def objects(plan: Any) -> dict[str, list[str]]:
    """The Swarm's secrets of a plan, by what becomes of them."""
    found: dict[str, list[str]] = {}
    for one in plan["swarm_secrets"]:
        found.setdefault(one["change"], []).append(one["name"])
    return found


def test_a_life_of_a_stack(swarm: Swarm, tmp_path: Path) -> None:
    planned = swarm.plan("--target", "swarm")
    said = swarm.deploy()
    assert VALUES[0] not in said
    for machine in (swarm.manager, swarm.worker):
        task = swarm.task(machine)
        assert machine.secret_in(task, "password") == VALUES[0].encode()
        shown = machine.run("exec", task, "stat", "-c", "%a %u %g", "/etc/app/token").split()
        assert shown == [b"400", b"1000", b"1001"]
        assert b"\nPLAIN=cost: 5$\n" in machine.run("exec", task, "env")
    first = swarm.secrets()
    assert [name.split(".")[:2] for name in first] == [["mall_api-token", "v1"], ["mall_password", "v1"]]
    # The plan named what was made; what runs is known to be a stack.
    assert ([one["effect"] for one in planned["services"]], objects(planned)) == (["create"], {"create": first})
    same = swarm.plan()
    assert (same["target"], same["changes"], objects(same)) == ("swarm", False, {"keep": first})
    # What the tasks on the manager's own engine hold is proven; the same file again changes nothing.
    before = [swarm.task(machine) for machine in (swarm.manager, swarm.worker)]
    deployment = swarm.cluster.json("deployment", "list", "--app", "mall")[0]
    held = swarm.cluster.json("deployment", "show", deployment["id"])
    assert {one["name"]: one["matches"] for one in held["references"]} == {"password": True, "api-token": True}
    assert "this Swarm is not locked" in held["output"]
    swarm.deploy()
    assert [swarm.task(machine) for machine in (swarm.manager, swarm.worker)] == before
    status = swarm.said_here()
    assert (status["target"], status["containers"]) == ("swarm", ["web: 2 of 2 running"])
    assert swarm.drift() == set()
    # A new version reaches both by an update, and what nothing uses any more goes: as the plan says that it would.
    swarm.cluster.overseer("secret", "rotate", "password", "--app", "mall", "--stdin", stdin=VALUES[1].encode())
    wait_for(lambda: swarm.secrets() not in (first, []) and len(swarm.secrets()) == 2, 180, swarm.agent.log)
    for machine in (swarm.manager, swarm.worker):
        assert machine.secret_in(swarm.task(machine), "password") == VALUES[1].encode()
        assert machine.secret_in(swarm.task(machine), "password") != VALUES[0].encode()
    assert [name.split(".")[1] for name in swarm.secrets()] == ["v1", "v2"]
    assert swarm.secrets()[0] == first[0]
    wait_for(lambda: swarm.cluster.json("deployment", "list", "--app", "mall")[0]["state"] == "succeeded", 60, swarm.agent.log)
    # Another version that is put to use at once is planned before it is deployed.
    swarm.cluster.overseer("secret", "set", "api-token", "--app", "mall", "--stdin", "--immediate", stdin=b"another")
    plan = swarm.plan("--target", "swarm")
    [web] = plan["services"]
    assert (web["effect"], web["certain"], plan["changes"]) == ("update", True, True)
    assert web["because"] == [
        "api-token 1 -> 2: it is another secret",
        "its tasks are replaced: 2 at a time, each new one starts before the old one stops",
    ]
    changes = objects(plan)
    assert (changes["remove"], changes["keep"]) == ([first[0]], [swarm.secrets()[1]])
    swarm.deploy()
    assert swarm.secrets() == sorted(changes["create"] + changes["keep"])
    # What somebody else does to the services is drift: a secret that is taken away, a service that does not run any more.
    token = changes["create"][0]
    swarm.manager.run("service", "update", "--detach", "--quiet", "--secret-rm", token, "mall_web")
    wait_for(lambda: swarm.drift() == {("mismatch", "api-token")}, 60, swarm.agent.log)
    swarm.manager.run("service", "rm", "mall_web")
    wait_for(lambda: ("gone", None) in swarm.drift(), 60, swarm.agent.log)
    assert swarm.said_here()["containers"] == []
    swarm.cluster.overseer("undeploy", "--app", "mall", "--node", "manager")
    assert swarm.secrets() == []
    assert swarm.manager.run("service", "ls", "--quiet") == b""
    assert swarm.manager.containers("com.docker.stack.namespace=mall") == []
    for path in [*swarm.agent.root.rglob("*"), *swarm.agent.home.rglob("*")]:
        assert not path.is_file() or not any(value.encode() in path.read_bytes() for value in VALUES), path


def test_a_stack_that_does_not_get_well_becomes_the_former_one(swarm: Swarm) -> None:
    good = COMPOSE
    try:
        swarm.deploy(app="kiosk")
        names = swarm.secrets("kiosk")
        swarm.cluster.overseer("secret", "set", "password", "--app", "kiosk", "--stdin", "--immediate", stdin=b"ill")
        ill = good.replace('[sleep, "600"]', '["false"]').replace("start-first", "stop-first")
        (swarm.stack / "compose.yaml").write_text(ill)
        said = swarm.deploy(app="kiosk", code=76)
        assert "the former one is back" in said
        for machine in (swarm.manager, swarm.worker):
            assert machine.secret_in(swarm.task(machine, "kiosk"), "password") == VALUES[0].encode()
        assert swarm.secrets("kiosk") == names
        command = ("plan", str(swarm.stack), "--app", "kiosk", "--node", "manager", "--target", "compose")
        planned = swarm.cluster.overseer(*command, code=75)
        assert b"undeploy it before it is deployed with --target compose" in planned.stderr
        # A stack is not turned into a project of plain Compose under way.
        (swarm.stack / "compose.yaml").write_text(good)
        said = swarm.cluster.deploy(swarm.stack, "kiosk", "--node", "manager", code=76)
        assert "undeploy it before it is deployed with --target compose" in said
    finally:
        (swarm.stack / "compose.yaml").write_text(good)
        swarm.cluster.overseer("undeploy", "--app", "kiosk", "--node", "manager", code=None)


def test_what_only_one_node_has_is_refused_before_anything_changes(swarm: Swarm) -> None:
    volumes = "    volumes: ['/etc/secrets/password:/run/key:ro', './conf:/conf:ro']\n"
    bind = COMPOSE.replace("    deploy:\n", f"{volumes}    deploy:\n")
    (swarm.stack / "conf").mkdir()
    (swarm.stack / "conf" / "a").write_text("a")
    try:
        (swarm.stack / "compose.yaml").write_text(bind)
        notes = " ".join(swarm.plan("--target", "swarm")["notes"])
        said = swarm.deploy(code=76)
        assert "name the secret under 'secrets:' with 'external: true'" in notes
        assert "files of the bundle lie on one" in notes
        assert "name the secret under 'secrets:' with 'external: true'" in said
        assert "files of the bundle lie on one" in said
        (swarm.stack / "compose.yaml").write_text(COMPOSE.replace("init: true", "init: true\n    mem_limit: 64m"))
        said = swarm.deploy(code=76)
        assert "mem_limit" in said
        assert swarm.secrets() == []
        assert b"mall" not in swarm.manager.run("service", "ls")
    finally:
        (swarm.stack / "compose.yaml").write_text(COMPOSE)


def test_the_secrets_of_somebody_elses_service_move_in(swarm: Swarm, tmp_path: Path) -> None:
    """``move-from-swarm.md``: read where one is mounted, every byte."""
    manager, cluster = swarm.manager, swarm.cluster
    value = b"kept for years\x00\xff\n"
    manager.run("secret", "create", "db_password", "-", stdin=value)
    image = ("--secret", "db_password", "--constraint", "node.role==manager", "overseer-example/shop:1")
    manager.run("service", "create", "--quiet", "--name", "theirs", "--detach", *image, "sleep", "600")
    wait_for(lambda: len(manager.containers("com.docker.swarm.service.name=theirs")) == 1, 180)
    [container] = manager.containers("com.docker.swarm.service.name=theirs")
    cluster.overseer("app", "create", "theirs")
    places = {"docker exec CONTAINER": shlex.join([*manager.docker, "exec", container]), "--app shop": "--app theirs"}
    page = HowTo("move-from-swarm.md", places)
    page.puts("overseer secret", shlex.join([*cluster.machine.within(OVERSEER), "secret"]))
    page.run(Reader(tmp_path, cluster.environment), "/run/secrets/db_password")
    assert cluster.overseer("secret", "get", "db-password", "--app", "theirs").stdout == value
    manager.run("service", "rm", "theirs")


def test_a_worker_takes_no_stack(swarm: Swarm, make_agent: MakeAgent) -> None:
    agent = make_agent(swarm.worker, "worker")
    assert agent.join(swarm.cluster.url, swarm.cluster.enrolment_token("worker")).returncode == 0
    agent.start()
    said = swarm.cluster.deploy(swarm.stack, "mall", "--node", "worker", "--target", "swarm", code=76)
    assert "is not a manager of a Swarm" in said
    agent.stop()
