"""What the sealed audit log costs: verifying it, and sealing beside reveals.

*Verifying* is compared with hashing alone: a loop over the same canonical rows that does nothing but make the hash of each leaf.
*Sealing* is compared with the same server while it cannot seal, in turns, under the load of 32 clients: a lock that the sealer
asks for is held meanwhile, and the backlog is sealed before the next turn.

``python -m benchmarks.audit_log --quick`` takes 100,000 rows instead of a million.
"""

from __future__ import annotations

import asyncio
import hashlib
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import asyncpg

from benchmarks.contest import Contest, Effort, database_url
from benchmarks.installation import Installation, installation
from overseer.cli.audit_export import verify_file
from overseer.cli.commands.audit_log import export_jsonl
from overseer.client.api import Client
from overseer.crypto.log_report import LogReport, Trust
from overseer.server.storage.log_reading import verify_database
from overseer.server.storage.queries import named_queries

ROWS: Final = 1_000_000
QUICK_ROWS: Final = 100_000
ROUNDS: Final = 3
TURNS: Final = 6
CLIENTS: Final = 32
_BATCH: Final = 5000
_SEALER_LOCK: Final = 8102661214773306992

_FILL: Final = """
INSERT INTO audit (request_id, actor_id, actor_name, actor_kind, token_id, action, outcome, resource_kind, resource_id,
                   resource_name, app, environment, version, peer, client)
SELECT gen_random_uuid()::text, gen_random_uuid(), 'alice', 'user', gen_random_uuid(), 'secret:reveal', 'allowed', 'secret',
       gen_random_uuid(), 'db-password-' || n % 100, 'shop', 'prod', n % 7 + 1, '192.0.2.' || n % 250, 'overseer-python/1.0'
FROM generate_series(1, $1::integer) n
"""


def measure(quick: bool = False) -> list[dict[str, Any]]:
    """Rows ``{name, value, unit, floor, ratio, aim}``; values are rows or requests per second, higher is better."""
    rows = QUICK_ROWS if quick else ROWS
    with installation(secrets=200) as made:
        url = database_url(made)
        found = [_sealing(made, url)]
        asyncio.run(_fill(url, rows))
        _await_sealed(made)
        file = made.home / "audit.jsonl"
        with Client(made.url, made.token) as client, file.open("wb") as target:
            export_jsonl(client, target)
        floor = _hash_only(url)
        of_file = _rate(lambda: verify_file(file, Trust()))
        of_database = _rate(lambda: asyncio.run(verify_database(url, Trust())))
    return [
        _row(f"audit verify: file of {rows:,} rows / hash only", of_file, "rows/s", floor, 0.3),
        _row(f"audit verify: database of {rows:,} rows / hash only", of_database, "rows/s", floor, 0.15),
        *found,
    ]


async def _fill(url: str, rows: int) -> None:
    connection = await asyncpg.connect(url)
    for _ in range(rows // _BATCH):
        await connection.execute(_FILL, _BATCH)
    await connection.close()


def _await_sealed(made: Installation) -> None:
    deadline = time.monotonic() + 600
    while made.call("GET", "/api/audit/integrity")["unsealed_rows"] > 100:
        if time.monotonic() > deadline:
            raise RuntimeError("the log is not being sealed")
        time.sleep(0.2)


def _hash_only(url: str) -> float:
    """Rows a second of a loop that only hashes; the median of several rounds."""

    async def records() -> list[bytes]:
        connection = await asyncpg.connect(url)
        found = [row[0] for row in await connection.fetch(named_queries()["log_records_below"], 1 << 30, "0")]
        await connection.close()
        return found

    rows, sha256, spent = asyncio.run(records()), hashlib.sha256, []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        for record in rows:
            sha256(b"\x00" + record).digest()
        spent.append(time.perf_counter() - began)
    return len(rows) / statistics.median(spent)


def _rate(verify: Any) -> float:
    rates = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        report: LogReport = verify()
        rates.append(report.sealed / (time.perf_counter() - began))
        if not report.verified:
            raise RuntimeError(f"the log does not verify: {report.findings[:3]}")
    return statistics.median(rates)


def _sealing(made: Installation, url: str) -> dict[str, Any]:
    """Reveals a second while the log is sealed, over those while it is not."""
    contest = Contest(made, Effort(1.5, TURNS))
    on, off = [], []
    for _ in range(TURNS):
        with _no_sealing(url):
            off.append(_reveals(made, contest))
        _await_sealed(made)
        on.append(_reveals(made, contest))
        _await_sealed(made)
    sealed, unsealed = statistics.median(on), statistics.median(off)
    return _row(f"reveal at {CLIENTS} clients while sealing / without", sealed, "req/s", unsealed, 0.9)


def _reveals(made: Installation, contest: Contest) -> float:
    return contest.http(CLIENTS, [("POST", f"/api/secrets/{secret}/value", "{}") for secret in made.secrets])["rate"]


@contextmanager
def _no_sealing(url: str) -> Iterator[None]:
    """Hold the lock that the sealer asks for first."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(url))
        runner.run(connection.execute(f"SELECT pg_advisory_lock({_SEALER_LOCK})"))
        try:
            yield
        finally:
            runner.run(connection.close())


def _row(name: str, value: float, unit: str, floor: float, aim: float | None) -> dict[str, Any]:
    ratio = value / floor
    return {"name": name, "value": round(value, 1), "unit": unit, "floor": round(floor, 1), "ratio": round(ratio, 3), "aim": aim}


def main() -> None:
    """Print the rows."""
    for row in measure(quick="--quick" in sys.argv[1:]):
        print(f"{row['name']}: {row['value']} {row['unit']}, floor {row['floor']}, ratio {row['ratio']} (aim {row['aim']})")


if __name__ == "__main__":
    main()
