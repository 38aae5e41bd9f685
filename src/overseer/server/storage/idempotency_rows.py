"""Idempotency keys, remembered in the transaction of the change that they stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class FirstResult:
    """What a key stands for. ``version`` is that of a secret, else None."""

    body_hmac: bytes
    status: int
    resource_id: UUID
    version: int | None


async def lock_and_load(session: Session, principal_id: UUID, route: str, key: str) -> FirstResult | None:
    """Hold the key until the transaction ends; what it stands for where it was used within 24 hours."""
    await session.execute("idempotency_lock", principal_id, route, key)
    row = await session.fetchrow("idempotency_load", principal_id, route, key)
    return FirstResult(row["body_hmac"], row["status"], row["resource_id"], row["version"]) if row else None


async def claim_unused(session: Session, keys: Sequence[tuple[UUID, str, str]]) -> set[int]:
    """Hold those of (principal, route, key) that nobody else holds, without waiting; the positions of the unused ones."""
    columns = [list(column) for column in zip(*keys, strict=True)]
    held = {row["ord"] - 1 for row in await session.fetch("idempotency_claim", *columns)}
    return held - {row["ord"] - 1 for row in await session.fetch("idempotency_known", *columns)}


async def insert_result(session: Session, principal_id: UUID, route: str, key: str, result: FirstResult) -> None:
    """Remember the key, which :func:`lock_and_load` holds."""
    fields = (result.body_hmac, result.status, result.resource_id, result.version)
    await session.execute("idempotency_insert", principal_id, route, key, *fields)
