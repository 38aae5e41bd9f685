"""The batches of a key rotation: data keys read, wrapped under the newest term, and written, the next batch while one is written.

How it goes: a batch is read without a lock, its keys are wrapped in this process, and one statement writes it: it takes the
rotation's row at the place where the batch begins, gives each row its new wrap where the row still has the one that was read, and
moves the place. So reading and wrapping go on beside the statement before, which is most of the time of both, and yet a batch
that another process was quicker with is written nowhere.

Guarantees: a kill loses at most the batch that is written and the one that is wrapped, and does nothing twice; a row that was
changed, moved or locked meanwhile is left for the next pass. Requests of this process wait for :data:`SLICE` wraps at most, and
while there are any the work rests (``pacing``).
What it will not do: begin or end a rotation (``key_rotation`` does), or mend a row that does not open: it is counted.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.pacing import Pacing
from overseer.server.storage.rotation_rows import Place, RotationRow
from overseer.server.storage.wrapped_tables import (
    NO_ID,
    WRAPPED_TABLES,
    RewrappedRows,
    WrappedRow,
    WrappedTable,
    table_named,
)

#: Rows of one batch: enough that commits and round trips hardly count, and few to do again after a kill.
BATCH: Final = 500
#: Wraps between two looks at what else this process has to do: well below a millisecond.
SLICE: Final = 64

_Ready = tuple[WrappedTable, RewrappedRows]


class KeyRewrapping:
    """See the module's text. One instance a server process."""

    def __init__(self, gate: Gate, keys: KeyService, batch: int = BATCH) -> None:
        self._gate = gate
        self._keys = keys
        self._size = batch

    async def carry_on(self, rotation: RotationRow) -> Place | None:
        """Batches from the place of ``rotation`` on; the place where nothing is left, and the pass can end.

        None where another process is at it, or where this one has not read the rotation's term yet: a later round goes on.
        Raises :class:`StoreUnavailable`, :class:`NotReady` and the like.
        """
        await self._keys.prepare_to_encrypt(self._size)
        if self._keys.keyring.newest_term < rotation.term:
            return None
        place, pacing = rotation.place, Pacing()
        ready = await self._prepared(place)
        while ready is not None:
            began = time.monotonic()
            place = ready[1].end
            written, ready = await self._written(rotation, ready)
            if not written:
                return None
            await pacing.rest(time.monotonic() - began)
        return place

    async def _written(self, rotation: RotationRow, ready: _Ready) -> tuple[bool, _Ready | None]:
        """Write a batch, and get the next one ready beside it."""
        writing = asyncio.create_task(self._write(rotation, ready))
        try:
            following = await self._prepared(ready[1].end)
            return await writing, following
        except BaseException:
            writing.cancel()
            await asyncio.wait([writing])
            raise

    async def _write(self, rotation: RotationRow, ready: _Ready) -> bool:
        table, rows = ready
        async with self._gate.own_statements() as session:
            return await table.rewrap(session, rotation.id, rows)

    async def _prepared(self, start: Place) -> _Ready | None:
        """The rows that come after ``start``, with their new wraps; None where none is left in any table."""
        await self._keys.prepare_to_encrypt(self._size)
        newest = self._keys.keyring.newest_term
        first, after = table_named(start[0]) or WRAPPED_TABLES[0], start[1:]
        for table in WRAPPED_TABLES[WRAPPED_TABLES.index(first) :]:
            async with self._gate.own_statements() as session:
                due = await table.due(session, self._keys.instance_id, newest, after, self._size)
            if due:
                last = due[-1]
                return table, await self._wrapped(due, newest, start, (table.name, last.encrypted.term, last.id))
            after = (0, NO_ID)
        return None

    async def _wrapped(self, due: list[WrappedRow], newest: int, start: Place, end: Place) -> RewrappedRows:
        wraps: list[bytes | None] = []
        for first in range(0, len(due), SLICE):
            part = due[first : first + SLICE]
            wraps += self._keys.rewrap([(row.encrypted, row.context) for row in part], newest)
            await asyncio.sleep(0)
        opened = [(row.id, row.encrypted.wrapped_dek, wrap) for row, wrap in zip(due, wraps, strict=True) if wrap is not None]
        return RewrappedRows(
            start=start,
            end=end,
            unreadable=len(due) - len(opened),
            term=newest,
            ids=[one for one, _, _ in opened],
            before=[before for _, before, _ in opened],
            wrapped=[wrap for _, _, wrap in opened],
        )
