"""What a server costs that gives each request statements and a commit of its own, without HTTP and without decrypting anything:
``python -m benchmarks.naive_loop KIND CLIENTS SECONDS``, KIND reveal or write; standard input as for ``batch_floor``.

A reveal is a SELECT (token, binding, secret, version) and an INSERT into the log; a write a SELECT, an INSERT of the version, an
UPDATE of the secret and an INSERT into the log in one transaction. A connection a client, at most 32. Prints requests per second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from overseer.server.storage.connection import service_arguments

_SELECT: Final = """
SELECT p.id, p.name, p.kind, t.id AS token_id, s.name AS secret, v.version, v.wrapped_dek, v.ciphertext, s.latest_version
FROM token t JOIN principal p ON p.id = t.principal_id
JOIN binding b ON b.subject_id = p.id AND b.permissions & 2 <> 0
JOIN secret s ON s.id = $2 JOIN secret_version v ON v.secret_id = s.id AND v.version = s.active_version
WHERE t.hash = $1 AND t.revoked_at IS NULL AND t.expires_at > now()
"""
_LOG: Final = """
INSERT INTO audit (request_id, actor_id, actor_name, actor_kind, token_id, action, outcome, resource_kind, resource_id,
                   resource_name, version) VALUES ($1, $2, $3, $4, $5, $9, 'allowed', 'secret', $6, $7, $8)
"""
_VERSION: Final = """
INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext, created_by)
VALUES ($1, $2, $3, 1, 1, $4, $5, $6)
"""
_SECRET: Final = "UPDATE secret SET latest_version = $2, active_version = $2, revision = revision + 1 WHERE id = $1"

Step = Callable[[asyncpg.Connection, bytes, UUID], Awaitable[None]]


async def _reveal(connection: asyncpg.Connection, digest: bytes, secret: UUID) -> None:
    row = await connection.fetchrow(_SELECT, digest, secret)
    await connection.execute(_LOG, "naive", *_actor(row), secret, row["secret"], row["version"], "secret:reveal")


async def _write(connection: asyncpg.Connection, digest: bytes, secret: UUID) -> None:
    async with connection.transaction():
        await connection.execute("SELECT FROM secret WHERE id = $1 FOR UPDATE", secret)
        row = await connection.fetchrow(_SELECT, digest, secret)
        version = row["latest_version"] + 1
        await connection.execute(_VERSION, secret, version, uuid4(), row["wrapped_dek"], row["ciphertext"], row["id"])
        await connection.execute(_SECRET, secret, version)
        await connection.execute(_LOG, "naive", *_actor(row), secret, row["secret"], version, "secret:update")


STEPS: Final[dict[str, Step]] = {"reveal": _reveal, "write": _write}


def _actor(row: Any) -> tuple[Any, ...]:
    return (row["id"], row["name"], row["kind"], row["token_id"])


async def run(step: Step, given: dict[str, Any], clients: int, seconds: float) -> float:
    """Requests per second."""
    digest, secrets = bytes.fromhex(given["digest"]), [UUID(one) for one in given["secrets"]]
    connections = [await asyncpg.connect(**service_arguments(given["url"])) for _ in range(min(clients, 32))]
    began = time.perf_counter()
    done = 0

    async def loop(connection: asyncpg.Connection, number: int) -> None:
        nonlocal done
        while time.perf_counter() < began + seconds:
            await step(connection, digest, secrets[number % len(secrets)])
            number += 7
            done += 1

    await asyncio.gather(*(loop(one, number * 5) for number, one in enumerate(connections)))
    spent = time.perf_counter() - began
    for one in connections:
        await one.close()
    return done / spent


def main() -> None:
    """See the module's text."""
    import uvloop

    step = STEPS[sys.argv[1]]
    print(json.dumps(uvloop.run(run(step, json.load(sys.stdin), int(sys.argv[2]), float(sys.argv[3])))))


if __name__ == "__main__":
    main()
