"""What the server's own batch statements cost without anything around them: no HTTP, no queue, no encryption.

``python -m benchmarks.batch_floor KIND CLIENTS SECONDS``, KIND reveal, resolve or write. Standard input is JSON: ``url`` of the
database, ``digest`` of a token (hexadecimal), ``secrets`` by id, ``names``. Two batches are under way, each of half of the
clients, which is what the server does when nothing else costs anything. Prints requests per second.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID, uuid4

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.resolve_batches import BITS
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.resolve_rows import ResolveWanted, resolve_batch
from overseer.server.storage.reveal_rows import RevealRequest, reveal_batch
from overseer.server.storage.secret_rows import SecretRow, lock_free_secrets
from overseer.server.storage.service_session import session_setup
from overseer.server.storage.version_rows import StoredVersion
from overseer.server.storage.write_rows import NewVersion, add_versions, decide_updates

_BYTES = bytes(60)


@dataclass
class Given:
    """What is asked for, and by whom."""

    database: Database
    caller: Caller
    secrets: list[UUID]
    names: tuple[str, ...]


Batch = Callable[[Given, int, int], Awaitable[int]]


async def _reveals(given: Given, number: int, size: int) -> int:
    asked = [RevealRequest(given.caller, given.secrets[(number + n) % len(given.secrets)], None) for n in range(size)]
    async with given.database.session(one_statement=True) as session:
        return len(await reveal_batch(session, asked))


async def _resolves(given: Given, _number: int, size: int) -> int:
    async with given.database.session(one_statement=True) as session:
        return len(await resolve_batch(session, [ResolveWanted(given.caller, Scope(), given.names)] * size, BITS))


async def _writes(given: Given, number: int, size: int) -> int:
    chosen = [given.secrets[(number + n) % len(given.secrets)] for n in range(size)]
    async with given.database.work() as session:
        asked = [(given.caller.token_hash, given.caller.peer, one, True) for one in chosen]
        allowed = await decide_updates(session, asked)
        rows = await lock_free_secrets(session, chosen)
        actor = allowed[0].actor
        new = [NewVersion(row, _stored(row), None, actor.id, activate=True, immediate=False) for row in rows.values()]
        changed = await add_versions(session, new)
        await insert_events(session, [_event(given.caller, one.id) for one in changed.values()])
    return len(changed)


BATCHES: Final[dict[str, Batch]] = {"reveal": _reveals, "resolve": _resolves, "write": _writes}


def _stored(row: SecretRow) -> StoredVersion:
    return StoredVersion(row.id, row.latest_version + 1, uuid4(), row.scope_id, 1, 1, _BYTES, _BYTES)


def _event(caller: Caller, secret: UUID) -> AuditEvent:
    return AuditEvent(AuditAction.SECRET_UPDATE, Outcome.ALLOWED, caller.request_id, resource_id=secret)


async def run(batch: Batch, given: Given, clients: int, seconds: float) -> float:
    """Requests per second."""
    size, loops = max(1, clients // 2), 1 if clients == 1 else 2
    began = time.perf_counter()
    done = 0

    async def loop(number: int) -> None:
        nonlocal done
        while time.perf_counter() < began + seconds:
            done += await batch(given, number, size)
            number += size

    half = len(given.secrets) // 2
    await asyncio.gather(*(loop(number * half) for number in range(loops)))
    return done / (time.perf_counter() - began)


async def _main(kind: str, clients: int, seconds: float, given: dict[str, Any]) -> float:
    database = Database(service_arguments(given["url"]), setup=session_setup)
    caller = Caller(bytes.fromhex(given["digest"]), "floor", "127.0.0.1", "overseer-python/0")
    secrets = [UUID(one) for one in given["secrets"]]
    batch = BATCHES[kind]
    try:
        return await run(batch, Given(database, caller, secrets, tuple(given["names"])), clients, seconds)
    finally:
        await database.close()


def main() -> None:
    """See the module's text."""
    import uvloop

    print(json.dumps(uvloop.run(_main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), json.load(sys.stdin)))))


if __name__ == "__main__":
    main()
