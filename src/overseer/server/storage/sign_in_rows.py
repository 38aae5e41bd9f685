"""Counted sign-ins of a name, from one peer and from everywhere, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from overseer.server.storage.database import Session

EVERYWHERE = ""


@dataclass(frozen=True, slots=True)
class TryRow:
    """``failures`` since the last day without one; ``good_at`` the last sign-in that succeeded."""

    failures: int = 0
    failed_at: datetime | None = None
    blocked_until: datetime | None = None
    good_at: datetime | None = None


async def lock_tries(session: Session, name_key: bytes, peer: str) -> tuple[TryRow, TryRow, datetime]:
    """The rows of this peer and of everywhere, locked until the transaction ends, and the database's clock."""
    await session.execute("sign_in_try_open", name_key, peer)
    rows = {row["peer"]: row for row in await session.fetch("sign_in_try_lock", name_key, peer)}
    found = {key: TryRow(row["failures"], row["failed_at"], row["blocked_until"], row["good_at"]) for key, row in rows.items()}
    return found[peer], found[EVERYWHERE], rows[peer]["now"]


async def store_tries(session: Session, name_key: bytes, peer: str, row: TryRow) -> None:
    """Replace one of the locked rows."""
    await session.execute("sign_in_try_store", name_key, peer, row.failures, row.failed_at, row.blocked_until, row.good_at)
