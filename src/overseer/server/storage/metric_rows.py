"""Numbers about the instance for the metrics."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class Numbers:
    """``age`` in seconds and ``wraps_reserved`` are of the newest key-encryption key; ``audit_rows`` counts insertions."""

    secrets: int
    agents_online: int
    audit_rows: int
    term: int
    wraps_reserved: int
    age: float


async def numbers(session: Session, silence: timedelta, purpose: str) -> Numbers | None:
    """None where the instance has no keyring yet. An agent is online that spoke within ``silence``."""
    row = await session.fetchrow("metrics_numbers", silence, purpose)
    return Numbers(**dict(row)) if row else None


async def states(session: Session) -> list[tuple[str, str, int]]:
    """How many deployments, rollouts and nodes are in which state."""
    return [(row["kind"], row["state"], row["number"]) for row in await session.fetch("metrics_states")]
