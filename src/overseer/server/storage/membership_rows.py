"""Groups of principals and who is in them, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.server.storage.database import Session
from overseer.server.storage.principal_rows import PrincipalRow, principal_row


@dataclass(frozen=True, slots=True)
class PrincipalGroup:
    """A group; ``members`` counts them, ``revision`` counts changes of name and description."""

    id: UUID
    name: str
    description: str
    revision: int
    created_at: datetime
    members: int


async def insert_group(session: Session, group_id: UUID, name: str, description: str) -> None:
    """A group without members; :class:`AlreadyExists` where the name is taken."""
    await session.execute("group_insert", group_id, name, description)


async def groups(
    session: Session, group_id: UUID | None = None, after: str | None = None, limit: int | None = None
) -> list[PrincipalGroup]:
    """Groups by name, those behind ``after``; or the one of that id."""
    return [PrincipalGroup(**dict(row)) for row in await session.fetch("group_found", group_id, after, limit)]


async def locked_group(session: Session, group_id: UUID) -> PrincipalGroup | None:
    """The group as it is under a lock that lasts until the transaction ends."""
    if await session.fetchval("group_lock", group_id) is None:
        return None
    return (await groups(session, group_id))[0]


async def group_id_by_name(session: Session, name: str) -> UUID | None:
    """A group by name."""
    found: UUID | None = await session.fetchval("group_by_name", name)
    return found


async def groups_of(session: Session, principal_id: UUID) -> dict[UUID, str]:
    """The groups that a principal is in, by name."""
    return {row["id"]: row["name"] for row in await session.fetch("groups_of", principal_id)}


async def patch_group(session: Session, group_id: UUID, name: str, description: str) -> None:
    """Change name and description; the caller holds the lock."""
    await session.execute("group_patch", group_id, name, description)


async def delete_group(session: Session, group_id: UUID) -> None:
    """A group with its memberships (by cascade) and its bindings (which have no foreign key)."""
    await session.execute("binding_delete_of_subject", group_id)
    await session.execute("group_delete", group_id)


async def add_member(session: Session, group_id: UUID, principal_id: UUID) -> bool:
    """False where it is in the group already."""
    return await session.execute("member_insert", principal_id, group_id) == 1


async def remove_member(session: Session, group_id: UUID, principal_id: UUID) -> bool:
    """False where it is not in the group."""
    return await session.execute("member_delete", principal_id, group_id) == 1


async def members(session: Session, group_id: UUID, after: tuple[str, UUID] | None, limit: int) -> list[PrincipalRow]:
    """Members by name and id, those behind ``after``."""
    rows = await session.fetch("member_page", group_id, *(after or (None, None)), limit)
    return [principal_row(row) for row in rows]
