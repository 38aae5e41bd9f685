"""Imports as rows: names and versions, never a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.core.scopes import Scope
from overseer.server.storage.database import Record, Session


@dataclass(frozen=True, slots=True)
class ImportItem:
    """One secret of an import. ``former_version`` None: the import made the secret."""

    secret_id: UUID
    name: str
    version: int
    former_version: int | None
    revision: int


@dataclass(frozen=True, slots=True)
class NewItem:
    """A secret that an import made or changed: the version that was active before, and seconds until it is erased."""

    secret_id: UUID
    former_version: int | None
    erase_after: int | None = None


@dataclass(frozen=True, slots=True)
class ErasedSecret:
    """What was deleted because the import that made it said when, and who imported it."""

    secret_id: UUID
    name: str
    scope_names: Scope[str]
    created_by: UUID | None


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One import. ``scope_names`` are as they were then; ``creator`` is empty where the principal is deleted."""

    id: UUID
    origin: str
    scope: Scope[UUID]
    scope_names: Scope[str]
    created_by: UUID | None
    creator: str
    created_at: datetime
    undone_at: datetime | None
    items: tuple[ImportItem, ...]


async def insert_import(
    session: Session, import_id: UUID, origin: str, scope: Scope[UUID], names: Scope[str], created_by: UUID
) -> None:
    """The import itself."""
    ids = (scope.app, scope.environment, scope.node)
    await session.execute("import_insert", import_id, origin, *ids, names.app, names.environment, names.node, created_by)


async def insert_items(session: Session, import_id: UUID, items: Sequence[NewItem]) -> None:
    """Its secrets."""
    columns = [one.secret_id for one in items], [one.former_version for one in items], [one.erase_after for one in items]
    await session.execute("import_item_insert", import_id, *columns)


async def import_by_id(session: Session, import_id: UUID) -> ImportRow | None:
    """The import with its items, or None."""
    row = await session.fetchrow("import_by_id", import_id)
    return None if row is None else (await _with_items(session, [row]))[0]


async def import_page(session: Session, before: UUID | None, limit: int, most: int) -> tuple[list[ImportRow], bool]:
    """Imports, newest first, and whether there are more: up to ``limit``, and fewer where they would have more than ``most``
    items together (but one at least)."""
    rows = await session.fetch("import_page", before, limit + 1)
    taken, items = 0, 0
    for row in rows[:limit]:
        items += row["secrets"]
        if taken and items > most:
            break
        taken += 1
    return await _with_items(session, rows[:taken]), len(rows) > taken


async def erase_due(session: Session, limit: int) -> list[ErasedSecret]:
    """Delete secrets whose time is over, with every version; which ones."""
    return [
        ErasedSecret(row["id"], row["name"], Scope(row["app"], row["environment"], row["node"]), row["created_by"])
        for row in await session.fetch("import_erase_due", limit)
    ]


async def mark_undone(session: Session, import_id: UUID) -> bool:
    """False where it was undone already."""
    return await session.execute("import_undone", import_id) == 1


async def _with_items(session: Session, rows: Sequence[Record]) -> list[ImportRow]:
    items: dict[UUID, list[ImportItem]] = {row["id"]: [] for row in rows}
    for item in await session.fetch("import_items", list(items)):
        fields = (item["secret_id"], item["name"], item["version"], item["former_version"], item["revision"])
        items[item["import_id"]].append(ImportItem(*fields))
    return [
        ImportRow(
            id=row["id"],
            origin=row["origin"],
            scope=Scope(row["app_id"], row["environment_id"], row["node_id"]),
            scope_names=Scope(row["app"], row["environment"], row["node"]),
            created_by=row["created_by"],
            creator=row["creator"],
            created_at=row["created_at"],
            undone_at=row["undone_at"],
            items=tuple(items[row["id"]]),
        )
        for row in rows
    ]
