"""Each source is started once a test process, on first use."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.integration.rotators.sources import SOURCES, Source
from tests.integration.services.conftest import services_database, world

__all__ = ["services_database", "source_of", "world"]

_PROGRAMS = {"mysql": "mariadbd", "redis": "redis-server", "rabbitmq": "rabbitmq-server"}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.fixture(scope="session")
def source_of() -> Iterator[Callable[[str], Source]]:
    """The running server of a kind."""
    started: dict[str, Source] = {}

    def get(kind: str) -> Source:
        if kind not in started:
            program = _PROGRAMS.get(kind)
            if program is not None and shutil.which(program, path=_PATH) is None:
                pytest.skip(f"no {program}: sh scripts/rotation_servers_install.sh installs it")
            home = Path(tempfile.mkdtemp(prefix="ovs-source-"))
            home.chmod(0o711)  # a server's own account must get through to its directory
            started[kind] = SOURCES[kind](home)
            started[kind].start()
        return started[kind]

    yield get
    for one in started.values():
        one.stop()
        shutil.rmtree(one.home, ignore_errors=True)
