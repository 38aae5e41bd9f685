"""The server's own look at rows that are sealed: are they still what was sealed?

The leader compares a part of the log at a time with the stored leaf hashes, from the beginning to the end and again. What it
finds stays in the answer about the log's integrity until a whole pass found nothing; it is an error in the server's log, and
the first of it is ``alarm:audit_broken`` in the audit log.

What it will not do: replace ``overseer audit verify``, which also checks the stored hashes against signed checkpoints, on a
machine that an attacker of this one does not have.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from typing import Final

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.audit_record import record_key
from overseer.crypto.checkpoints import log_origin
from overseer.crypto.log_tiles import TILE_WIDTH
from overseer.crypto.log_verification import Finding, locate
from overseer.crypto.merkle_log import leaf_hash
from overseer.server.services.key_service import KeyService
from overseer.server.storage.audit_log_rows import (
    SelfCheckRow,
    StoredCheckpoint,
    last_checkpoint,
    leaf_tiles,
    log_beginning,
    one_checkpoint,
    read_self_check,
    records_between,
    write_self_check,
)
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.database import Database, Session

#: Rows of one run: a few tens of milliseconds.
PART: Final = 2560
_MOST_PROBLEMS: Final = 20
_ALARM: Final = AuditEvent(
    AuditAction.ALARM_AUDIT_BROKEN,
    Outcome.FAILED,
    request_id="audit-self-check",
    actor_kind="server",
    resource_kind="audit",
    code="differs",
)
_LOG: Final = logging.getLogger("overseer.server")


class AuditSelfCheck:
    """See the module's text. :meth:`run` is a job of the leader's scheduler."""

    def __init__(self, database: Database, keys: KeyService, part: int = PART) -> None:
        self._database = database
        self._keys = keys
        self._part = part

    async def run(self) -> None:
        """The next part. Raises :class:`Sealed` and :class:`StoreUnavailable`."""
        origin = log_origin(self._keys.instance_id)
        async with self._database.work() as session:
            last = await last_checkpoint(session, origin)
            if last is None:
                return
            now: datetime = await session.fetchval("database_clock")
            beginning = (await log_beginning(session, origin))[0]
            state = await read_self_check(session) or SelfCheckRow(beginning, now, None, 0, [], [])
            if not beginning <= state.next_index < last.checkpoint.size:
                state = replace(state, next_index=beginning, started_at=now, found=[])
            known = bool(state.found or state.problems)
            problems, end = await self._check(session, state.next_index, last, origin)
            state = replace(state, next_index=end, found=[*state.found, *problems][:_MOST_PROBLEMS])
            if end >= last.checkpoint.size:
                state = replace(state, finished_at=now, checked_size=end, problems=state.found)
            await write_self_check(session, state)
            if problems and not known:
                await insert_events(session, [_ALARM])
        for problem in problems:
            _LOG.error("the audit log was tampered with: %s", problem)

    async def _check(self, session: Session, first: int, last: StoredCheckpoint, origin: str) -> tuple[list[str], int]:
        """What is wrong from ``first`` on, and where to go on: always where a checkpoint ends, for a row too many or too few
        in the part before must not shift the next one."""
        size = last.checkpoint.size
        start = await one_checkpoint(session, "checkpoint_below_size", first, origin)
        end = await one_checkpoint(session, "checkpoint_below_size", min(size, first + self._part), origin)
        begin = start.checkpoint.size if start else 0
        if end is None or end.checkpoint.size <= first:
            end = await one_checkpoint(session, "checkpoint_above_size", first, origin) or last
        until = end.checkpoint.size
        records = await records_between(session, start, end)
        tiles = await leaf_tiles(session, begin // TILE_WIDTH, -(-until // TILE_WIDTH))
        stored = [leaf for number in sorted(tiles) for leaf in tiles[number]]
        skip = begin % TILE_WIDTH
        expected = stored[skip : skip + until - begin]
        findings = locate(expected, [leaf_hash(record) for record in records], begin)
        problems = [_words(one, records) for one in findings]
        if len(expected) != until - begin:
            problems.append(f"stored hashes of rows {begin} to {until - 1} are missing")
        return problems[:_MOST_PROBLEMS], until


def _words(finding: Finding, records: list[bytes]) -> str:
    """A finding with the id of the row, where one was read."""
    rows = f"row {finding.index}" if finding.count == 1 else f"rows {finding.index} to {finding.index + finding.count - 1}"
    key = "" if finding.found is None else " ({}.{}.{})".format(*record_key(records[finding.found]))
    return f"{rows}{key}: {finding.kind}"
