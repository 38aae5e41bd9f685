"""What came of a batch that was sent with an idempotency key: ids, in the order of its operations, never a value or an answer."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from overseer.server.storage.database import Session


async def insert_batch(session: Session, batch_id: UUID, secret_ids: Sequence[UUID]) -> None:
    """Remember the secrets of a batch for as long as its key; those of expired keys go in passing."""
    await session.execute("batch_insert", batch_id, list(secret_ids))


async def batch_secrets(session: Session, batch_id: UUID) -> list[UUID]:
    """The secrets of a batch, in the order of its operations."""
    found: list[UUID] = await session.fetchval("batch_secrets", batch_id)
    return found
