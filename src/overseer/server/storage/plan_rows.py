"""What plans said, kept for some time by their digests."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any, Final

from overseer.server.storage.database import Session

KEPT: Final = timedelta(days=30)


async def keep_plan(session: Session, digest: str, content: dict[str, Any]) -> None:
    """Remember what a digest stands for; what nobody asked for in :data:`KEPT` is forgotten."""
    await session.execute("plan_purge", KEPT)
    await session.execute("plan_insert", digest, json.dumps(content))


async def plan_by_digest(session: Session, digest: str) -> dict[str, Any] | None:
    """What the digest stands for; None where it is not known any more, or never was."""
    text = await session.fetchval("plan_by_digest", digest)
    return None if text is None else json.loads(text)
