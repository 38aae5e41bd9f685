"""Rotation of the key-encryption key: a new term, then every data key is re-wrapped under it, while everybody goes on working.

How it goes: the new term and a row of ``key_rotation`` are committed together; from then on everything new is encrypted under it.
The leader's job re-wraps what is under older terms in batches, each one transaction that also moves the cursor, so a kill at any
point loses at most the batch under way and does nothing twice. At the end of a pass the rows under old terms are counted: where
some are left (a replica that had not read the new term yet, a row that somebody had locked) another pass follows.

Why it can end: a process encrypts only with a keyring that it compared with the database within the last seconds
(``key_service``). So a count of zero later than :data:`SETTLE_SECONDS` after the new term was committed stays zero. Should rows
be found under old terms all the same (put back by hand, or written by a transaction that took longer), the job begins again by
itself, without a new term.

Guarantees: one rotation at a time; the ciphertext of values is never touched; a row that does not open is left as it is,
counted, and named by ``key verify``. A term is deleted only when it is out of use for :data:`RETIRE_AFTER`, nobody can be
writing, and no row is under it; that is the only way in which a key is ever deleted.
What it will not do: change the root key (that is a change of seal), or decrypt a value.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Conflict, DecryptionFailed, InvalidInput, KeyProblem, Problem
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.crypto.keyring import Keyring, Purpose
from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_limits import DEFAULT_LIMITS, KeyLimits
from overseer.server.services.key_service import FRESH_SECONDS, KeyService
from overseer.server.services.key_views import newest_kek, rotation_view
from overseer.server.services.pacing import Pacing
from overseer.server.storage import rotation_rows
from overseer.server.storage.database import Session
from overseer.server.storage.instance_rows import insert_keys
from overseer.server.storage.keyring_rows import load_keys, lock_keyring, remove_key
from overseer.server.storage.rotation_rows import RotationRow
from overseer.server.storage.wrapped_tables import (
    NO_ID,
    WRAPPED_TABLES,
    WrappedRow,
    WrappedTable,
    freeze_all,
    rows_on_old_terms,
    table_named,
)
from overseer.wire.keys import RotationView

#: Rows of one batch: short enough that requests of the same process do not wait for it.
BATCH: Final = 200
#: A look at the keyring may be this old when a write begins, and the write's transaction (10 s a statement) ends after it.
SETTLE_SECONDS: Final = FRESH_SECONDS + 10.0
#: Long beyond every transaction and every process that was stopped in the middle of one.
RETIRE_AFTER: Final = timedelta(hours=1)
REQUEST_ID: Final = "key-rotation"


class KeyRotation:
    """See the module's text. One instance a server process; ``run`` is the leader's job."""

    def __init__(
        self, gate: Gate, keys: KeyService, idempotency: IdempotencyKeeper, limits: KeyLimits = DEFAULT_LIMITS, batch: int = BATCH
    ) -> None:
        self._gate = gate
        self._keys = keys
        self._idempotency = idempotency
        self._limits = limits
        self._batch_size = batch

    async def rotate(self, caller: Caller, idempotency: Idempotency | None = None) -> RotationView:
        """Begin a rotation; the leader carries it out. Needs ``key:write``. Raises :class:`Conflict` while one runs."""
        async with self._gate.enter(caller, AuditAction.KEY_ROTATE) as entry:
            entry.authorise(Permission.KEY_WRITE, Resource("key"))
            first = await self._idempotency.first_result(entry, idempotency)
            keyring = self._keys.keyring
            if first is None:
                rotation_id = new_id(entry.now)
                keyring = await self._begin(entry.session, rotation_id, "asked", entry.actor.id)
                await self._idempotency.remember(entry, idempotency, status=202, resource_id=rotation_id)
                entry.amend(version=keyring.newest_term, code="asked")
            row = await rotation_rows.rotation_by_id(entry.session, first.resource_id if first else rotation_id)
            if row is None:
                raise Conflict("the rotation that this idempotency key began is not known any more")
            view = rotation_view(row, sum((await rows_on_old_terms(entry.session, row.term)).values()))
        self._keys.publish(keyring)  # only now it is committed, so nothing can be encrypted under a key that a crash loses
        return view

    async def retire(self, caller: Caller, term: str) -> None:
        """Delete an old term for good. Needs ``key:write``. :class:`Conflict` where it is, or may still come, into use."""
        async with self._gate.enter(caller, AuditAction.KEY_RETIRE) as entry:
            entry.authorise(Permission.KEY_WRITE, Resource("key"))
            number = _term(term)
            entry.amend(version=number)
            await lock_keyring(entry.session)
            rows = [row for row in await load_keys(entry.session) if row.purpose == Purpose.KEK]
            if number not in {row.term for row in rows}:
                entry.hide("key")
            later = [row for row in rows if row.term > number]
            if not later:
                raise Conflict(f"term {number} is the newest, which encrypts: it cannot be deleted")
            since = min(later, key=lambda row: row.term).created_at
            await self._check_unused(entry.session, number, since, entry.now)
            await remove_key(entry.session, Purpose.KEK, number)
        await self._keys.refresh()

    async def run(self) -> None:
        """One round: begin what is due, then batches until none is left. Raises :class:`StoreUnavailable` and the like."""
        if self._keys.sealed or not await self._wanted():
            return
        more, pacing = True, Pacing()
        while more:
            began = time.monotonic()
            more = await self._batch()
            await pacing.rest(time.monotonic() - began)

    async def _begin(self, session: Session, rotation_id: UUID, reason: str, actor: UUID | None) -> Keyring:
        """A new term and the rotation to it, in the caller's transaction; the keyring is published after it."""
        await lock_keyring(session)
        if await rotation_rows.rotation_is_running(session):
            raise Conflict("a rotation is running: wait until `overseer key status` says that it has finished")
        keyring, row = (await self._keys.reread(session)).add_term()
        await insert_keys(session, [(row.purpose, row.term, row.wrapped)])
        await rotation_rows.insert_rotation(session, rotation_id, row.term, reason, actor)
        return keyring

    async def _wanted(self) -> bool:
        """Whether there is work: a rotation that runs, that is due, or rows under old terms that no rotation left behind."""
        keyring: Keyring | None = None
        async with self._gate.own_work() as (session, events):
            last = await rotation_rows.newest_rotation(session)
            if last is not None and last.running:
                return True
            newest, now = newest_kek(await load_keys(session)), await session.fetchval("database_clock")
            reason = self._limits.reason(newest, now)
            if reason is not None:
                keyring = await self._begin(session, new_id(now), reason, None)
                events.append(_event(AuditAction.KEY_ROTATE, keyring.newest_term, reason))
            else:
                left = sum((await rows_on_old_terms(session, newest.term)).values())
                if left <= (last.unreadable if last else 0):
                    return False
                await lock_keyring(session)
                if await rotation_rows.rotation_is_running(session):
                    return True
                await rotation_rows.insert_rotation(session, new_id(now), newest.term, "found", None)
                events.append(_event(AuditAction.KEY_ROTATE, newest.term, "found"))
        if keyring is not None:
            self._keys.publish(keyring)
        return True

    async def _batch(self) -> bool:
        """One transaction of the running rotation; False where nothing is left to do for now."""
        await self._keys.prepare_to_encrypt(self._batch_size)
        async with self._gate.own_work() as (session, events):
            rotation = await rotation_rows.take_running(session)
            if rotation is None:
                return False
            newest = self._keys.keyring.newest_term
            if newest < rotation.term:  # it began this moment, elsewhere; the next round has read the keyring
                return False
            table = table_named(rotation.at_table) or WRAPPED_TABLES[0]
            place = (rotation.at_term, rotation.at_id) if rotation.at_table else (0, NO_ID)
            due = await table.due(session, self._keys.instance_id, newest, place, self._batch_size)
            if due:
                wraps = await self._rewrapped(session, table, due)
                await table.rewrap(session, newest, wraps)
                reached = (due[-1].encrypted.term, due[-1].id)
                counts = {"rewrapped": len(wraps), "unreadable": len(due) - len(wraps)}
                await rotation_rows.move(session, rotation.id, table.name, reached, **counts)
                return True
            following = _after(table)
            if following is not None:
                await rotation_rows.move(session, rotation.id, following.name, (0, NO_ID))
                return True
            return await self._end_pass(session, events, rotation, newest)

    async def _rewrapped(
        self, session: Session, table: WrappedTable, due: Sequence[WrappedRow]
    ) -> list[tuple[UUID, bytes]]:
        """The new wraps of those rows that open."""
        wraps = []
        for row in due:
            wrap = self._wrap(row) or await self._wrap_again(session, table, row)
            if wrap is not None:
                wraps.append((row.id, wrap))
        return wraps

    def _wrap(self, row: WrappedRow) -> bytes | None:
        try:
            return self._keys.rewrap(row.encrypted, row.context).wrapped_dek
        except (DecryptionFailed, KeyProblem):
            return None  # changed, moved, or of a term that is gone: nothing here can mend it

    async def _wrap_again(self, session: Session, table: WrappedTable, row: WrappedRow) -> bytes | None:
        """Read a row that did not open once more: the lock gave its newest form, but its place may have been the one before a
        move that was committed at that moment."""
        before = (row.encrypted.term, UUID(int=max(0, row.id.int - 1)))
        again = await table.due(session, self._keys.instance_id, self._keys.keyring.newest_term, before, 1)
        return self._wrap(again[0]) if again and again[0].id == row.id else None

    async def _end_pass(self, session: Session, events: list[AuditEvent], rotation: RotationRow, newest: int) -> bool:
        """Finish, or begin the next pass with the next round: whoever holds a lock or a late write needs a moment."""
        left = sum((await rows_on_old_terms(session, newest)).values())
        settled = await session.fetchval("database_clock") - rotation.started_at >= timedelta(seconds=SETTLE_SECONDS)
        if settled and left <= rotation.unreadable:
            await rotation_rows.finish(session, rotation.id, left)
            events.append(_event(AuditAction.KEY_ROTATED, newest, f"unreadable:{left}" if left else "", failed=bool(left)))
        else:
            await rotation_rows.begin_pass(session, rotation.id)
        return False

    async def _check_unused(self, session: Session, term: int, since: datetime, now: datetime) -> None:
        if await rotation_rows.rotation_is_running(session):
            raise Conflict("a rotation is running: a term can be deleted when it has finished")
        if now < since + RETIRE_AFTER:
            since += RETIRE_AFTER
            raise Conflict(f"term {term} was replaced less than an hour ago: it can be deleted from {since:%H:%M} UTC on")
        await freeze_all(session)
        rows = (await rows_on_old_terms(session, term + 1)).get(term, 0)
        if rows:
            raise Conflict(f"term {term} is in use by {rows} row(s): rotate, and see what `overseer key verify` finds")


def _after(table: WrappedTable) -> WrappedTable | None:
    number = WRAPPED_TABLES.index(table) + 1
    return WRAPPED_TABLES[number] if number < len(WRAPPED_TABLES) else None


def _event(action: AuditAction, term: int, code: str, *, failed: bool = False) -> AuditEvent:
    outcome = Outcome.FAILED if failed else Outcome.ALLOWED
    return AuditEvent(action, outcome, REQUEST_ID, resource_kind="key", version=term, code=code)


def _term(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text):
        return int(text)
    rule = "a term is a whole number from 1 on"
    raise InvalidInput(rule, problems=[Problem("path.term", rule, "bad_term")])
