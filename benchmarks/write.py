"""New versions per second over real HTTP, against the naive transaction and the server's own batch of writes without HTTP."""

from __future__ import annotations

from benchmarks.contest import Contest, Effort, Row, row, spread
from benchmarks.installation import installation

SECRETS, FLOOR_AIM = 400, 0.5
BODY = '{"value": "0123456789abcdef0123456789abcdef"}'


def measure(quick: bool = False) -> list[Row]:
    """Rows at 1, 8, 32 and 128 clients; the floor neither encrypts nor asks for idempotency keys."""
    rows: list[Row] = []
    with installation(secrets=SECRETS) as made:
        contest = Contest(made, Effort.of(quick))
        requests = [("PUT", f"/api/secrets/{secret}", BODY) for secret in made.secrets]
        for clients in (8, 32) if quick else (1, 8, 32, 128):
            http, naive, floor = contest.rounds(
                lambda clients=clients: contest.http(clients, requests),  # type: ignore[misc]
                lambda clients=clients: contest.program("naive_loop", "write", clients),  # type: ignore[misc]
                lambda clients=clients: contest.program("batch_floor", "write", clients),  # type: ignore[misc]
            )
            rates, name = [one["rate"] for one in http], f"write, {clients} clients"
            rows += [
                row(f"{name} / naive transaction", rates, "req/s", naive),
                row(f"{name} / batch floor", rates, "req/s", floor, FLOOR_AIM if clients == 8 else None),
                spread(f"{name} / batch floor", rates, floor),
                row(f"{name}, p99", [one["p99"] for one in http], "ms"),
            ]
    return rows
