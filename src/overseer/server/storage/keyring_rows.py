"""The instance's row and the rows of its keyring; every key in them is wrapped."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from overseer.core.errors import Conflict
from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class InstanceRow:
    """Which installation this is. ``check_value`` tells a wrong root key; ``seal_config`` is the seal's, often None."""

    id: UUID
    check_value: bytes
    seal_kind: str
    seal_config: bytes | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """One wrapped key. ``wraps_reserved`` counts the encryptions that were handed out in blocks."""

    purpose: str
    term: int
    wrapped: bytes = field(repr=False)
    wraps_reserved: int
    created_at: datetime


async def load_instance(session: Session) -> InstanceRow | None:
    """The instance; None in a database that was migrated and not initialised."""
    row = await session.fetchrow("instance_load")
    return InstanceRow(row["id"], row["check_value"], row["seal_kind"], row["seal_config"]) if row else None


async def load_keys(session: Session) -> list[KeyRow]:
    """Every key of the keyring, by purpose and term."""
    return [
        KeyRow(row["purpose"], row["term"], row["wrapped"], row["wraps_reserved"], row["created_at"])
        for row in await session.fetch("keyring_load")
    ]


async def recorded_term(session: Session) -> int:
    """The newest term of the key-encryption key that the audit log has a rotation to; 0 where it has none."""
    return await session.fetchval("keyring_recorded_term") or 0


async def reserve_wraps(session: Session, purpose: str, term: int, count: int) -> int | None:
    """Add ``count`` to the key's durable counter; its new total, or None where the key is gone."""
    total: int | None = await session.fetchval("keyring_reserve_wraps", purpose, term, count)
    return total


async def lock_keyring(session: Session) -> None:
    """Until the end of the transaction nobody else adds, removes or re-wraps keys. Taken *before* the keys are read."""
    await session.fetchval("instance_lock")


async def store_rewrapped(session: Session, instance: InstanceRow, keys: Iterable[tuple[str, int, bytes]]) -> None:
    """The keys as (purpose, term, wrapped) under another root key, with the check value and the seal of ``instance``.

    Raises :class:`Conflict` where a key is not there any more. Under :func:`lock_keyring` only.
    """
    for purpose, term, wrapped in keys:
        if await session.execute("keyring_rewrap", purpose, term, wrapped) != 1:
            raise Conflict("the keyring was changed meanwhile; nothing was changed, try again")
    await session.execute("instance_seal", instance.check_value, instance.seal_kind, instance.seal_config)


async def remove_key(session: Session, purpose: str, term: int) -> None:
    """Delete a key for good; nothing may be wrapped by it any more."""
    await session.execute("keyring_remove", purpose, term)
