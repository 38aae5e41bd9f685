"""Apps, environments and nodes, and the scopes made of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from overseer.core.scopes import Scope
from overseer.server.storage.database import Record, Session


class Part(StrEnum):
    """The three parts of a scope, by the name of their table."""

    APP = "app"
    ENVIRONMENT = "environment"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class PartRow:
    """An app or an environment."""

    id: UUID
    name: str
    description: str
    created_at: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class FoundScope:
    """A scope by ids, and the parts whose name does not exist (their id is None in ``scope``)."""

    scope: Scope[UUID]
    missing: tuple[Part, ...]


async def find_scope(session: Session, names: Scope[str]) -> FoundScope:
    """The ids behind the names of a scope, in one round trip."""
    row = await session.fetchrow("scope_by_names", names.app, names.environment, names.node)
    if row is None:  # a SELECT without FROM has one row
        raise RuntimeError("scope_by_names gave no row")
    ids = {part: row[part.value] for part in Part}
    wanted = {Part.APP: names.app, Part.ENVIRONMENT: names.environment, Part.NODE: names.node}
    return FoundScope(
        Scope(ids[Part.APP], ids[Part.ENVIRONMENT], ids[Part.NODE]),
        tuple(part for part in Part if wanted[part] is not None and ids[part] is None),
    )


async def ensure_scope(session: Session, scope_id: UUID, scope: Scope[UUID]) -> UUID:
    """The id of the scope's row, made with ``scope_id`` where there is none yet; safe under concurrency."""
    parts = (scope.app, scope.environment, scope.node)
    await session.execute("scope_insert", scope_id, *parts)
    found: UUID = await session.fetchval("scope_id_by_parts", *parts)
    return found


async def insert_part(session: Session, part: Part, part_id: UUID, name: str, description: str) -> PartRow:
    """A new app or environment; :class:`AlreadyExists` where the name is taken."""
    row = await session.fetchrow(f"{part}_insert", part_id, name, description)
    assert row is not None  # noqa: S101  # INSERT … RETURNING gives its row
    return _part(row)


async def all_parts(session: Session, part: Part, after: str | None = None) -> list[PartRow]:
    """Every app or environment behind the name ``after``, by name."""
    return [_part(row) for row in await session.fetch(f"{part}_all", after)]


async def lock_part(session: Session, part: Part, part_id: UUID) -> bool:
    """Keep anything new from living at an app, environment or node until the transaction ends; False where it is gone."""
    return await session.fetchval(f"{part}_lock", part_id) is not None


async def describe_part(session: Session, part: Part, part_id: UUID, description: str) -> None:
    """Give an app or environment another description; the caller holds the lock."""
    await session.execute(f"{part}_describe", part_id, description)


async def part_by_name(session: Session, part: Part, name: str) -> PartRow | None:
    """An app or environment by name."""
    row = await session.fetchrow(f"{part}_by_name", name)
    return _part(row) if row else None


async def part_by_id(session: Session, part: Part, part_id: UUID) -> PartRow | None:
    """An app or environment by id."""
    row = await session.fetchrow(f"{part}_by_id", part_id)
    return _part(row) if row else None


async def delete_part(session: Session, part: Part, part_id: UUID) -> None:
    """Delete an app or environment; :class:`Conflict` where anything still lives at it (foreign keys RESTRICT)."""
    await session.execute(f"{part}_scopes_delete_empty", part_id)
    await session.execute(f"{part}_delete", part_id)


def _part(row: Record) -> PartRow:
    return PartRow(row["id"], row["name"], row["description"], row["created_at"], row["revision"])
