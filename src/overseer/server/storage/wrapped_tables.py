"""Every table that keeps data keys: the one list that key rotation, retirement of terms and ``key verify`` go through.

A new table joins by one entry in :data:`WRAPPED_TABLES` and its five statements in ``queries/wrapped_tables.sql``; a test finds
tables with a column ``kek_term`` that are not in the list, because a term whose rows nobody counts could be deleted.

Guarantees: ``rewrap`` gives a row its new wrap only where it still has the one that was read, and moves the place of the pass in
the same statement, so a row that changed in between keeps what it has, and nothing of a batch is done without the rest. Rows
that somebody has locked are left out; a later pass finds them. What it will not do: open a key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from overseer.crypto.envelope import PACK_PATH, BundleFileContext, EncryptedValue, RecordContext, TotpContext, ValueContext
from overseer.server.storage.backend_rows import backend_context
from overseer.server.storage.database import Record, Session
from overseer.server.storage.rotation_rows import Place

NO_ID: Final = UUID(int=0)


@dataclass(frozen=True, slots=True)
class WrappedRow:
    """One stored envelope; ``encrypted.ciphertext`` is empty where only its data key was read."""

    id: UUID
    context: RecordContext
    encrypted: EncryptedValue


@dataclass(frozen=True, slots=True)
class RewrappedRows:
    """Rows ``ids`` that had the wraps ``before`` and get ``wrapped`` under ``term``.

    They and the ``unreadable`` ones are all that was under old terms between two places of a pass.
    """

    start: Place
    end: Place
    unreadable: int
    term: int
    ids: Sequence[UUID]
    before: Sequence[bytes]
    wrapped: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class WrappedTable:
    """``context`` gives the place that a row's envelope is bound to, from the instance's id and the row."""

    name: str
    context: Callable[[UUID, Record], RecordContext]

    async def due(
        self, session: Session, instance_id: UUID, newest: int, after: tuple[int, UUID], limit: int
    ) -> list[WrappedRow]:
        """Rows under older terms than ``newest`` after (term, id), by term and id, as they are at this moment."""
        rows = await session.fetch(f"wrapped_{self.name}_due", newest, *after, limit)
        return [self._row(instance_id, row) for row in rows]

    async def rewrap(self, session: Session, rotation_id: UUID, batch: RewrappedRows) -> bool:
        """One batch of a pass. False, and nothing is done, where the rotation is not at ``batch.start`` (any more)."""
        moved = (rotation_id, *batch.start, *batch.end, batch.unreadable)
        wraps = (batch.term, batch.ids, batch.before, batch.wrapped)
        return bool(await session.execute(f"wrapped_{self.name}_rewrap", *moved, *wraps))

    async def page(self, session: Session, instance_id: UUID, after: UUID, limit: int, most_bytes: int) -> list[WrappedRow]:
        """Whole rows after an id, by id: at least one where there is one, else at most ``limit`` and about ``most_bytes``."""
        rows = await session.fetch(f"wrapped_{self.name}_page", after, limit, most_bytes)
        return [self._row(instance_id, row) for row in rows]

    def _row(self, instance_id: UUID, row: Mapping[str, Any]) -> WrappedRow:
        encrypted = EncryptedValue(row["format"], row["kek_term"], row["wrapped_dek"], row.get("ciphertext", b""))
        return WrappedRow(row["id"], self.context(instance_id, row), encrypted)


WRAPPED_TABLES: Final = (
    WrappedTable(
        "secret_version", lambda instance_id, row: ValueContext(instance_id, row["secret_id"], row["id"], row["scope_id"])
    ),
    WrappedTable("bundle", lambda instance_id, row: BundleFileContext(instance_id, row["id"], row["app_id"], PACK_PATH)),
    WrappedTable("user_totp", lambda instance_id, row: TotpContext(instance_id, row["principal_id"], row["id"])),
    WrappedTable("backend", backend_context),
)


def table_named(name: str) -> WrappedTable | None:
    """The entry of that name, None where there is none."""
    return next((table for table in WRAPPED_TABLES if table.name == name), None)


async def rows_on_old_terms(session: Session, newest: int) -> dict[int, int]:
    """How many rows of all tables are under each term older than ``newest``."""
    found: dict[int, int] = {}
    for table in WRAPPED_TABLES:
        for row in await session.fetch(f"wrapped_{table.name}_terms", newest):
            found[row["term"]] = found.get(row["term"], 0) + row["rows"]
    return found


async def freeze_all(session: Session) -> None:
    """Until the transaction ends nobody writes into any of them, and everyone who was writing has ended."""
    for table in WRAPPED_TABLES:
        await session.execute(f"wrapped_{table.name}_freeze")
