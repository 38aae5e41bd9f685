"""A node on the engine of the test session."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docker.agent.daemon import Daemon
from tests.docker.agent.node import Node
from tests.unit.agent.agent_server import AgentServer
from tests.unit.client.scripted_server import scripted_server


@pytest.fixture
def node(
    docker_engine: list[str], compose_binary: list[str], project_name: str, tmp_path: Path, tmpfs_dir: Path, shop_image: str
) -> Node:
    """An agent's deployer with keys of its own and files in memory; what it deploys is removed by ``project_name``."""
    return Node.make(docker_engine, compose_binary, project_name, tmp_path / "agent", tmpfs_dir / "root")


@pytest.fixture
def daemon(shop_image: str, compose_binary: list[str], tmp_path: Path, tmpfs_dir: Path) -> Iterator[Daemon]:
    server = AgentServer()
    with scripted_server(server.answer) as http:
        made = Daemon(server, http, tmp_path, tmpfs_dir / "root", compose_binary)
        yield made
        if made.process is not None and made.process.poll() is None:
            made.process.kill()
            made.process.wait()
