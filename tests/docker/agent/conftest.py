"""A node on the engine of the test session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docker.agent.node import Node


@pytest.fixture
def node(
    docker_engine: list[str], compose_binary: list[str], project_name: str, tmp_path: Path, tmpfs_dir: Path, shop_image: str
) -> Node:
    """An agent's deployer with keys of its own and files in memory; what it deploys is removed by ``project_name``."""
    return Node.make(docker_engine, compose_binary, project_name, tmp_path / "agent", tmpfs_dir / "root")
