"""Values and their floors, measured in turns on one installation, so that a busy machine hits all of them alike.

A ratio is the median of the ratios of the rounds: the two numbers of a round were measured within seconds of each other. The
spread is how far the ratios of the rounds lie apart (largest minus smallest, in per cent of the median).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.installation import Installation
from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import token_hash
from overseer.server.storage.embedded import EmbeddedPostgres

Row = dict[str, Any]


@dataclass(frozen=True)
class Effort:
    """How long and how often."""

    seconds: float
    rounds: int

    @classmethod
    def of(cls, quick: bool) -> Effort:
        return cls(0.5, 2) if quick else cls(1.0, 5)


class Contest:
    """Programs of this directory against one installation."""

    def __init__(self, made: Installation, effort: Effort, names: Sequence[str] = ()) -> None:
        self.effort = effort
        self._made = made
        digest = token_hash(SecretValue(made.token)).hex()
        self._given = {"url": database_url(made), "digest": digest, "secrets": made.secrets, "names": list(names)}

    def http(self, clients: int, requests: Sequence[tuple[str, str, str]]) -> dict[str, float]:
        """The load generator's answer: requests, seconds, rate, p50, p99."""
        given = {"token": self._made.token, "requests": list(requests)}
        found: dict[str, float] = self._run("http_load", [str(self._made.port), str(clients), str(self.effort.seconds)], given)
        return found

    def program(self, name: str, kind: str, clients: int) -> float:
        """Requests per second of a floor."""
        rate: float = self._run(name, [kind, str(clients), str(self.effort.seconds)], self._given)
        return rate

    def rounds(self, *measures: Callable[[], Any]) -> list[list[Any]]:
        """What each of ``measures`` gave in each round, in turns; the first turn only warms up."""
        for measure in measures:
            measure()
        return [list(one) for one in zip(*([measure() for measure in measures] for _ in range(self.effort.rounds)), strict=True)]

    def _run(self, name: str, arguments: list[str], given: dict[str, Any]) -> Any:
        command = [sys.executable, "-m", f"benchmarks.{name}", *arguments]
        done = subprocess.run(command, input=json.dumps(given).encode(), capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode("utf-8", "replace")[-2000:])
        return json.loads(done.stdout)


def row(name: str, values: Sequence[float], unit: str, floors: Sequence[float] | None = None, aim: float | None = None) -> Row:
    """A row of medians; with floors, its ratio is the median of the rounds' ratios."""
    ratios = [value / floor for value, floor in zip(values, floors, strict=True)] if floors else []
    return {
        "name": name,
        "value": round(statistics.median(values), 3),
        "unit": unit,
        "floor": round(statistics.median(floors), 3) if floors else None,
        "ratio": round(statistics.median(ratios), 3) if ratios else None,
        "aim": aim,
    }


def spread(name: str, values: Sequence[float], floors: Sequence[float]) -> Row:
    """How far the rounds of a ratio lie apart."""
    ratios = [value / floor for value, floor in zip(values, floors, strict=True)]
    percent = 100 * (max(ratios) - min(ratios)) / statistics.median(ratios)
    return {"name": f"{name}: spread", "value": round(percent, 1), "unit": "%", "floor": None, "ratio": None, "aim": None}


def database_url(made: Installation) -> str:
    """The server has started the database; this only finds it."""
    return EmbeddedPostgres(made.home / "data").start()


def memory(made: Installation) -> dict[str, float]:
    """Resident megabytes of the supervisor and of its largest worker."""
    assert made.process is not None
    pid = made.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    workers = [one for one in children if b"overseer.server.worker" in Path(f"/proc/{one}/cmdline").read_bytes()]
    return {"supervisor": _resident(str(pid)), "worker": max(_resident(one) for one in workers)}


def _resident(pid: str) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
