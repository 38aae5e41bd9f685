"""Deploying ten services through a real server and a real agent, beside plain ``docker compose up -d --wait`` of the same model.

The time is from the order until the deployment has succeeded: sealed, released, checked, started, proven from inside of every
container. Compose gets the same services with the same secrets from files on disk. The services have no health checks: waiting
for one would hide what Overseer costs. Both are taken in turns, and each begins without containers; then, once more with nothing
changed.

What remains running is then left alone, to see what an idle agent costs. It looks into its containers once a minute, so that is
watched for longer than a minute. Without a Docker engine there is nothing to measure, and the rows say so.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.installation import Installation, installation
from benchmarks.nodes import MEMORY, agent_process, order, store_bundle
from examples.shop.images import IMAGE, ensure_image
from overseer.agent.engine import Engine
from overseer.core.errors import ConfigurationProblem

ROUNDS, SERVICES = 5, 10
#: Longer than the longest pause between two looks into the containers.
IDLE_SECONDS: Final = 75.0
DEPLOY_AIM: Final = 1.1
#: An idle agent's bounds: per cent of a core, and MB resident.
CPU_BOUND, MEMORY_BOUND = 1.0, 60.0
PLAIN: Final = "overseer-bench-plain"
NAMES: Final = ("deploy of 10 services", "deploy of 10 services, unchanged", "idle agent, CPU", "idle agent, memory")


def compose_file(services: int, secrets: str) -> str:
    """``services`` services, each with the secret ``key`` as a file; ``secrets`` is the entry of the model that says whence."""
    one = f'{{image: "{IMAGE}", command: [sleep, "3600"], init: true, stop_grace_period: 1s, secrets: [key]}}'
    lines = [f"  service-{number}: {one}" for number in range(services)]
    return "\n".join(["services:", *lines, f"secrets: {{key: {secrets}}}", ""])


def measure(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Rows ``{name, value, unit, floor, ratio, aim}``; times are medians in seconds."""
    engine = _engine()
    if engine is None or not os.path.ismount(MEMORY):
        why = "skipped: no Docker engine answers" if engine is None else f"skipped: {MEMORY} is not in memory"
        return [{"name": one, "value": None, "unit": why, "floor": None, "ratio": None, "aim": None} for one in NAMES]
    ensure_image(engine.docker)
    with installation() as made, tempfile.TemporaryDirectory() as place, agent_process(made, "bench") as agent:
        plain = _Plain(engine, Path(place))
        ours = _Ours(made)
        try:
            fresh, again = _rounds(ours, plain, rounds)
            plain.down()
            ours.up()
            cpu, memory = _idle(agent.pid)
        finally:
            plain.down()
            ours.down()
    return [
        _row(NAMES[0] + " / docker compose up -d --wait", "s", *fresh, DEPLOY_AIM),
        _row(NAMES[1] + " / docker compose up -d --wait", "s", *again, None),
        _row(f"{NAMES[2]} / bound of {CPU_BOUND:g} %", "% of a core", cpu, CPU_BOUND, 1.0),
        _row(f"{NAMES[3]} / bound of {MEMORY_BOUND:g} MB", "MB", memory, MEMORY_BOUND, 1.0),
    ]


class _Ours:
    """Through the server, on the node ``bench``."""

    def __init__(self, made: Installation) -> None:
        self._made = made
        made.call("POST", "/api/secrets", {"name": "key", "generate": "hex:16"})
        self._bundle = store_bundle(made, "bench", compose_file(SERVICES, "{external: true}"))

    def up(self) -> float:
        return order(self._made, {"app": "bench", "node": "bench", "bundle": self._bundle})

    def down(self) -> float:
        return order(self._made, {"app": "bench", "node": "bench", "action": "undeploy"})


class _Plain:
    """Compose alone, the program and the environment that the agent would use."""

    def __init__(self, engine: Engine, directory: Path) -> None:
        (directory / "key").write_text("0" * 32)
        (directory / "compose.yaml").write_text(compose_file(SERVICES, "{file: ./key}"))
        self._command = [*engine.compose, "--project-directory", str(directory), "--project-name", PLAIN]
        self._environment = engine.environment

    def up(self) -> float:
        return self._run("up", "--detach", "--wait", "--quiet-pull")

    def down(self) -> float:
        return self._run("down", "--remove-orphans")

    def _run(self, *arguments: str) -> float:
        began = time.perf_counter()
        done = subprocess.run([*self._command, *arguments], env=self._environment, capture_output=True, check=False)
        if done.returncode != 0:
            raise RuntimeError(done.stderr.decode(errors="replace"))
        return time.perf_counter() - began


def _rounds(ours: _Ours, plain: _Plain, rounds: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """The medians of ours and plain: of deployments where nothing ran, and of the same again."""
    works: tuple[_Ours | _Plain, ...] = (ours, plain)
    fresh: dict[object, list[float]] = {one: [] for one in works}
    again: dict[object, list[float]] = {one: [] for one in works}
    for number in range(rounds + 1):
        for one in works if number % 2 else reversed(works):
            first, second = one.up(), one.up()
            one.down()
            if number:  # the first round fills caches
                fresh[one].append(first)
                again[one].append(second)
    middle: Callable[[list[float]], float] = statistics.median
    return (middle(fresh[ours]), middle(fresh[plain])), (middle(again[ours]), middle(again[plain]))


def _idle(process: int) -> tuple[float, float]:
    """Per cent of a core, with the programs that it starts, and MB (2**20 bytes) resident at the end."""
    began, before = time.perf_counter(), _cpu_seconds(process)
    time.sleep(IDLE_SECONDS)
    spent = _cpu_seconds(process) - before
    share = 100 * spent / (time.perf_counter() - began)
    [resident] = [line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return share, int(resident.split()[1]) / 1024


def _cpu_seconds(process: int) -> float:
    """Of the process and its children that have ended: fields 14 to 17 of proc(5)'s stat."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def _engine() -> Engine | None:
    try:
        engine = Engine.find(docker_host=os.environ.get("DOCKER_HOST"))
    except ConfigurationProblem:
        return None
    return engine if engine.answers() else None


def _row(name: str, unit: str, value: float, floor: float, aim: float | None) -> dict[str, Any]:
    # Three places of the ratio: with two, 1.104 would keep to an aim of 1.1.
    rounded = {"value": round(value, 2), "floor": round(floor, 2), "ratio": round(value / floor, 3)}
    return {"name": name, **rounded, "unit": unit, "aim": aim}
