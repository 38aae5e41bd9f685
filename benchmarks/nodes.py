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
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from benchmarks.installation import Installation
from overseer.agent.enrolment import join
from overseer.core.secret_value import SecretValue

MEMORY: Final = Path("/dev/shm")
_OPEN: Final = frozenset({"queued", "released", "applying"})
_LONGEST: Final = timedelta(minutes=2)


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


def order(made: Installation, body: Mapping[str, Any]) -> float:
    """Seconds from the order of a deployment to its success, by the clock of the machine; RuntimeError if it fails.

    The end is the one that the server recorded: asking often would cost the two cores that are measured.
    """
    began = datetime.now(UTC)
    view = made.call("POST", "/api/deployments", dict(body))
    while view["state"] in _OPEN:
        if datetime.now(UTC) - began > _LONGEST:
            raise RuntimeError(f"deployment {view['id']} is {view['state']} after {_LONGEST}")
        time.sleep(0.25)
        view = made.call("GET", f"/api/deployments/{view['id']}")
    if view["state"] != "succeeded":
        raise RuntimeError(f"{view['state']}: {view['error']}\n{view['output']}")
    return (datetime.fromisoformat(view["finished_at"]) - began).total_seconds()


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
