"""Sessions as rows: tokens of kind ``session``, which also end when they are not used for ``idle_seconds``."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A live session without its secret. ``last_used_at`` is coarse: half a minute."""

    id: UUID
    principal_id: UUID
    principal: str
    description: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime
    idle_seconds: int


async def insert_session(
    session: Session,
    digest: bytes,
    session_id: UUID,
    user_id: UUID,
    description: str,
    expires_at: datetime,
    idle_seconds: int,
    *,
    enrolling: bool = False,
) -> None:
    """Store a session's hash. ``enrolling``: it may set up a second factor, and nothing else."""
    await session.execute("session_insert", digest, session_id, user_id, description, expires_at, idle_seconds, enrolling)


async def keep_newest_sessions(session: Session, user_id: UUID, most: int) -> None:
    """Forget a user's oldest live sessions beyond ``most``."""
    await session.execute("session_keep_newest", user_id, most)


async def rotate_session(session: Session, session_id: UUID, digest: bytes, *, enrolling: bool) -> bool:
    """Give a live session another secret, ``enrolling`` or not; False where there is no such session (a token is none)."""
    return await session.execute("session_rotate", session_id, digest, enrolling) == 1


async def is_live(session: Session, digest: bytes | None, token_id: UUID) -> bool:
    """Whether a session or token, found earlier in the transaction, still has that secret and was not revoked."""
    return await session.fetchval("session_is_live", token_id, digest) is not None


async def live_sessions(session: Session, *, user_id: UUID | None = None, session_id: UUID | None = None) -> list[SessionRow]:
    """Live sessions, of one user or one id where given, newest first for each user."""
    return [SessionRow(**dict(row)) for row in await session.fetch("session_all", user_id, session_id)]


async def revoke_sessions_of(session: Session, user_id: UUID, but: UUID | None = None) -> int:
    """End a user's sessions, all or all but one; how many there were."""
    return await session.execute("session_revoke_of", user_id, but)
