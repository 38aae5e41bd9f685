"""Two nodes of one server over TLS: two agents with two engines on two machines, and what may go wrong between them."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from tests.docker.nodes.conftest import MakeAgent
from tests.docker.nodes.machines import Agent, Cluster, Machine, wait_for
from tests.integration.storage.tls_server import Authority

pytestmark = pytest.mark.docker

# `overseer agent run`, after something that makes its machine a strange one.
RUN = """
import sys
from overseer.agent import session
from overseer.cli.main import main
{strange}
sys.argv = ["overseer", "agent", "run"]
main()
"""
CLOCK = "from datetime import UTC, datetime, timedelta\n"
CLOCK += "session.Session.__init__.__kwdefaults__['clock'] = lambda: datetime.now(UTC) + timedelta({days})"
COMPOSE = """
services:
  web:
    image: overseer-example/shop:1
    command: [sleep, "600"]
    init: true
    stop_grace_period: 1s
    secrets: [key]
secrets: {key: {external: true}}
"""


@dataclass
class Nodes:
    """The two that serve throughout: ``n1`` on the server's machine, ``n2`` on the other, for app ``shop`` only."""

    cluster: Cluster
    first: Agent
    second: Agent
    stack: Path

    def values(self) -> list[bytes]:
        """What the service of the app ``shop`` reads on each."""
        found = []
        for agent in (self.first, self.second):
            [container] = agent.machine.containers("com.docker.compose.project=shop")
            found.append(agent.machine.secret_in(container, "key"))
        return found


@pytest.fixture(scope="module")
def nodes(
    cluster: Cluster, machines: tuple[Machine, Machine], make_agent: MakeAgent, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Nodes]:
    agents = make_agent(machines[0], "n1"), make_agent(machines[1], "n2", OVERSEER_AGENT_APPS="shop")
    for name, agent in zip(("n1", "n2"), agents, strict=True):
        joined = agent.join(cluster.url, cluster.enrolment_token(name))
        assert joined.returncode == 0, joined.stderr.decode()
        agent.start()
        cluster.set_secret("key", f"the key of {name}", "--node", name)
    stack = tmp_path_factory.mktemp("stack")
    (stack / "compose.yaml").write_text(COMPOSE)
    cluster.overseer("app", "create", "shop")
    cluster.overseer("app", "create", "blog")
    yield Nodes(cluster, *agents, stack)
    for agent in agents:  # containers of nodes that are not asked any more would outlive the agents
        if found := agent.machine.containers("com.docker.compose.project"):
            agent.machine.run("rm", "--force", *found)


def test_each_node_gets_its_own_value_and_no_other(nodes: Nodes) -> None:
    nodes.cluster.deploy(nodes.stack, "shop", "--node", "n1", "--node", "n2", "--parallel", "all")
    assert nodes.values() == [b"the key of n1", b"the key of n2"]
    for agent, other in ((nodes.first, b"the key of n2"), (nodes.second, b"the key of n1")):
        files = [path for path in [*agent.root.rglob("*"), *agent.home.rglob("*")] if path.is_file()]
        assert files
        assert not any(other in path.read_bytes() for path in files)
    states = {one["name"]: one["state"] for one in nodes.cluster.json("node", "list")}
    assert (states["n1"], states["n2"]) == ("active", "active")


def test_enrolment_trusts_only_what_the_token_pins(
    cluster: Cluster, nodes: Nodes, make_agent: MakeAgent, tmp_path: Path
) -> None:
    agent = make_agent(nodes.second.machine, "pinned")
    token = cluster.enrolment_token("pinned")
    plain = agent.join(cluster.url.replace("https:", "http:"), token)
    assert plain.returncode != 0
    assert b"refusing plain HTTP" in plain.stderr
    stranger = Authority.make(tmp_path / "stranger.pem")
    agent.settings = {"OVERSEER_CA_FILE": str(stranger.file)}
    other = agent.join(cluster.url, token)
    assert other.returncode != 0
    assert b"does not hold the CA that the token names" in other.stderr
    assert not (agent.home / "agent" / "node.json").exists()
    agent.settings = {}
    damaged = agent.join(cluster.url, token.replace(b"ovse_", b"ovse_x", 1))
    assert damaged.returncode != 0
    assert agent.join(cluster.url, token).returncode == 0  # none of that used it up
    again = make_agent(nodes.first.machine, "again").join(cluster.url, token)
    assert again.returncode != 0
    assert b"was used by another agent already" in again.stderr


def test_the_node_has_the_last_word_on_its_apps(nodes: Nodes) -> None:
    said = nodes.cluster.deploy(nodes.stack, "blog", "--node", "n2", code=76)
    assert "this node does not take app blog" in said
    assert nodes.second.machine.containers("com.docker.compose.project=blog") == []
    nodes.cluster.deploy(nodes.stack, "blog", "--node", "n1")
    assert len(nodes.first.machine.containers("com.docker.compose.project=blog")) == 1


def test_a_revoked_node_is_refused_and_the_others_go_on(cluster: Cluster, nodes: Nodes, make_agent: MakeAgent) -> None:
    agent = make_agent(nodes.second.machine, "leaver")
    assert agent.join(cluster.url, cluster.enrolment_token("leaver")).returncode == 0
    cluster.set_secret("key", "the key of leaver", "--node", "leaver")
    agent.start()
    cluster.deploy(nodes.stack, "blog", "--node", "leaver")
    cluster.overseer("node", "revoke", "leaver", "--yes")
    agent.wait_for_log("this node is not enrolled or was revoked", 30)
    assert b"revoked" in cluster.overseer("deploy", str(nodes.stack), "--app", "blog", "--node", "leaver", code=None).stderr
    assert b"not enrolled or was revoked" in agent.overseer("agent", "status").stdout
    agent.stop()
    cluster.deploy(nodes.stack, "shop", "--node", "n1", "--node", "n2")
    assert nodes.values() == [b"the key of n1", b"the key of n2"]
    for one in (nodes.first, nodes.second):
        assert "revoked" not in one.log()


@pytest.mark.parametrize(("days", "name"), [("minutes=10", "ahead"), ("minutes=-10", "behind")])
def test_a_wrong_clock_is_named_with_both_times(
    cluster: Cluster, nodes: Nodes, make_agent: MakeAgent, days: str, name: str
) -> None:
    agent = make_agent(nodes.second.machine, name)
    assert agent.join(cluster.url, cluster.enrolment_token(name)).returncode == 0
    agent.start([sys.executable, "-c", RUN.format(strange=CLOCK.format(days=days))])
    agent.wait_for_log("set the clocks (NTP)")
    [line] = [line for line in agent.log().splitlines() if "set the clocks" in line][:1]
    assert "by the node's clock and the server's says" in line
    assert any(f" {seconds} seconds apart" in line for seconds in range(590, 611))
    agent.stop()


def test_an_assertion_is_taken_once(cluster: Cluster, nodes: Nodes, make_agent: MakeAgent) -> None:
    """As where a machine is copied, or what it sent is sent again."""
    agent = make_agent(nodes.second.machine, "copied")
    assert agent.join(cluster.url, cluster.enrolment_token("copied")).returncode == 0
    made = agent.home / "assertion"
    strange = f"""
from pathlib import Path
real, kept = session.make_assertion, Path({str(made)!r})
def make_assertion(*arguments):
    if not kept.exists():
        kept.write_text(real(*arguments))
    return kept.read_text()
session.make_assertion = make_assertion
"""
    program = [sys.executable, "-c", RUN.format(strange=strange)]
    agent.start(program)
    agent.wait_for_log("asking ")
    wait_for(made.exists, 120)
    wait_for(lambda: seen(cluster, "copied"), 120)
    assert "used before" not in agent.log()
    agent.stop()
    agent.start(program)
    agent.wait_for_log("this assertion was used before")
    agent.stop()


def test_agents_come_back_after_the_server_and_take_no_other(cluster: Cluster, nodes: Nodes, tmp_path: Path) -> None:
    cluster.stop(signal.SIGKILL)
    nodes.second.wait_for_log("no work from the server")
    # Somebody else's server at the same address, with everything but the CA's key.
    chain, real = cluster.home / "chain.pem", (cluster.home / "chain.pem").read_bytes()
    key = (cluster.home / "server.key").read_bytes()
    stranger = Authority.make(cluster.home / "ca2.pem")
    stranger.issue(cluster.home, [x509.IPAddress(ip_address(cluster.machine.address))])
    chain.write_bytes((cluster.home / "server.crt").read_bytes() + stranger.file.read_bytes())
    trusted, cluster.authority = cluster.authority, stranger.file
    try:
        cluster.start()
        nodes.second.wait_for_log("certificate", 30)
        cluster.stop()
    finally:
        cluster.authority = trusted
        chain.write_bytes(real)
        (cluster.home / "server.key").write_bytes(key)
    cluster.start()
    nodes.cluster.set_secret("key", "a newer key of n2", "--node", "n2")
    nodes.cluster.deploy(nodes.stack, "shop", "--node", "n1", "--node", "n2", "--wait", "60s")
    assert nodes.values() == [b"the key of n1", b"a newer key of n2"]



def seen(cluster: Cluster, name: str) -> bool:
    """Whether that node has asked for work."""
    return any(one["name"] == name and one["last_seen_at"] for one in cluster.json("node", "list"))
