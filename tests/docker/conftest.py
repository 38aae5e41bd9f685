"""What tests against a Docker engine need: an image without a registry, and a Compose project that is cleaned up."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator

import pytest

from examples.shop.images import ensure_image


@pytest.fixture(scope="session")
def shop_image(docker_engine: list[str]) -> str:
    """The name of the example's image: BusyBox with a shell, and the program ``shop``."""
    return ensure_image(docker_engine)


@pytest.fixture
def project_name(docker_engine: list[str]) -> Iterator[str]:
    """A Compose project of this test's own; its containers, networks and volumes are removed afterwards."""
    name = f"test-{uuid.uuid4().hex[:10]}"
    yield name
    label = f"label=com.docker.compose.project={name}"
    for listing, removal in (
        (["ps", "--all", "--quiet"], ["rm", "--force", "--volumes"]),
        (["network", "ls", "--quiet"], ["network", "rm"]),
        (["volume", "ls", "--quiet"], ["volume", "rm"]),
    ):
        listed = subprocess.run([*docker_engine, *listing, "--filter", label], check=True, capture_output=True, text=True)
        if listed.stdout.split():
            subprocess.run([*docker_engine, *removal, *listed.stdout.split()], check=True, capture_output=True)
