"""Two machines for the tests of this directory, gone afterwards also where the tests were killed."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from examples.shop.images import ensure_image
from tests.docker.nodes.machines import Agent, Cluster, Machine
from tests.integration.storage.tls_server import Authority

ROOT = Path(__file__).resolve().parents[3]
MakeAgent = Callable[..., Agent]


@pytest.fixture(scope="package")
def machines() -> Iterator[tuple[Machine, Machine]]:
    """Both with the example's image. Their owner is a process that ends with this one's pipe: see ``scripts.docker_pair``."""
    needed = ("dockerd", "docker", "ip", "nsenter")
    missing = [name for name in needed if shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin") is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"two engines need root and {', '.join(needed)}")
    root = Path(tempfile.mkdtemp(prefix="ovs-pair-", dir="/var/tmp"))
    command = [sys.executable, "-m", "scripts.docker_pair", "--root", str(root)]
    owner = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)
    assert owner.stdin is not None
    assert owner.stdout is not None
    try:
        line = owner.stdout.readline()
        assert line, "the engines did not start: see above"
        docker = shutil.which("docker") or "docker"
        first, second = (Machine(**engine, docker_command=docker) for engine in json.loads(line))
        for machine in (first, second):
            ensure_image(machine.docker)
        yield first, second
    finally:
        owner.stdin.close()
        owner.stdout.close()
        assert owner.wait(90) == 0
        assert not root.exists()


@pytest.fixture(scope="package")
def memory() -> Iterator[Path]:
    """A directory in memory for what agents write."""
    if not os.path.ismount("/dev/shm"):
        pytest.skip("no tmpfs: /dev/shm is not a mount")
    path = Path(tempfile.mkdtemp(prefix="ovs-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="package")
def cluster(machines: tuple[Machine, Machine]) -> Iterator[Cluster]:
    """A server on the first machine with a CA of its own, as `overseer server init` and `server run` make it."""
    # Not pytest's own directory: that one is 0700, and the embedded database runs as an account of its own.
    with tempfile.TemporaryDirectory(prefix="ovs-", ignore_cleanup_errors=True) as place:
        home = Path(place)
        authority = Authority.make(home / "ca.pem")
        authority.issue(home, [x509.IPAddress(ipaddress.ip_address(machines[0].address))])
        (home / "chain.pem").write_bytes((home / "server.crt").read_bytes() + authority.file.read_bytes())
        made = Cluster(machines[0], home, authority.file)
        try:
            made.start()
            yield made
        finally:
            made.stop()


@pytest.fixture(scope="module")
def make_agent(tmp_path_factory: pytest.TempPathFactory, memory: Path) -> Iterator[MakeAgent]:
    """Makes agents that are stopped after the module's tests."""
    made: list[Agent] = []

    def make(machine: Machine, name: str, **settings: str) -> Agent:
        agent = Agent(machine, tmp_path_factory.mktemp(name), memory / name, settings)
        made.append(agent)
        return agent

    yield make
    for agent in made:
        with contextlib.suppress(subprocess.TimeoutExpired):
            agent.stop()
