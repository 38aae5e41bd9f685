"""Who a provider's subject is here, which groups that means, and what was spent, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class LinkedUser:
    """The user behind a provider's subject."""

    id: UUID
    name: str


async def link(session: Session, issuer: str, subject: str, user_id: UUID) -> None:
    """Tie a subject to a user; :class:`AlreadyExists` where it is tied."""
    await session.execute("external_identity_insert", issuer, subject, user_id)


async def unlink(session: Session, issuer: str, subject: str) -> None:
    """Untie a subject."""
    await session.execute("external_identity_delete", issuer, subject)


async def linked_user(session: Session, issuer: str, subject: str) -> LinkedUser | None:
    """Whom the subject signs in as, noting the use; None where it is tied to nobody."""
    row = await session.fetchrow("external_identity_use", issuer, subject)
    return LinkedUser(**dict(row)) if row else None


async def spend(session: Session, digest: bytes, expires_at: datetime) -> bool:
    """Spend what works once; False where it was spent, on whichever replica. It is remembered beyond ``expires_at``."""
    return await session.execute("credential_spend", digest, expires_at) == 1


async def follow_groups(session: Session, user_id: UUID, mapped: list[str], held: list[str]) -> list[tuple[UUID, str, bool]]:
    """Make the memberships in the groups ``mapped`` (names) exactly ``held``; id, name and whether it was added, by name."""
    rows = await session.fetch("external_groups_follow", user_id, mapped, held)
    return [(row["id"], row["name"], row["added"]) for row in rows]
