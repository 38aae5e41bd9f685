"""Verification of the audit log straight from a database: read-only, one snapshot, any role that may read the tables.

Guarantees: every row is read as its canonical bytes and hashed here, not in the database; nothing is written, no lock is taken
that anybody waits for, and sealing goes on meanwhile.
What it will not do: decide whom to believe. Keys and checkpoints that lie beside the rows prove only that the rows agree with
them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Final

import asyncpg

from overseer.core.errors import ConfigurationProblem, InvalidInput
from overseer.crypto.checkpoints import log_origin
from overseer.crypto.log_report import LogHead, LogReport, Trust, keys_of, prepared
from overseer.crypto.log_tiles import TILE_WIDTH
from overseer.crypto.log_verification import Finding, diagnose
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.storage import audit_log_rows as rows
from overseer.server.storage.connection import login_connection
from overseer.server.storage.database import Session, translate
from overseer.server.storage.keyring_rows import load_instance
from overseer.server.storage.queries import named_queries

_HEADER_BYTES: Final = 19  # signature, flags and an empty extension of PostgreSQL's binary COPY
_FIELD: Final = struct.Struct(">hi")
_TILES: Final = 256
_LISTED: Final = 20


async def verify_database(url: str, trust: Trust) -> LogReport:
    """Read the whole log of the database and say what is wrong with it.

    Raises :class:`InvalidInput` (keys that do not belong to the log, nothing sealed), :class:`ConfigurationProblem` (no tables)
    and :class:`StoreUnavailable`.
    """
    async with login_connection(url) as connection:
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await verify_connection(connection, trust)
        except (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError):
            raise ConfigurationProblem("the database holds no sealed audit log of this release of Overseer") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise translate(error) from None


async def verify_connection(connection: asyncpg.Connection, trust: Trust) -> LogReport:
    """As :func:`verify_database`, inside the transaction of ``connection``."""
    session = Session(connection)
    await session.execute("log_read_in_order")
    instance = await load_instance(session)
    if instance is None:
        raise ConfigurationProblem("the database holds no Overseer instance yet")
    origin = log_origin(instance.id)
    last = await rows.last_checkpoint(session, origin)
    keys = await rows.load_log_keys(session)
    if last is None:
        if trust.checkpoints:
            raise InvalidInput("the log has no checkpoint at all, and one was given: it was cut off, or this is another database")
        raise InvalidInput("nothing of this audit log is sealed yet: a running, unsealed server does it")
    first, statement, frontier = await rows.log_beginning(session, origin)
    verifier_keys = tuple((str(VerifierKey(origin, key.public)), key.statement) for key in keys)
    make, warnings = prepared(LogHead(origin, verifier_keys, first, frontier, statement), trust)
    # Of any size that the column can hold: one that cannot be is a finding as well.
    notes = [rows.checkpoint_note(one, keys) for one in await rows.checkpoint_range(session, -(1 << 63), (1 << 63) - 1, origin)]
    check = make(notes)
    bound = (last.checkpoint.incarnation, str(last.checkpoint.horizon))
    await _Reader(check.feed).read(connection, bound)
    check.finish()
    findings = list(check.findings)
    if findings or check.size != last.checkpoint.size:
        found: list[bytes] = []
        await _Reader(found.extend).read(connection, bound)
        findings = diagnose(check, lambda: make(notes), await _stored_leaves(session, first, last.checkpoint.size), found)
    findings += await _impossible(session, check.size)
    findings += await _wrong_texts(session, check.size)
    erased = await session.fetchval("audit_texts_erased")
    if erased:
        warnings += (f"{erased} free texts beside rows were erased on purpose; the rows are whole",)
    unsealed, _ = await rows.unsealed_backlog(session, *_start(last), None)
    records = await _records_at(session, findings, bound)
    return LogReport(
        origin=origin,
        first=first,
        sealed=check.size - first,
        unsealed=unsealed,
        checkpoints=check.checkpoints,
        newest=check.newest,
        findings=tuple(findings),
        keys=keys_of(findings, lambda place: records.get(place, b"")),
        warnings=warnings,
    )


def _start(last: rows.StoredCheckpoint) -> tuple[int, int]:
    return last.checkpoint.incarnation, last.checkpoint.horizon


async def _stored_leaves(session: Session, first: int, end: int) -> list[bytes]:
    """The leaf hashes from index ``first`` on, up to the first one that is missing."""
    leaves: list[bytes] = []
    for number in range(first // TILE_WIDTH, -(-end // TILE_WIDTH), _TILES):
        tiles = await rows.leaf_tiles(session, number, number + _TILES)
        for place in range(number, number + _TILES):
            tile = tiles.get(place, [])
            leaves += tile
            if len(tile) < TILE_WIDTH:
                return leaves[first % TILE_WIDTH :]
    return leaves[first % TILE_WIDTH :]


async def _impossible(session: Session, size: int) -> list[Finding]:
    """Rows that name an incarnation or a transaction that has not begun."""
    found = await session.fetch("log_impossible", _LISTED)
    details = (f"row {row['incarnation']}.{row['xact']}.{row['id']} names a transaction that has not begun" for row in found)
    return [Finding("impossible", size, 1, None, detail) for detail in details]


async def _wrong_texts(session: Session, size: int) -> list[Finding]:
    """Free texts that are not those that their rows are bound to. One that was erased is none of them."""
    found = await session.fetch("audit_texts_wrong", _LISTED)
    details = (f"the free text of row {row['incarnation']}.{row['xact']}.{row['id']} was changed" for row in found)
    return [Finding("changed", size, 1, None, detail) for detail in details]


async def _records_at(session: Session, findings: Sequence[Finding], bound: tuple[int, str]) -> dict[int, bytes]:
    """The rows that findings begin and end with; of the first few, the rest is told by its index."""
    records = {}
    for one in findings[:_LISTED]:
        for place in {one.found, one.found + one.count - 1} if one.found is not None else ():
            record = await session.fetchval("log_records", 0, "0", -1, *bound, 1, place)
            records[place] = record or b""
    return records


class _Reader:
    """Takes the stream of a binary COPY of one column apart and gives leaf hashes on."""

    def __init__(self, feed: Callable[[list[bytes]], None]) -> None:
        self._feed = feed
        self._rest = b""
        self._skip = _HEADER_BYTES

    async def read(self, connection: asyncpg.Connection, bound: tuple[int, str]) -> None:
        """Every row below the bound, in the order of the log."""
        query = named_queries()["log_records_below"]
        await connection.copy_from_query(query, *bound, output=self._take, format="binary", timeout=None)

    async def _take(self, data: bytes) -> None:
        data = self._rest + data if self._rest else data
        if len(data) < self._skip:
            self._rest = data
            return
        position, self._skip = self._skip, 0
        end, size, unpack, sha256 = len(data), _FIELD.size, _FIELD.unpack_from, hashlib.sha256
        leaves = []
        while position + size <= end:
            fields, length = unpack(data, position)
            start = position + size
            if fields < 0 or start + length > end:  # the end of the stream, or of what has come of it
                break
            position = start + length
            leaves.append(sha256(b"\x00" + data[start:position]).digest())
        self._rest = data[position:]
        self._feed(leaves)
