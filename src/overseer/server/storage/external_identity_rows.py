"""Who a provider's subject is here, and sign-ins that were sent to a provider, as rows."""

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
    disabled: bool


@dataclass(frozen=True, slots=True)
class UnderWay:
    """A sign-in that was sent to ``provider`` and comes back to ``redirect_uri``."""

    provider: str
    redirect_uri: str


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


async def begin_sign_in(session: Session, digest: bytes, provider: str, redirect_uri: str, expires_at: datetime) -> None:
    """Remember a sign-in that is sent to a provider."""
    await session.execute("oidc_sign_in_insert", digest, provider, redirect_uri, expires_at)


async def end_sign_in(session: Session, digest: bytes) -> UnderWay | None:
    """Use a sign-in up, once; None where it is unknown, used or too old."""
    row = await session.fetchrow("oidc_sign_in_use", digest)
    return UnderWay(**dict(row)) if row else None


async def spend_exchanged(session: Session, digest: bytes, expires_at: datetime) -> bool:
    """Spend a token of a CI job, once; False where it was spent, on whichever replica."""
    return await session.execute("exchanged_token_spend", digest, expires_at) == 1
