"""Rows of the sealed audit log: checkpoints, tiles, keys, and canonical records. What is read here is not trusted: whoever
signs on top of it, or proves something with it, checks it first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from overseer.crypto.checkpoints import Checkpoint
from overseer.crypto.log_tiles import Tile, TilePiece
from overseer.crypto.merkle_log import split_hashes
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class StoredCheckpoint:
    """A checkpoint with what it takes to go on from it, and its signature (64 bytes) by the key of ``key_term``."""

    checkpoint: Checkpoint
    frontier: bytes
    key_term: int
    signature: bytes


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key that signs from ``since_size`` on; ``statement`` introduces it, None for the first."""

    term: int
    public: bytes
    since_size: int
    statement: str | None


@dataclass(frozen=True, slots=True)
class UnsealedRows:
    """What can be sealed now: leaf hashes in order; where the last one's transaction ends; the horizon; the server's state."""

    leaves: list[bytes]
    last_incarnation: int
    last_xact: int
    incarnation: int
    horizon: int
    timeline: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Blocker:
    """A transaction that holds sealing back: ``behind`` counts the transactions since. ``pid`` is None for a prepared one.

    Without ``behind``: a session of somebody else that holds a lock of ours, so that nobody seals."""

    pid: int | None
    database: str
    seconds: float | None
    behind: int | None


def read_checkpoint(row: Mapping[str, Any], origin: str) -> StoredCheckpoint:
    """A row of ``audit_checkpoint``."""
    checkpoint = Checkpoint(
        origin=origin,
        size=row["size"],
        root=row["root"],
        seq=row["seq"],
        incarnation=row["incarnation"],
        horizon=int(row["horizon"]),
        timeline=row["timeline"],
        at=row["at"],
    )
    return StoredCheckpoint(checkpoint, row["frontier"], row["key_term"], row["signature"])


def checkpoint_note(stored: StoredCheckpoint, keys: Iterable[StoredKey]) -> str:
    """The signed note. KeyError where the key that signed it is not in ``keys``."""
    public = {key.term: key.public for key in keys}[stored.key_term]
    return stored.checkpoint.note(public, stored.signature)


async def try_seal_lock(session: Session) -> bool:
    """True where no other sealer is at work; held until the end of the transaction."""
    return bool(await session.fetchval("seal_lock"))


async def last_checkpoint(session: Session, origin: str) -> StoredCheckpoint | None:
    """The newest one; None in a log that was never sealed."""
    row = await session.fetchrow("checkpoint_last")
    return read_checkpoint(row, origin) if row else None


async def one_checkpoint(session: Session, query: str, argument: Any, origin: str) -> StoredCheckpoint | None:
    """The result of ``checkpoint_at_size``, ``…_below_size``, ``…_above_size`` (a size) or ``checkpoint_before`` (a time)."""
    row = await session.fetchrow(query, argument)
    return read_checkpoint(row, origin) if row else None


async def unsealed_rows(session: Session, incarnation: int, horizon: int, limit: int) -> UnsealedRows:
    """Rows from there on that no open transaction can still precede: about ``limit``, whole transactions."""
    row = await session.fetchrow("seal_rows", incarnation, str(horizon), limit)
    assert row is not None  # noqa: S101  # an aggregate
    leaves = split_hashes(row["leaves"] or b"")
    bound = row["incarnation"], int(row["horizon"])
    last = (row["last_incarnation"], int(row["last_xact"])) if leaves else bound
    return UnsealedRows(leaves, *last, *bound, row["timeline"], row["at"])


async def insert_checkpoint(session: Session, stored: StoredCheckpoint, pieces: list[TilePiece]) -> None:
    """Checkpoint and tiles. :class:`AlreadyExists` where another sealer was quicker."""
    c = stored.checkpoint
    place = (c.incarnation, str(c.horizon), c.timeline, c.at)
    await session.execute("checkpoint_insert", c.seq, c.size, c.root, stored.frontier, *place, stored.signature, stored.key_term)
    columns = zip(*((piece.level, piece.number, piece.first, piece.hashes) for piece in pieces), strict=True)
    await session.execute("tile_insert", *(list(column) for column in columns))


async def load_log_keys(session: Session) -> list[StoredKey]:
    """The published keys in order."""
    return [
        StoredKey(row["term"], row["public_key"], row["since_size"], row["statement"]) for row in await session.fetch("log_keys")
    ]


async def insert_log_key(session: Session, key: StoredKey) -> None:
    """Publish a key. :class:`AlreadyExists` where its term is published."""
    await session.execute("log_key_insert", key.term, key.public, key.since_size, key.statement)


def verifier_keys(keys: Iterable[StoredKey], origin: str) -> list[VerifierKey]:
    """The keys as they are published."""
    return [VerifierKey(origin, key.public) for key in keys]


async def load_tiles(session: Session, wanted: Iterable[Tile]) -> dict[Tile, list[bytes]]:
    """Tiles by level and number; those that do not exist are not in the answer."""
    levels, numbers = [list(column) for column in zip(*sorted(wanted), strict=True)] or [[], []]
    rows = await session.fetch("tiles_named", levels, numbers)
    return {(row["level"], row["number"]): split_hashes(row["hashes"]) for row in rows}


async def leaf_tiles(session: Session, first: int, end: int) -> dict[int, list[bytes]]:
    """Leaf hashes by number of their tile, ``first`` to ``end``."""
    return {row["number"]: split_hashes(row["hashes"]) for row in await session.fetch("tiles_of_leaves", first, end)}


async def log_blockers(session: Session) -> list[Blocker]:
    """Who holds a lock of ours and is none of us, and the oldest transactions that have an id, in any database of the cluster;
    never what they run."""
    rows = await session.fetch("log_blockers")
    return [Blocker(row["pid"], row["database"], row["seconds"], row["behind"]) for row in rows]


async def unsealed_backlog(session: Session, incarnation: int, horizon: int, most: int | None) -> tuple[int, float]:
    """How many rows no checkpoint covers, counted up to ``most``, and the age of the oldest in seconds."""
    row = await session.fetchrow("log_unsealed", incarnation, str(horizon), most)
    assert row is not None  # noqa: S101  # an aggregate
    return row["rows"], row["seconds"]


async def checkpoint_page(session: Session, before: int | None, limit: int, origin: str) -> list[StoredCheckpoint]:
    """Checkpoints, newest first, with sequence numbers below ``before``."""
    return [read_checkpoint(row, origin) for row in await session.fetch("checkpoint_page", before, limit)]


async def checkpoint_range(session: Session, above: int, up_to: int, origin: str) -> list[StoredCheckpoint]:
    """Checkpoints larger than ``above`` and up to that size, in order."""
    return [read_checkpoint(row, origin) for row in await session.fetch("checkpoint_range", above, up_to)]


async def lock_sealing(session: Session) -> None:
    """Until the end of the transaction nothing is sealed."""
    await session.fetchval("log_rotation_lock")


async def row_place(session: Session, incarnation: int, xact: int, row_id: int) -> tuple[int, bytes] | None:
    """A row's index in the log (as long as it is sealed) and its canonical bytes; None where there is no such row."""
    row = await session.fetchrow("log_place", incarnation, str(xact), row_id)
    return (row["before"] + row["between_"], row["record"]) if row else None


async def sealed_records(session: Session, first: int, limit: int, last: StoredCheckpoint, origin: str) -> list[bytes]:
    """Canonical rows from an index on, up to ``limit``, none beyond the checkpoint ``last``."""
    below = await one_checkpoint(session, "checkpoint_below_size", first, origin)
    incarnation, horizon, size = (0, 0, 0)
    if below is not None:
        incarnation, horizon, size = below.checkpoint.incarnation, below.checkpoint.horizon, below.checkpoint.size
    end = (last.checkpoint.incarnation, str(last.checkpoint.horizon))
    found = await session.fetch("log_records", incarnation, str(horizon), -1, *end, limit, first - size)
    return [row["record"] for row in found]


async def records_between(session: Session, start: StoredCheckpoint | None, end: StoredCheckpoint) -> list[bytes]:
    """Canonical rows whose place is after one checkpoint (None: the beginning) and before the other, whoever put them there."""
    begin = (start.checkpoint.incarnation, start.checkpoint.horizon) if start else (0, 0)
    until = (end.checkpoint.incarnation, str(end.checkpoint.horizon))
    found = await session.fetch("log_records", begin[0], str(begin[1]), -1, *until, None, 0)
    return [row["record"] for row in found]


async def log_beginning(session: Session, origin: str) -> tuple[int, str | None, bytes]:
    """How many rows were removed on purpose, the statement that says so, and the right edge of the tree at that size."""
    row = await session.fetchrow("retention_last")
    if row is None:
        return 0, None, b""
    there = await one_checkpoint(session, "checkpoint_at_size", row["size"], origin)
    return row["size"], row["statement"], there.frontier if there else b""


@dataclass(frozen=True, slots=True)
class SelfCheckRow:
    """How far the server's own check has come and what it ``found`` so far; when a whole one ended last, over how many rows, and
    with which ``problems``."""

    next_index: int
    started_at: datetime
    finished_at: datetime | None
    checked_size: int
    problems: list[str]
    found: list[str]


async def read_self_check(session: Session) -> SelfCheckRow | None:
    """None before the first one."""
    row = await session.fetchrow("self_check_read")
    if row is None:
        return None
    times = (row["started_at"], row["finished_at"])
    return SelfCheckRow(row["next_index"], *times, row["checked_size"], list(row["problems"]), list(row["found"]))


async def write_self_check(session: Session, row: SelfCheckRow) -> None:
    """Replace it."""
    fields = (row.next_index, row.started_at, row.finished_at, row.checked_size, row.problems, row.found)
    await session.execute("self_check_write", *fields)
