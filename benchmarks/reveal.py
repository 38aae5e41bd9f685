"""Audited reveals per second over real HTTP, against two floors on the same database with the same durability.

The *naive loop* (``naive_loop``) gives each request a SELECT and an INSERT with a commit of its own, without HTTP and without
decrypting. The *batch floor* (``batch_floor``) is the server's own batch statement, without HTTP.
"""

from __future__ import annotations

from benchmarks.contest import Contest, Effort, Row, memory, row, spread
from benchmarks.installation import installation

SECRETS, CLIENTS = 200, (1, 8, 32, 128)
NAIVE_AIM, FLOOR_AIM = 2.5, 0.25


def measure(quick: bool = False) -> list[Row]:
    """Rows for one and two workers; values are requests per second, milliseconds and megabytes."""
    rows: list[Row] = []
    for workers in (1, 2):
        with installation(secrets=SECRETS, workers=workers) as made:
            contest = Contest(made, Effort.of(quick))
            requests = [("POST", f"/api/secrets/{secret}/value", "{}") for secret in made.secrets]
            for clients in (32,) if quick and workers == 2 else CLIENTS:
                rows += _at(contest, requests, clients, workers)
            rows += [row(f"memory of the {what}, {workers} workers", [size], "MB") for what, size in memory(made).items()]
    return rows


def _at(contest: Contest, requests: list[tuple[str, str, str]], clients: int, workers: int) -> list[Row]:
    http, naive, floor = contest.rounds(
        lambda: contest.http(clients, requests),
        lambda: contest.program("naive_loop", "reveal", clients),
        lambda: contest.program("batch_floor", "reveal", clients),
    )
    rates, name = [one["rate"] for one in http], f"reveal, {clients} clients, {workers} worker{'s' * (workers > 1)}"
    judged = clients == 32 and workers == 1
    return [
        row(f"{name} / naive loop", rates, "req/s", naive, NAIVE_AIM if judged else None),
        row(f"{name} / batch floor", rates, "req/s", floor, FLOOR_AIM if judged else None),
        spread(f"{name} / batch floor", rates, floor),
        row(f"{name}, p50", [one["p50"] for one in http], "ms"),
        row(f"{name}, p99", [one["p99"] for one in http], "ms"),
    ]
