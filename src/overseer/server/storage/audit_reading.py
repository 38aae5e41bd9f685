"""Reading audit rows: searches, newest first, and readers that follow the log from its beginning.

Guarantees: a step of a search looks at no more than :data:`BUDGET` rows, whatever the filters are, and says where the next one
begins, so no request runs long and nothing is passed over; a search by time begins near that time. A reader (:class:`Reader`)
remembers the last row it is done with and reads only rows that are sealed: their order is final, so it skips none.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Final
from uuid import UUID

from overseer.core.audit_filter import AuditFilter
from overseer.server.storage.audit_log_rows import StoredCheckpoint
from overseer.server.storage.database import Record, Session

#: Rows that one step of a search looks at: some tens of milliseconds.
BUDGET: Final = 20_000
#: The reader that keeps what each principal was shown.
SEEN: Final = "seen"
_LAST_INCARNATION: Final = (1 << 31) - 1


@dataclass(frozen=True, slots=True, order=True)
class RowKey:
    """A row's place in the log; ``text`` is how people and cursors write it."""

    incarnation: int = 0
    xact: int = 0
    id: int = -1

    @property
    def text(self) -> str:
        return f"{self.incarnation}.{self.xact}.{self.id}"

    @property
    def arguments(self) -> tuple[int, str, int]:
        """As statements take it."""
        return self.incarnation, str(self.xact), self.id

    @classmethod
    def parse(cls, text: str) -> RowKey | None:
        """None for what is no key."""
        parts = text.split(".")
        if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
            return None
        found = cls(*(int(part) for part in parts))
        return found if found.incarnation <= _LAST_INCARNATION else None

    @classmethod
    def of(cls, row: Record) -> RowKey:
        return cls(row["incarnation"], int(row["xact"]), row["id"])


LAST_KEY: Final = RowKey(_LAST_INCARNATION, (1 << 63) - 1, (1 << 63) - 1)


async def search(
    session: Session, wanted: AuditFilter, after: RowKey, limit: int, budget: int = BUDGET
) -> tuple[list[Record], RowKey | None]:
    """Up to ``limit`` rows before ``after`` that match, and the key to go on from; None where all was looked at."""
    span = await session.fetchrow("audit_span", wanted.since, wanted.until)
    assert span is not None  # noqa: S101  # always one row
    first = (span["first_incarnation"], span["first_xact"])
    after = min(after, RowKey(span["end_incarnation"], int(span["end_xact"]), -1))
    values = [getattr(wanted, field.name) for field in fields(wanted)]
    rows = await session.fetch("audit_scan", *after.arguments, budget, *first, limit, *values)
    if len(rows) == limit:
        return rows, RowKey.of(rows[-1])
    end = await session.fetchrow("audit_scan_end", *after.arguments, budget, *first)
    return rows, None if end is None else RowKey.of(end)


@dataclass(frozen=True, slots=True)
class Reader:
    """How far a reader has come: the last row it is done with; the size and time of the last checkpoint it passed on; since when
    it is known to be behind."""

    name: str
    key: RowKey = RowKey()
    checkpoint_size: int = 0
    checkpoint_at: datetime | None = None
    alarmed_at: datetime | None = None


async def read_reader(session: Session, name: str) -> Reader:
    """A reader that never wrote itself down begins at the log's beginning."""
    return await known_reader(session, name) or Reader(name)


async def known_reader(session: Session, name: str) -> Reader | None:
    """None where it never wrote itself down."""
    row = await session.fetchrow("audit_reader_read", name)
    if row is None:
        return None
    return Reader(name, RowKey.of(row), row["checkpoint_size"], row["checkpoint_at"], row["alarmed_at"])


async def lock_reader(session: Session, name: str) -> None:
    """Until the end of the transaction no other process reads under this name."""
    await session.fetchval("audit_reader_lock", name)


async def write_reader(session: Session, reader: Reader) -> None:
    """Remember it."""
    state = (reader.checkpoint_size, reader.checkpoint_at, reader.alarmed_at)
    await session.execute("audit_reader_write", reader.name, *reader.key.arguments, *state)


async def read_on(session: Session, reader: Reader, last: StoredCheckpoint, limit: int) -> list[Record]:
    """The next rows, oldest first, below the horizon of the checkpoint ``last``; each with its ``age`` in seconds."""
    bound = (last.checkpoint.incarnation, str(last.checkpoint.horizon))
    return await session.fetch("audit_read_on", *reader.key.arguments, *bound, limit)


async def unread_seconds(session: Session, reader: Reader) -> float:
    """The age of the oldest row that the reader is not done with, sealed or not; 0.0 where there is none."""
    age = await session.fetchval("audit_unread", *reader.key.arguments)
    return float(age or 0.0)


async def fold_seen(session: Session, last: StoredCheckpoint, limit: int) -> int:
    """Put the next rows into the summary of what principals were shown or wrote; how many they were."""
    await lock_reader(session, SEEN)
    reader = await read_reader(session, SEEN)
    bound = (last.checkpoint.incarnation, str(last.checkpoint.horizon))
    row = await session.fetchrow("audit_seen_fold", *reader.key.arguments, *bound, limit)
    if row is None:
        return 0
    await write_reader(session, replace(reader, key=RowKey.of(row)))
    return int(row["rows"])


async def erase_texts(session: Session, actor_id: UUID | None, row: RowKey | None, most: int) -> int:
    """Erase up to ``most`` free texts of a principal's rows, or of one row; how many were there."""
    return await session.execute("audit_text_erase", actor_id, *(row.arguments if row else (None, None, None)), most)
