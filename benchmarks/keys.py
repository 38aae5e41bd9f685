"""Rotation of the key-encryption key: how fast data keys are wrapped anew, and what readers notice of it.

The *floor* is the bare UPDATE that a rotation cannot do without: the same columns of the same number of rows in a table of the
same shape, in batches of the same size by primary key, with a commit each, of wraps that lie ready. It is measured in turns with
the rotation in the same database. What readers notice is p99 of reveals over real HTTP while the server rotates, against
the same load on the same server at rest.
"""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from benchmarks.installation import Installation, installation
from overseer.core.identifiers import new_id
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import ValueContext
from overseer.server.seals.file import FileSeal
from overseer.server.services.bootstrap import SealSetting, initialise
from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import IdempotencyKeeper
from overseer.server.services.key_rewrapping import BATCH
from overseer.server.services.key_rotation import KeyRotation
from overseer.server.services.key_service import KeyService
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.embedded import EmbeddedPostgres
from overseer.server.storage.service_session import session_setup

ROWS, ROUNDS, CLIENTS, LOAD_SECONDS, READ_ROWS = 20_000, 5, 8, 4.0, 60_000
_COLUMNS = ("secret_id", "version", "id", "format", "kek_term", "wrapped_dek", "ciphertext")
_FLOOR = """
UPDATE floor_version v SET kek_term = $1, wrapped_dek = anew.wrapped
FROM unnest($2::uuid[], $3::bytea[]) AS anew (id, wrapped) WHERE v.id = anew.id
"""
_SECRET = "INSERT INTO secret (id, name, scope_id, latest_version, active_version) VALUES ($1, 'many-versions', $2, $3, 1)"
_RUNNING = "SELECT rewrapped FROM key_rotation WHERE state = 'running'"
_LONG_AGO = "UPDATE key_rotation SET started_at = started_at - interval '1 minute' WHERE state = 'running'"


@asynccontextmanager
async def _opened(url: str, key_file: Path) -> AsyncIterator[tuple[KeyService, KeyRotation]]:
    database = Database(service_arguments(url), setup=session_setup)
    try:
        gate = Gate(database)
        keys = KeyService(database, gate)
        await keys.open(await FileSeal(key_file).root_key())
        yield keys, KeyRotation(gate, keys, IdempotencyKeeper(keys))
    finally:
        await database.close()


async def _fill(connection: asyncpg.Connection, keys: KeyService, count: int) -> None:
    """One secret of ``count`` versions, each an envelope of 32 bytes."""
    secret, scope = new_id(datetime.now(UTC)), new_id(datetime.now(UTC))
    await connection.execute("INSERT INTO scope (id) VALUES ($1) ON CONFLICT DO NOTHING", scope)
    scope = await connection.fetchval("SELECT id FROM scope WHERE num_nonnulls(app_id, environment_id, node_id) = 0")
    rows = []
    for version in range(1, count + 1):
        row_id = new_id(datetime.now(UTC))
        if version % 1000 == 1:
            await keys.prepare_to_encrypt(1000)
        sealed = keys.encrypt(SecretValue(b"x" * 32), ValueContext(keys.instance_id, secret, row_id, scope))
        rows.append((secret, version, row_id, sealed.format, sealed.term, sealed.wrapped_dek, sealed.ciphertext))
    async with connection.transaction():
        await connection.execute(_SECRET, secret, scope, count)
        await connection.copy_records_to_table("secret_version", records=rows, columns=_COLUMNS)
    await connection.execute("VACUUM ANALYZE secret_version")


async def _rotate(connection: asyncpg.Connection, rotation: KeyRotation) -> float:
    """Rows a second, from the first batch to the last."""
    async with rotation._gate.own_work() as (session, _):
        keyring = await rotation._begin(session, new_id(datetime.now(UTC)), "asked", None)
    rotation._keys.publish(keyring)
    await connection.execute(_LONG_AGO)
    began = time.perf_counter()
    await rotation.run()
    spent = time.perf_counter() - began
    done = await connection.fetchrow("SELECT state, rewrapped FROM key_rotation ORDER BY started_at DESC LIMIT 1")
    if done["state"] != "finished":
        raise RuntimeError("the rotation did not finish")
    return float(done["rewrapped"] / spent)


async def _floor(url: str, term: int) -> float:
    connection = await asyncpg.connect(**service_arguments(url))
    try:
        ids = [row["id"] for row in await connection.fetch("SELECT id FROM floor_version ORDER BY id")]
        wraps = [bytes(60)] * BATCH
        began = time.perf_counter()
        for start in range(0, len(ids), BATCH):
            batch = ids[start : start + BATCH]
            async with connection.transaction():
                await connection.execute(_FLOOR, term, batch, wraps[: len(batch)])
        return len(ids) / (time.perf_counter() - began)
    finally:
        await connection.close()


async def _throughput(url: str, key_file: Path, rounds: int) -> tuple[float, float]:
    connection = await asyncpg.connect(url)
    rotations, floors = [], []
    async with _opened(url, key_file) as (keys, rotation):
        await _fill(connection, keys, ROWS)
        await connection.execute("CREATE TABLE floor_version (LIKE secret_version INCLUDING ALL)")
        await connection.execute("INSERT INTO floor_version SELECT * FROM secret_version")
        for number in range(rounds):
            await connection.execute("VACUUM ANALYZE secret_version")
            await connection.execute("VACUUM ANALYZE floor_version")
            rotations.append(await _rotate(connection, rotation))
            floors.append(await _floor(url, number + 2))
    await connection.close()
    return statistics.median(rotations), statistics.median(floors)


def _load(made: Installation, seconds: float) -> dict[str, float]:
    given = {"token": made.token, "requests": [("POST", f"/api/secrets/{secret}/value", "{}") for secret in made.secrets]}
    command = [sys.executable, "-m", "benchmarks.http_load", str(made.port), str(CLIENTS), str(seconds)]
    done = subprocess.run(command, input=json.dumps(given).encode(), capture_output=True, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


async def _readers(made: Installation, rounds: int) -> tuple[list[float], list[float]]:
    """p99 in milliseconds at rest and during a rotation, a pair a round."""
    data = made.home / "data"
    url = EmbeddedPostgres(data).url
    connection = await asyncpg.connect(url)
    rest, busy = [], []
    async with _opened(url, data / "root.key") as (keys, _):
        await _fill(connection, keys, READ_ROWS)
    for _ in range(rounds):
        rest.append((await asyncio.to_thread(_load, made, LOAD_SECONDS))["p99"])
        made.call("POST", "/api/keys/rotate")
        await _until(connection, "SELECT rewrapped > 0 FROM key_rotation WHERE state = 'running'")
        busy.append((await asyncio.to_thread(_load, made, LOAD_SECONDS))["p99"])
        if await connection.fetchval(_RUNNING) >= READ_ROWS:
            sys.stderr.write("the rotation ended before the load did; ")
        await connection.execute(_LONG_AGO)
        await _until(connection, "SELECT NOT EXISTS (SELECT FROM key_rotation WHERE state = 'running')")
    await connection.close()
    return rest, busy


async def _until(connection: asyncpg.Connection, question: str) -> None:
    for _ in range(1200):
        if await connection.fetchval(question):
            return
        await asyncio.sleep(0.05)
    raise TimeoutError(question)


def measure(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Rows ``{name, value, unit, floor, ratio, aim}``."""
    home = Path(tempfile.mkdtemp(prefix="overseer-bench-", dir="/var/tmp"))
    try:
        with EmbeddedPostgres(home / "data") as postgres:
            setting = SealSetting(f"file:{home / 'data' / 'root.key'}")
            asyncio.run(initialise(postgres.url, setting, lambda _: None, datetime.now(UTC)))
            speed, floor = asyncio.run(_throughput(postgres.url, home / "data" / "root.key", rounds))
    finally:
        shutil.rmtree(home, ignore_errors=True)
    with installation(secrets=50) as made:
        rest, busy = asyncio.run(_readers(made, max(3, rounds // 2)))
    quiet, during = statistics.median(rest), statistics.median(busy)
    return [
        _row("KEK rotation / bare UPDATE", speed, "rows/s", floor, speed / floor, 0.5),
        _row(f"reveal p99 at {CLIENTS} clients during KEK rotation / at rest", during, "ms", quiet, during / quiet, 2.0),
    ]


def _row(name: str, value: float, unit: str, floor: float, ratio: float, aim: float) -> dict[str, Any]:
    return {"name": name, "value": round(value, 2), "unit": unit, "floor": round(floor, 2), "ratio": round(ratio, 3), "aim": aim}


def main() -> None:
    """Print the rows."""
    for row in measure():
        print(f"{row['name']}: {row['value']} {row['unit']}, floor {row['floor']}, ratio {row['ratio']} (aim {row['aim']})")


if __name__ == "__main__":
    main()
