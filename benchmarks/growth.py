"""How the cost of reading and of listing grows with what is stored: ten and a hundred times as much of one kind of row.

The statement of a batch of 32 reveals is timed without HTTP, and one page of the audit log and of the secrets over HTTP.
``floor`` is the same thing before anything was added, so ``ratio`` is how much dearer it has become.
"""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

import asyncpg

from benchmarks.contest import Row, database_url, row
from benchmarks.installation import Installation, installation
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.tokens import token_hash
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.reveal_rows import RevealRequest, reveal_batch
from overseer.server.storage.service_session import session_setup

SECRETS, BATCH, REPEATS = 100, 32, 40

# Each multiplies one kind of row: $1 is how many more there shall be. Bindings are the reader's own and select nothing that is
# asked for, so that every one of them is looked at in vain.
_GROW: Final = {
    "secrets": """
        WITH s AS (INSERT INTO secret (id, scope_id, name, latest_version, active_version)
                   SELECT gen_random_uuid(), (SELECT scope_id FROM secret LIMIT 1), 'more-' || gen_random_uuid(), 1, 1
                   FROM generate_series(1, $1::integer) RETURNING id)
        INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext)
        SELECT id, 1, gen_random_uuid(), 1, 1, decode(repeat('00', 60), 'hex'), decode(repeat('00', 60), 'hex') FROM s
    """,
    "bindings": """
        INSERT INTO binding (id, subject_id, subject_kind, role_id, permissions, app_match, environment_match, node_match, name,
                             name_is_prefix)
        SELECT gen_random_uuid(), (SELECT subject_id FROM binding LIMIT 1), 'principal',
               (SELECT id FROM role WHERE name = 'owner'), 2, 'unset', 'any', 'any', 'no-such-' || n, true
        FROM generate_series(1, $1::integer) AS n
    """,
    "versions": """
        INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext)
        SELECT s.id, m.latest + n, gen_random_uuid(), 1, 1, decode(repeat('00', 60), 'hex'), decode(repeat('00', 60), 'hex')
        FROM secret s, LATERAL (SELECT max(version) AS latest FROM secret_version v WHERE v.secret_id = s.id) m,
             generate_series(1, $1::integer / 100) AS n
        WHERE s.name LIKE 'secret-%'
    """,
    "audit rows": """
        INSERT INTO audit (request_id, action, outcome, resource_kind, actor_name)
        SELECT 'growth', 'secret:reveal', 'allowed', 'secret', 'somebody' FROM generate_series(1, $1::integer)
    """,
}
#: What there is at first, of which ten and a hundred times as much is made. Bindings are those of the one who asks.
_BASE: Final = {"secrets": 1_000, "bindings": 20, "versions": 1_000, "audit rows": 10_000}


def measure(quick: bool = False) -> list[Row]:
    """Rows in milliseconds for each kind, 10 and (unless ``quick``) 100 times as much."""
    rows: list[Row] = []
    for kind in _GROW:
        with installation(secrets=SECRETS) as made:
            rows += asyncio.run(_growing(made, kind, (10,) if quick else (10, 100)))
    return rows


async def _growing(made: Installation, kind: str, times: tuple[int, ...]) -> list[Row]:
    url = database_url(made)
    owner = await asyncpg.connect(url)
    database = Database(service_arguments(url), setup=session_setup)
    measures = _measures(made, database)
    rows: list[Row] = []
    try:
        await _grow(owner, kind, _BASE[kind])
        first = {name: await _timed(measure) for name, measure in measures.items()}
        present = 1
        for more in times:
            await _grow(owner, kind, (more - present) * _BASE[kind])
            present = more
            for name, measure in measures.items():
                value = await _timed(measure)
                label = f"{name}, {more * _BASE[kind]:,} {kind} / {_BASE[kind]:,}"
                rows.append(row(label, [value], "ms", [first[name]]))
    finally:
        await database.close()
        await owner.close()
    return rows


def _measures(made: Installation, database: Database) -> dict[str, Callable[[], Awaitable[None]]]:
    caller = Caller(token_hash(SecretValue(made.token)), "growth", "127.0.0.1", "overseer-python/0")
    asked = [RevealRequest(caller, UUID(secret), None) for secret in made.secrets[:BATCH]]

    async def reveals() -> None:
        async with database.session(one_statement=True) as session:
            await reveal_batch(session, asked)

    def page(path: str) -> Callable[[], Awaitable[None]]:
        async def ask() -> None:
            await asyncio.to_thread(made.call, "GET", path)

        return ask

    return {
        f"batch of {BATCH} reveals": reveals,
        "page of secrets": page("/api/secrets?limit=50"),
        "page of the log": page("/api/audit?limit=50"),
    }


async def _grow(owner: asyncpg.Connection, kind: str, more: int) -> None:
    await owner.execute(_GROW[kind], more, timeout=600)
    for table in ("secret", "secret_version", "binding", "audit"):
        await owner.execute(f"VACUUM ANALYZE {table}")


async def _timed(measure: Callable[[], Awaitable[None]]) -> float:
    """The median in milliseconds."""
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        await measure()
        times.append((time.perf_counter() - began) * 1000)
    return statistics.median(times)
