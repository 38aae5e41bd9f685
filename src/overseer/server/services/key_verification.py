"""``key verify``: does every stored envelope still open? Row by row, a part in each request, without a value leaving its type.

Guarantees: each row of :data:`WRAPPED_TABLES` that was there during the whole run is opened with its data key *and* its value;
one that does not open is named by table and id, and leaves an audit row of its own; memory is bounded, whatever the store
holds. A part takes about :data:`PART_SECONDS` and returns a cursor, so a run needs no state in the server, may go on at another
replica, and ends when its client does. The first part also opens the stored keyring anew.
What it will not do: mend anything, or notice a row that is missing or was replaced by an older copy of itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, Outcome
from overseer.core.errors import DecryptionFailed, KeyProblem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.crypto.envelope import FORMAT, decrypt
from overseer.crypto.keyring import Keyring
from overseer.server.services.cursors import bad_cursor, read_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.pacing import Pacing
from overseer.server.storage.wrapped_tables import NO_ID, WRAPPED_TABLES, WrappedRow, WrappedTable, table_named
from overseer.wire.keys import KeyVerification, KeyVerify, UnreadableRow

PART_SECONDS: Final = 2.0
PAGE_ROWS: Final = 200
PAGE_BYTES: Final = 4 * 1024 * 1024
#: A part ends early when this many rows did not open: each of them leaves a row in the audit log.
MOST_UNREADABLE: Final = 100


class KeyVerifier:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, clock: Callable[[], float] = time.monotonic) -> None:
        self._gate = gate
        self._keys = keys
        self._clock = clock

    async def verify(self, caller: Caller, body: KeyVerify) -> KeyVerification:
        """Open the rows after ``body.cursor`` for a moment. Needs ``key:write``."""
        async with self._gate.enter(caller, AuditAction.KEY_VERIFY) as entry:
            entry.authorise(Permission.KEY_WRITE, Resource("key"))
            table, after = WRAPPED_TABLES[0], NO_ID
            unreadable: list[UnreadableRow] = []
            if body.cursor is None:
                unreadable += await self._keyring(entry)
            else:
                table, after = _place(body.cursor)
            checked, following = await self._part(entry, table, after, unreadable)
            entry.amend(code=f"rows:{checked}")
            for row in unreadable:
                _note(entry, row)
        return KeyVerification(checked=checked, unreadable=unreadable, next_cursor=following)

    async def _keyring(self, entry: Entry) -> list[UnreadableRow]:
        try:
            await self._keys.reread(entry.session)
        except KeyProblem as error:
            return [UnreadableRow(kind="keyring_key", id=None, what=error.message, code="keyring")]
        return []

    async def _part(
        self, entry: Entry, table: WrappedTable, after: UUID, unreadable: list[UnreadableRow]
    ) -> tuple[int, str | None]:
        """Rows for a moment: how many, and the cursor behind them."""
        until = self._clock() + PART_SECONDS
        checked, pacing = 0, Pacing()
        while True:
            began = time.monotonic()
            rows = await table.page(entry.session, self._keys.instance_id, after, PAGE_ROWS, PAGE_BYTES)
            keyring = self._keys.keyring
            if not {row.encrypted.term for row in rows} <= set(keyring.terms):
                with suppress(KeyProblem):  # told by the first part
                    keyring = await self._keys.reread(entry.session)  # on this connection: a second one may not be had
            for row in rows:
                problem = row_problem(row, keyring)
                if problem is not None:
                    unreadable.append(UnreadableRow(kind=table.name, id=str(row.id), what=row.context.label(), code=problem))
            checked += len(rows)
            if rows:
                after = rows[-1].id
            else:
                number = WRAPPED_TABLES.index(table) + 1
                if number == len(WRAPPED_TABLES):
                    return checked, None
                table, after = WRAPPED_TABLES[number], NO_ID
            if self._clock() >= until or len(unreadable) >= MOST_UNREADABLE:
                return checked, write_cursor(table.name, str(after))
            await pacing.rest(time.monotonic() - began)


def row_problem(row: WrappedRow, keyring: Keyring) -> str | None:
    """Why the row does not open, None where it does."""
    if row.encrypted.format != FORMAT:
        return "unknown_format"
    try:
        decrypt(row.encrypted, row.context, keyring)
    except DecryptionFailed:
        return "changed"
    except KeyProblem:
        return "unknown_term"
    return None


def _note(entry: Entry, row: UnreadableRow) -> None:
    entry.accept(Resource(row.kind if row.id else "key", id=UUID(row.id) if row.id else None))
    entry.amend(outcome=Outcome.FAILED, code=f"unreadable:{row.code}")


def _place(cursor: str) -> tuple[WrappedTable, UUID]:
    name, after = read_cursor(cursor, str, str)
    table = table_named(name)
    if table is None:
        raise bad_cursor()
    try:
        return table, UUID(after)
    except ValueError:
        raise bad_cursor() from None
