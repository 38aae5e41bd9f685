"""Roles as rows: a set of permissions with a name, and the copies of its bits in the bindings that use it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class FullRole:
    """A role as people read it; ``in_use`` counts its bindings, ``revision`` its changes."""

    id: UUID
    name: str
    permissions: int
    built_in: bool
    description: str
    revision: int
    created_at: datetime
    in_use: int


async def insert_role(session: Session, role_id: UUID, name: str, permissions: int, description: str) -> None:
    """A role of people's own; :class:`AlreadyExists` where the name is taken."""
    await session.execute("role_insert", role_id, name, permissions, description)


async def roles(
    session: Session, role_id: UUID | None = None, after: str | None = None, limit: int | None = None
) -> list[FullRole]:
    """Roles by name, those behind ``after``; or the one of that id."""
    return [FullRole(**dict(row)) for row in await session.fetch("role_found", role_id, after, limit)]


async def locked_role(session: Session, role_id: UUID) -> FullRole | None:
    """The role as it is under a lock against bindings and other changes."""
    if await session.fetchval("role_lock", role_id) is None:
        return None
    return (await roles(session, role_id))[0]


async def bits_for_binding(session: Session, role_id: UUID) -> int | None:
    """The role's bits, which stay so until the transaction ends; None where it is gone."""
    bits: int | None = await session.fetchval("role_bits", role_id)
    return bits


async def patch_role(session: Session, role_id: UUID, name: str, description: str, permissions: int, changed_by: UUID) -> None:
    """Change a role and the bits in every binding that uses it; the caller holds the lock."""
    await session.execute("role_patch", role_id, name, description, permissions, changed_by)
    await session.execute("role_rewrite_bindings", role_id, permissions)


async def delete_role(session: Session, role_id: UUID) -> None:
    """A role with the bindings that use it; the caller holds the lock."""
    await session.execute("role_delete_bindings", role_id)
    await session.execute("role_delete", role_id)
