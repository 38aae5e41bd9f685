"""One backup: a snapshot of every table into an encrypted archive, as a stream.

Guarantees: no plaintext of a table is written anywhere (it is encrypted in memory, and the values in it are sealed anyway); the
keyring is in it as the database has it, wrapped by the root key, and the root key is not, so whoever opens the archive has what
whoever copies the database has: names, the audit log, no value. What is in it is signed with the instance's key, so whoever has
all that and the recipients' public keys cannot make another. Memory is bounded by two parts.

It passes no gate: its callers do, or hold the database's URL, with which everything can be read anyway.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer import __version__
from overseer.crypto.age_keys import Wrapper
from overseer.crypto.signatures import SigningKey
from overseer.server.storage.backup_archive import PART, ArchiveWriter, Head, Manifest, TableSum
from overseer.server.storage.backup_places import Write
from overseer.server.storage.snapshot import Snapshot, Table, snapshot


@dataclass(frozen=True, slots=True)
class Made:
    """What a backup holds. ``size`` is of the file in bytes, ``log_size`` how many audit rows were sealed then."""

    instance_id: UUID
    size: int
    rows: int
    log_size: int


async def make_backup(url: str, keys: Sequence[Wrapper], write: Write, signer: SigningKey | None) -> Made:
    """Give the whole file to ``write``, piece by piece; ``signer`` is the keyring's ``signing_key``, None for one that a restore
    takes only from whoever insists. Raises as the database and the place do; then it is not a backup."""
    async with snapshot(url) as source:
        facts, tables = await source.facts(), await source.tables()
        writer = await asyncio.to_thread(ArchiveWriter, keys, signer)  # a passphrase takes a second on purpose
        out = _Output(writer, write)
        heads = tuple(one.head for one in tables)
        head = Head(
            str(facts.instance.id), facts.created_at, __version__, facts.postgres_version, facts.migrations, heads
        )
        await out.give(await asyncio.to_thread(writer.head, head))
        sums = {one.head.name: await _Table(source, one, out).copy() for one in tables}
        manifest = Manifest(sums, facts.log_size)
        await out.give(await asyncio.to_thread(writer.finish, manifest))
    return Made(facts.instance.id, out.size, manifest.rows, facts.log_size)


def is_named_so(file: str, instance_id: UUID, run_id: UUID) -> bool:
    """Whether :func:`file_name` gave this name, at whatever time."""
    return bool(re.fullmatch(rf"overseer-{str(instance_id)[-12:]}-\d{{8}}T\d{{6}}Z-{str(run_id)[-8:]}\.age", file))


def file_name(instance_id: UUID, now: datetime, run_id: UUID) -> str:
    """A name that sorts by time and is nobody else's."""
    return f"overseer-{str(instance_id)[-12:]}-{now:%Y%m%dT%H%M%SZ}-{str(run_id)[-8:]}.age"


class _Output:
    def __init__(self, writer: ArchiveWriter, write: Callable[[bytes], Awaitable[None]]) -> None:
        self.writer = writer
        self.size = 0
        self._write = write

    async def give(self, data: bytes) -> None:
        if data:
            self.size += len(data)
            await self._write(data)


class _Table:
    def __init__(self, source: Snapshot, table: Table, out: _Output) -> None:
        self._source = source
        self._table = table
        self._out = out
        self._sum = TableSum()
        self._held = bytearray()
        self._number = 0

    async def copy(self) -> TableSum:
        rows = await self._source.copy(self._table, self._take)
        if self._held:
            await self._part()
        return self._sum.close(rows)

    async def _take(self, data: bytes) -> None:
        self._held += data
        if len(self._held) >= PART:
            await self._part()

    async def _part(self) -> None:
        data = bytes(self._held)
        self._held.clear()
        self._number += 1
        self._sum.take(data)
        encoded = await asyncio.to_thread(self._out.writer.part, self._table.head.name, self._number, data)
        await self._out.give(encoded)
