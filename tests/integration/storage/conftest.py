"""A PostgreSQL server of a test's own, for what would disturb the others: server settings and roles of the cluster."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import postgres_server


@pytest.fixture
def own_cluster() -> Iterator[Path]:
    """The home of a server that only this test uses; settings are changed with ALTER SYSTEM."""
    home = Path(tempfile.mkdtemp(prefix="ovs-own-"))
    if os.geteuid() == 0:
        home.chmod(0o711)
    postgres_server.start(home / "pg")
    yield home / "pg"
    postgres_server.stop(home / "pg")
    home.rmdir()
