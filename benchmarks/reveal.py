"""Audited reveals per second over real HTTP, against two floors on the same database with the same durability.

The *naive loop* is what a server does that gives each request a SELECT (token, binding, secret, version) and an INSERT with a
commit of its own, without HTTP. The *batch floor* is the server's own batch statement without HTTP. Each number is the
median of several rounds, taken in turns, so that a busy machine hits all of them alike.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import sys
import time
from typing import Any
from uuid import UUID

import asyncpg

from benchmarks.installation import Installation, installation
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import token_hash
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.reveal_rows import RevealRequest, reveal_batch
from overseer.server.storage.service_session import session_setup

SECRETS, SECONDS, ROUNDS, CLIENTS = 200, 1.5, 3, (1, 8, 32, 128)

_NAIVE_SELECT = """
SELECT p.id, p.name, p.kind, t.id AS token_id, s.name AS secret, v.version, v.wrapped_dek, v.ciphertext
FROM token t JOIN principal p ON p.id = t.principal_id
JOIN binding b ON b.subject_id = p.id AND b.permissions & 2 <> 0
JOIN secret s ON s.id = $2 JOIN secret_version v ON v.secret_id = s.id AND v.version = s.active_version
WHERE t.hash = $1 AND t.revoked_at IS NULL AND t.expires_at > now()
"""
_NAIVE_INSERT = """
INSERT INTO audit (request_id, actor_id, actor_name, actor_kind, token_id, action, outcome, resource_kind, resource_id,
                   resource_name, version) VALUES ($1, $2, $3, $4, $5, 'secret:reveal', 'allowed', 'secret', $6, $7, $8)
"""


async def _naive(url: str, digest: bytes, secrets: list[UUID], clients: int) -> float:
    arguments = service_arguments(url)
    connections = [await asyncpg.connect(**arguments) for _ in range(clients)]
    until = time.perf_counter() + SECONDS
    done = 0

    async def loop(connection: asyncpg.Connection, number: int) -> None:
        nonlocal done
        while time.perf_counter() < until:
            secret = secrets[number % len(secrets)]
            number += 7
            row = await connection.fetchrow(_NAIVE_SELECT, digest, secret)
            actor = (row["id"], row["name"], row["kind"], row["token_id"])
            await connection.execute(_NAIVE_INSERT, f"n{number}", *actor, secret, row["secret"], row["version"])
            done += 1

    began = time.perf_counter()
    await asyncio.gather(*(loop(connection, number) for number, connection in enumerate(connections)))
    spent = time.perf_counter() - began
    for connection in connections:
        await connection.close()
    return done / spent


async def _batches(url: str, digest: bytes, secrets: list[UUID], clients: int) -> float:
    """Two batches under way, each of half of the clients: what the server does when nothing else costs anything."""
    database = Database(service_arguments(url), setup=session_setup)
    size = max(1, clients // 2)
    caller = Caller(digest, "floor", "127.0.0.1", "overseer-python/0")
    until = time.perf_counter() + SECONDS
    done = 0

    async def loop(number: int) -> None:
        nonlocal done
        async with database.session() as session:
            while time.perf_counter() < until:
                batch = [RevealRequest(caller, secrets[(number + n) % len(secrets)], None) for n in range(size)]
                number += size
                done += len(await reveal_batch(session, batch))

    began = time.perf_counter()
    await asyncio.gather(*(loop(number) for number in range(1 if clients == 1 else 2)))
    spent = time.perf_counter() - began
    await database.close()
    return done / spent


def _over_http(made: Installation, clients: int) -> dict[str, float]:
    paths = "\n".join(f"/api/secrets/{secret}/value" for secret in made.secrets)
    command = [sys.executable, "-m", "benchmarks.http_load", str(made.port), str(clients), str(SECONDS)]
    done = subprocess.run(command, input=f"{made.token}\n{paths}".encode(), capture_output=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def measure(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Rows ``{name, value, unit, floor, ratio, aim}``; values are requests per second, higher is better."""
    rows: list[dict[str, Any]] = []
    with installation(secrets=SECRETS) as made:
        url = _database_url(made)
        digest = token_hash(SecretValue(made.token))
        secrets = [UUID(secret) for secret in made.secrets]
        for clients in CLIENTS:
            http, naive, floor = [], [], []
            for _ in range(rounds):
                http.append(_over_http(made, clients))
                naive.append(asyncio.run(_naive(url, digest, secrets, min(clients, 32))))
                floor.append(asyncio.run(_batches(url, digest, secrets, clients)))
            rate = statistics.median(one["requests"] / one["seconds"] for one in http)
            rows += _rows(clients, rate, statistics.median(naive), statistics.median(floor))
            p50, p99 = (statistics.median(one[name] for one in http) for name in ("p50", "p99"))
            rows.append(_row(f"reveal p99 at {clients} clients", p99, "ms", p50, p99 / p50, None))
    return rows


def _rows(clients: int, rate: float, naive: float, floor: float) -> list[dict[str, Any]]:
    at_32 = clients == 32
    return [
        _row(f"reveal at {clients} clients / naive loop", rate, "req/s", naive, rate / naive, 2.5 if at_32 else None),
        _row(f"reveal at {clients} clients / batch floor", rate, "req/s", floor, rate / floor, 0.25 if at_32 else None),
    ]


def _row(name: str, value: float, unit: str, floor: float, ratio: float, aim: float | None) -> dict[str, Any]:
    return {"name": name, "value": round(value, 2), "unit": unit, "floor": round(floor, 2), "ratio": round(ratio, 2), "aim": aim}


def _database_url(made: Installation) -> str:
    from overseer.server.storage.embedded import EmbeddedPostgres

    # The server has started it; this only finds it.
    return EmbeddedPostgres(made.home / "data").start()


def main() -> None:
    """Print the rows."""
    for row in measure():
        print(f"{row['name']}: {row['value']} {row['unit']}, floor {row['floor']}, ratio {row['ratio']} (aim {row['aim']})")


if __name__ == "__main__":
    main()
