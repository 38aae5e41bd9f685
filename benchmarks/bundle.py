"""A resolve of 50 names over real HTTP: against its own statement without HTTP, and against 50 reveals."""

from __future__ import annotations

import json

from benchmarks.contest import Contest, Effort, Row, row, spread
from benchmarks.installation import installation

NAMES, FLOOR_AIM, REVEALS_AIM = 50, 0.75, 0.1


def measure(quick: bool = False) -> list[Row]:
    """Rows at 1, 8 and 32 clients; the comparison with reveals is one client's, who would have to ask for them in turn."""
    rows: list[Row] = []
    with installation(secrets=NAMES) as made:
        names = [f"secret-{number}" for number in range(NAMES)]
        contest = Contest(made, Effort.of(quick), names)
        bundle = [("POST", "/api/resolve", json.dumps({"names": names}))]
        single = [("POST", f"/api/secrets/{secret}/value", "{}") for secret in made.secrets]
        for clients in (1, 8, 32):
            http, floor = contest.rounds(
                lambda clients=clients: contest.http(clients, bundle),  # type: ignore[misc]
                lambda clients=clients: contest.program("batch_floor", "resolve", clients),  # type: ignore[misc]
            )
            rates, name = [one["rate"] for one in http], f"bundle of {NAMES}, {clients} clients / own statement"
            rows += [row(name, rates, "req/s", floor, FLOOR_AIM if clients == 8 else None), spread(name, rates, floor)]
        many, one = contest.rounds(lambda: contest.http(1, bundle), lambda: contest.http(1, single))
        times, floors = [1000 / each["rate"] for each in many], [1000 * NAMES / each["rate"] for each in one]
        rows.append(row(f"bundle of {NAMES} / {NAMES} reveals, 1 client", times, "ms", floors, REVEALS_AIM))
    return rows
