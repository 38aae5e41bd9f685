"""The sealed log for callers: checkpoints, keys, proofs, canonical rows, and how it stands.

Guarantee: what is handed out as signed was checked against the keyring's own key, so a changed checkpoint is never passed on
as a good one; proofs are made from stored hashes and checked before they leave.
"""

from __future__ import annotations

import base64
from typing import Final

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, KeyProblem, Problem
from overseer.core.identifiers import new_id
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.crypto.checkpoints import introduce_key, log_origin
from overseer.crypto.keyring import Keyring, Purpose
from overseer.crypto.log_tiles import TILE_WIDTH, range_roots, tiles_for
from overseer.crypto.merkle_log import (
    EMPTY_ROOT,
    consistency_holds,
    consistency_ranges,
    inclusion_holds,
    inclusion_ranges,
    leaf_hash,
)
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.services.audit_sealer import LATE_SECONDS, blocker_text, is_ours, log_signing_key
from overseer.server.services.cursors import bad_cursor, check_limit, read_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.idempotency import Idempotency, IdempotencyKeeper
from overseer.server.services.key_service import KeyService
from overseer.server.storage import audit_log_rows as rows
from overseer.server.storage.audit_log_rows import StoredCheckpoint, StoredKey
from overseer.server.storage.database import Session
from overseer.server.storage.instance_rows import insert_keys
from overseer.wire.audit_log import (
    CheckpointView,
    ConsistencyProof,
    InclusionProof,
    IntegrityView,
    LogKeysView,
    LogKeyView,
    RecordsView,
    SelfCheckView,
)
from overseer.wire.messages import Page

MAX_RECORDS: Final = 5000
_COUNTED: Final = 10_000
_LOG: Final = Resource("audit")


class AuditLogService:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._keys = keys
        self._idempotency = idempotency

    async def checkpoints(self, caller: Caller, *, cursor: str | None = None, limit: int = 100) -> Page[CheckpointView]:
        """Checkpoints, newest first. Needs ``audit:read``."""
        async with self._gate.enter(caller, AuditAction.AUDIT_CHECKPOINT) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            before = read_cursor(cursor, int)[0] if cursor else None
            if before is not None and not 0 <= before < 1 << 63:
                raise bad_cursor()
            found = await rows.checkpoint_page(entry.session, before, check_limit(limit) + 1, self._origin)
            views = [await self._view(entry.session, one) for one in found[:limit]]
        return Page(items=views, next_cursor=write_cursor(views[-1].seq) if len(found) > limit else None)

    async def latest(self, caller: Caller) -> CheckpointView:
        """The newest checkpoint. Needs ``audit:read``. :class:`Unavailable` before the first."""
        async with self._gate.enter(caller, AuditAction.AUDIT_CHECKPOINT) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            return await self._view(entry.session, await self._checkpoint(entry, None))

    async def log_keys(self, caller: Caller) -> LogKeysView:
        """The public keys of the log and where it begins. Needs ``audit:read``."""
        async with self._gate.enter(caller, AuditAction.AUDIT_CHECKPOINT) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            keys = await rows.load_log_keys(entry.session)
            first, statement, frontier = await rows.log_beginning(entry.session, self._origin)
        return LogKeysView(
            origin=self._origin,
            keys=[self._key_view(key) for key in keys],
            first=first,
            frontier=_text(frontier),
            retention=statement,
        )

    async def rotate_log_key(self, caller: Caller, idempotency: Idempotency | None = None) -> LogKeyView:
        """A new key signs from now on; old and new sign the statement that introduces it. Needs ``key:write``."""
        async with self._gate.enter(caller, AuditAction.AUDIT_ROTATE_KEY) as entry:
            entry.authorise(Permission.KEY_WRITE, Resource("key"))
            first = await self._idempotency.first_result(entry, idempotency)
            keyring = self._keys.keyring
            if first is not None:
                keys = await rows.load_log_keys(entry.session)
                return self._key_view(next(key for key in keys if key.term == first.version))
            await rows.lock_sealing(entry.session)
            key, keyring = await self._new_key(entry.session)
            await self._idempotency.remember(entry, idempotency, status=201, resource_id=new_id(entry.now), version=key.term)
            entry.amend(version=key.term)
        self._keys.publish(keyring)  # only now it is committed
        return self._key_view(key)

    async def prove_row(self, caller: Caller, row: str, size: int | None = None) -> InclusionProof:
        """That a row (``id`` of a list: incarnation.xact.id) is in the log of a checkpoint's size, by default the newest.

        Needs ``audit:read``. :class:`Unavailable` where there is no such row or checkpoint, or the row is not sealed there yet.
        """
        async with self._gate.enter(caller, AuditAction.AUDIT_PROVE) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            checkpoint = await self._checkpoint(entry, size)
            place = await rows.row_place(entry.session, *_row_key(row))
            if place is None or place[0] >= checkpoint.checkpoint.size:
                entry.missing(_LOG)
            index, record = place
            ranges = inclusion_ranges(index, checkpoint.checkpoint.size)
            hashes = range_roots(ranges, await rows.load_tiles(entry.session, tiles_for(ranges)))
            leaf, c = leaf_hash(record), checkpoint.checkpoint
            if not inclusion_holds(leaf, index, c.size, hashes, c.root):
                raise KeyProblem("this row is not the one that was sealed: run `overseer audit verify`")
            note = (await self._view(entry.session, checkpoint)).note
        return InclusionProof(
            row=row,
            index=index,
            size=c.size,
            record=_text(record),
            leaf=_text(leaf),
            hashes=[_text(one) for one in hashes],
            checkpoint=note,
        )

    async def prove_growth(self, caller: Caller, old_size: int, new_size: int | None = None) -> ConsistencyProof:
        """That one checkpoint's log is the beginning of another's, by default the newest. Needs ``audit:read``."""
        async with self._gate.enter(caller, AuditAction.AUDIT_PROVE) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            new = await self._checkpoint(entry, new_size)
            old = await self._checkpoint(entry, old_size)
            a, b = old.checkpoint, new.checkpoint
            if a.size > b.size:
                rule = "old_size is not larger than new_size"
                raise InvalidInput(rule, problems=[Problem("query.old_size", rule, "bad_size")])
            ranges = consistency_ranges(a.size, b.size)
            hashes = range_roots(ranges, await rows.load_tiles(entry.session, tiles_for(ranges)))
            if not consistency_holds(a.size, a.root, b.size, b.root, hashes):
                raise KeyProblem("these checkpoints are not of one log: run `overseer audit verify`")
            notes = [(await self._view(entry.session, one)).note for one in (old, new)]
        return ConsistencyProof(
            old_size=a.size,
            new_size=b.size,
            hashes=[_text(one) for one in hashes],
            old_checkpoint=notes[0],
            new_checkpoint=notes[1],
        )

    async def records(self, caller: Caller, first: int = 0, limit: int = 1000) -> RecordsView:
        """Sealed rows from index ``first`` on, up to 5,000, to be verified elsewhere. Needs ``audit:read``."""
        async with self._gate.enter(caller, AuditAction.AUDIT_EXPORT) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            if not (0 <= first < 1 << 62 and 1 <= limit <= MAX_RECORDS):
                rule = f"first is an index of a row, limit is 1 to {MAX_RECORDS}"
                raise InvalidInput(rule, problems=[Problem("query.limit", rule, "bad_limit")])
            session = entry.session
            beginning = (await rows.log_beginning(session, self._origin))[0]
            if first < beginning:
                rule = f"rows before {beginning} were removed on purpose: begin there"
                raise InvalidInput(rule, problems=[Problem("query.first", rule, "removed")])
            last = await rows.last_checkpoint(session, self._origin)
            size = last.checkpoint.size if last else 0
            records = await rows.sealed_records(session, first, limit, last, self._origin) if last and first < size else []
            end = first + len(records)
            tiles = await rows.leaf_tiles(session, first // TILE_WIDTH, -(-end // TILE_WIDTH)) if records else {}
            leaves = [tiles.get(n // TILE_WIDTH, [])[n % TILE_WIDTH :][:1] for n in range(first, end)]
            keys = await rows.load_log_keys(session)
            found = await rows.checkpoint_range(session, first, end, self._origin)
        return RecordsView(
            first=first,
            size=size,
            records=[_text(one) for one in records],
            leaves=_text(b"".join(one for part in leaves for one in part)),
            checkpoints=[rows.checkpoint_note(one, keys) for one in found],
        )

    async def integrity(self, caller: Caller) -> IntegrityView:
        """How the log stands, in one look. Needs ``audit:read``."""
        async with self._gate.enter(caller, AuditAction.AUDIT_CHECKPOINT) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            session = entry.session
            last = await rows.last_checkpoint(session, self._origin)
            start = (last.checkpoint.incarnation, last.checkpoint.horizon) if last else (0, 0)
            count, seconds = await rows.unsealed_backlog(session, *start, _COUNTED)
            late = seconds > LATE_SECONDS
            waits_for = [blocker_text(one) for one in await rows.log_blockers(session)] if late else []
            checked = await rows.read_self_check(session)
            good = last is None or await is_ours(self._keys, session, last)
            broken = not good or (checked is not None and bool(checked.problems or checked.found))
            view = await self._view(session, last) if last and good else None
        return IntegrityView(
            state="broken" if broken else "behind" if late else "ok" if last else "new",
            checkpoint=view,
            unsealed_rows=count,
            unsealed_seconds=round(seconds, 3),
            waits_for=waits_for,
            self_check=_self_check(checked) if checked else None,
        )

    @property
    def _origin(self) -> str:
        return log_origin(self._keys.instance_id)

    async def _checkpoint(self, entry: Entry, size: int | None) -> StoredCheckpoint:
        session = entry.session
        if size is None:
            found = await rows.last_checkpoint(session, self._origin)
        else:
            in_range = 0 <= size < 1 << 63
            found = await rows.one_checkpoint(session, "checkpoint_at_size", size, self._origin) if in_range else None
        if found is None:
            entry.missing(_LOG)
        return found

    async def _view(self, session: Session, stored: StoredCheckpoint) -> CheckpointView:
        if not await is_ours(self._keys, session, stored):
            raise KeyProblem("a checkpoint of the audit log was changed: run `overseer audit verify`")
        c, public = stored.checkpoint, self._keys.keyring.log_key(stored.key_term).public
        return CheckpointView(
            size=c.size,
            root=_text(c.root),
            seq=c.seq,
            incarnation=c.incarnation,
            horizon=c.horizon,
            timeline=c.timeline,
            at=c.at,
            key_term=stored.key_term,
            note=c.note(public, stored.signature),
        )

    def _key_view(self, key: StoredKey) -> LogKeyView:
        text = str(VerifierKey(self._origin, key.public))
        return LogKeyView(term=key.term, verifier_key=text, since_size=key.since_size, statement=key.statement)

    async def _new_key(self, session: Session) -> tuple[StoredKey, Keyring]:
        """The next key, stored and published with its statement; the keyring that holds it."""
        keys = await rows.load_log_keys(session)
        if not keys:  # nothing was ever sealed
            keys = [StoredKey(1, (await log_signing_key(self._keys, session, 1)).public, 0, None)]
            await rows.insert_log_key(session, keys[0])
        last = await rows.last_checkpoint(session, self._origin)
        if last is not None and not await is_ours(self._keys, session, last):
            raise KeyProblem("the newest checkpoint of the audit log was changed: run `overseer audit verify`")
        keyring, row = (await self._keys.reread(session)).add_key(Purpose.AUDIT_LOG)
        if row.term != keys[-1].term + 1:
            raise KeyProblem("the published keys of the audit log are not those of the keyring: run `overseer audit verify`")
        await insert_keys(session, [(row.purpose, row.term, row.wrapped)])
        size, root = (last.checkpoint.size, last.checkpoint.root) if last else (0, EMPTY_ROOT)
        old, new = keyring.log_key(keys[-1].term), keyring.log_key(row.term)
        key = StoredKey(row.term, new.public, size, introduce_key(self._origin, size, root, old, new))
        await rows.insert_log_key(session, key)
        return key, keyring


def _self_check(row: rows.SelfCheckRow) -> SelfCheckView:
    return SelfCheckView(
        started_at=row.started_at,
        finished_at=row.finished_at,
        checked_size=row.checked_size,
        next_index=row.next_index,
        problems=list(dict.fromkeys([*row.found, *row.problems])),
    )


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _row_key(row: str) -> tuple[int, int, int]:
    parts = row.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
        rule = "row is the id of an audit row: incarnation.xact.id"
        raise InvalidInput(rule, problems=[Problem("query.row", rule, "bad_row")])
    incarnation, xact, row_id = (int(part) for part in parts)
    return min(incarnation, (1 << 31) - 1), xact, row_id
