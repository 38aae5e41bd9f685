"""Nodes of a measured installation: enrolled by the agent's own code, orders for them, and one real agent as a process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from benchmarks.installation import Installation
from overseer.agent.enrolment import join
from overseer.core.secret_value import SecretValue

MEMORY: Final = Path("/dev/shm")
_OPEN: Final = frozenset({"queued", "released", "applying"})
_DEADLINE_SECONDS: Final = 120.0


def enrol(made: Installation, name: str, directory: Path) -> None:
    """Create the node ``name``; its keys and identity are in ``directory`` afterwards."""
    made.call("POST", "/api/nodes", {"name": name})
    token = made.call("POST", "/api/enrolment-tokens", {"node": name})["token"]
    join(SecretValue(token), made.url, directory)


def store_bundle(made: Installation, app: str, compose: str) -> str:
    """The digest of a bundle with one Compose file; the app is created."""
    made.call("POST", "/api/apps", {"name": app})
    bundle = made.call("POST", f"/api/apps/{app}/bundles", {"files": [{"path": "compose.yaml", "content": compose}]})
    return str(bundle["digest"])


def order(made: Installation, body: Mapping[str, Any], pause: float = 0.02) -> float:
    """Seconds from the order of a deployment to its success, asked for every ``pause`` seconds; RuntimeError if it fails."""
    began = time.perf_counter()
    view = made.call("POST", "/api/deployments", dict(body))
    while view["state"] in _OPEN:
        if time.perf_counter() - began > _DEADLINE_SECONDS:
            raise RuntimeError(f"deployment {view['id']} is {view['state']} after {_DEADLINE_SECONDS:.0f} s")
        time.sleep(pause)
        view = made.call("GET", f"/api/deployments/{view['id']}")
    if view["state"] != "succeeded":
        raise RuntimeError(f"{view['state']}: {view['error']}\n{view['output']}")
    return time.perf_counter() - began


@contextmanager
def agent_process(made: Installation, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """``overseer agent run`` as the node ``name`` beside the engine of ``DOCKER_HOST``, with its files in memory."""
    home = Path(tempfile.mkdtemp(prefix="overseer-bench-", dir="/var/tmp"))
    memory = Path(tempfile.mkdtemp(prefix="overseer-bench-", dir=MEMORY))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("OVERSEER_")},
        "OVERSEER_DATA_DIR": str(home),
        "OVERSEER_TMPFS_ROOT": str(memory / "root"),
        "OVERSEER_TMPFS_ALLOW": "swap",
    }
    try:
        enrol(made, name, home / "agent")
        with (home / "agent.log").open("wb") as log:
            command = [sys.executable, "-m", "overseer.cli.main", "agent", "run"]
            process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(120)
    finally:
        shutil.rmtree(home, ignore_errors=True)
        shutil.rmtree(memory, ignore_errors=True)
