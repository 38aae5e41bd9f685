"""What tests against a Docker engine need: an image without a registry, and a Compose project that is cleaned up."""

from __future__ import annotations

import subprocess
import time
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
    deadline = time.monotonic() + 180
    while complaints := [word for kind in _KINDS if (word := _remove(docker_engine, label, *kind))]:
        # What a test killed may still be at work in the engine, and make a container or hold a network for a moment.
        assert time.monotonic() < deadline, complaints
        time.sleep(0.5)


_KINDS = (
    (["ps", "--all", "--quiet"], ["rm", "--force", "--volumes"]),
    (["network", "ls", "--quiet"], ["network", "rm"]),
    (["volume", "ls", "--quiet"], ["volume", "rm"]),
)


def _remove(docker: list[str], label: str, listing: list[str], removal: list[str]) -> str:
    """Remove what has the label; what the engine said where it would not, or "" where nothing is left."""
    listed = subprocess.run([*docker, *listing, "--filter", label], check=True, capture_output=True, text=True)
    if not (found := listed.stdout.split()):
        return ""
    removed = subprocess.run([*docker, *removal, *found], check=False, capture_output=True, text=True)
    return removed.stderr.strip() if removed.returncode else ""
