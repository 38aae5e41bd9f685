"""The real Compose program for the language tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.docker.compose_language.real_compose import RealCompose

PROGRAM = Path(os.environ.get("OVERSEER_TEST_COMPOSE") or Path(sys.prefix, "bin", "docker-compose"))


@pytest.fixture(scope="session")
def compose() -> RealCompose:
    """Compose v2 itself; with ``CI=true`` its absence fails the session (tests/conftest.py)."""
    if not PROGRAM.is_file():
        pytest.skip("no Compose v2 program: set OVERSEER_TEST_COMPOSE or run the project's set-up, which puts it into .venv/bin")
    return RealCompose(PROGRAM)
