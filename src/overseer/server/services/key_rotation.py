"""Rotation of the key-encryption key: a new term, then every data key is re-wrapped under it, while everybody goes on working.

How it goes: the new term and a row of ``key_rotation`` are committed together; from then on everything new is encrypted under it.
The leader's job re-wraps what is under older terms in batches, each one statement that also moves the cursor, so a kill at any
point does nothing twice (``key_rewrapping``). At the end of a pass the rows under old terms are counted: where
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

from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Conflict, InvalidInput, Problem
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.crypto.keyring import Keyring, Purpose
from overseer.server.services.gate import Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_limits import DEFAULT_LIMITS, KeyLimits
from overseer.server.services.key_rewrapping import BATCH, KeyRewrapping
from overseer.server.services.key_service import FRESH_SECONDS, KeyService
from overseer.server.services.key_views import newest_kek, rotation_view
from overseer.server.storage import rotation_rows
from overseer.server.storage.database import Session
from overseer.server.storage.instance_rows import insert_keys
from overseer.server.storage.keyring_rows import load_keys, lock_keyring, remove_key
from overseer.server.storage.rotation_rows import Place
from overseer.server.storage.wrapped_tables import freeze_all, rows_on_old_terms
from overseer.wire.keys import RotationView

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
        self._rewrapping = KeyRewrapping(gate, keys, batch)

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
        async with self._gate.own_work() as (session, _):
            rotation = await rotation_rows.newest_rotation(session)
        if rotation is None or not rotation.running:
            return
        end = await self._rewrapping.carry_on(rotation)
        if end is not None:
            await self._end_pass(rotation.id, end)

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

    async def _end_pass(self, rotation_id: UUID, end: Place) -> None:
        """Finish, or begin the next pass with the next round: whoever holds a lock or a late write needs a moment."""
        async with self._gate.own_work() as (session, events):
            rotation = await rotation_rows.hold(session, rotation_id, end)
            if rotation is None:  # another process is at it
                return
            left = sum((await rows_on_old_terms(session, rotation.term)).values())
            settled = await session.fetchval("database_clock") - rotation.started_at >= timedelta(seconds=SETTLE_SECONDS)
            if settled and left <= rotation.unreadable:
                await rotation_rows.finish(session, rotation.id, left)
                code = f"unreadable:{left}" if left else ""
                events.append(_event(AuditAction.KEY_ROTATED, rotation.term, code, failed=bool(left)))
            else:
                await rotation_rows.begin_pass(session, rotation.id)

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


def _event(action: AuditAction, term: int, code: str, *, failed: bool = False) -> AuditEvent:
    outcome = Outcome.FAILED if failed else Outcome.ALLOWED
    return AuditEvent(action, outcome, REQUEST_ID, resource_kind="key", version=term, code=code)


def _term(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 10 and int(text):
        return int(text)
    rule = "a term is a whole number from 1 on"
    raise InvalidInput(rule, problems=[Problem("path.term", rule, "bad_term")])
