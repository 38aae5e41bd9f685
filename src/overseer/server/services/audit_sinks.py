"""Audit rows on their way out of the database: each sink is a reader of the sealed log that delivers what it reads.

Guarantees: rows go out in the order of the log, after they were committed and sealed, at least once: the reader's place is
written down after the target has taken a batch. Nothing waits for a sink: no request, no other sink, no transaction is open
while one delivers, and what is not delivered stays where it is, in the log. A sink that fails is tried again with growing pauses
(the scheduler's); one that has not taken rows for longer than its limit raises ``alarm:sink_behind`` in the log itself, once an
hour.

What it will not do: deliver exactly once. A receiver knows a repeated row by its ``id``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

import msgspec

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import NotReady, OverseerError
from overseer.crypto.checkpoints import log_origin
from overseer.server import measures
from overseer.server.services.audit_sealer import is_ours
from overseer.server.services.audit_service import audit_view
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.sink_targets import SECONDS, Item, Target, make_target
from overseer.server.sink_settings import SinkSettings
from overseer.server.storage import audit_log_rows
from overseer.server.storage.audit_log_rows import StoredCheckpoint
from overseer.server.storage.audit_reading import Reader, RowKey, known_reader, lock_reader, read_on, unread_seconds, write_reader
from overseer.server.storage.database import Record, Session

#: Rows that are read and delivered together: well below a mebibyte.
BATCH: Final = 500
CHECKPOINT_EVERY: Final = timedelta(minutes=1)
ALARM_EVERY: Final = timedelta(hours=1)
_DEADLINE: Final = SECONDS * 2
_LOG: Final = logging.getLogger("overseer.server")


class AuditSinks:
    """The sinks of the configuration, by name; ``sinks`` are jobs of the leader's scheduler, one each."""

    def __init__(self, gate: Gate, keys: KeyService, tables: Mapping[str, SinkSettings]) -> None:
        self.sinks = tuple(AuditSink(gate, keys, name, one, make_target(name, one)) for name, one in tables.items())


class AuditSink:
    """See the module's text."""

    def __init__(self, gate: Gate, keys: KeyService, name: str, settings: SinkSettings, target: Target) -> None:
        self.name = name
        self._gate = gate
        self._keys = keys
        self._settings = settings
        self._target = target

    async def run(self) -> None:
        """Deliver all that is sealed. Raises :class:`NotReady` where the target does not take it, :class:`StoreUnavailable`."""
        while await self._step():
            pass

    async def _step(self) -> bool:
        """One batch; True where there may be more."""
        reader, last, rows, now = await self._read()
        if last is None:
            return False
        done = replace(reader, key=RowKey.of(rows[-1])) if rows else reader
        items = [item for row in rows if (item := self._item(row)) is not None]
        if len(rows) < BATCH and self._checkpoint_is_due(reader, last, now):
            items.append(await self._checkpoint_item(last))
            done = replace(done, checkpoint_size=last.checkpoint.size, checkpoint_at=now)
        if items:
            await self._deliver(reader, done, items)
        if done != reader or reader.alarmed_at is not None:
            await self._write(done)
        measures.SINK_BEHIND.labels(self.name).set(float(rows[-1]["age"]) if rows else 0.0)
        return len(rows) == BATCH

    async def _read(self) -> tuple[Reader, StoredCheckpoint | None, list[Record], datetime]:
        async with self._gate.own_work() as (session, _):
            now: datetime = await session.fetchval("database_clock")
            last = await audit_log_rows.last_checkpoint(session, self._origin)
            reader = await known_reader(session, self._reader_name)
            if reader is None:
                reader = self._new_reader(last)
                await write_reader(session, reader)
            rows = await read_on(session, reader, last, BATCH) if last is not None else []
        return reader, last, rows, now

    def _new_reader(self, last: StoredCheckpoint | None) -> Reader:
        if last is None or self._settings.from_beginning:
            return Reader(self._reader_name)
        c = last.checkpoint
        return Reader(self._reader_name, RowKey(c.incarnation, c.horizon, -1))

    def _item(self, row: Record) -> Item | None:
        if not self._settings.wants(row["action"], row["outcome"]):
            return None
        view = audit_view(row)
        if not self._settings.texts:
            view = msgspec.structs.replace(view, reason="")
        line = msgspec.json.encode({"type": "row", **msgspec.to_builtins(view)})
        return Item(view.action, view.outcome, view.at, line)

    def _checkpoint_is_due(self, reader: Reader, last: StoredCheckpoint, now: datetime) -> bool:
        if not self._settings.checkpoints or self._settings.alarms_only or last.checkpoint.size <= reader.checkpoint_size:
            return False
        return reader.checkpoint_at is None or now - reader.checkpoint_at >= CHECKPOINT_EVERY

    async def _checkpoint_item(self, last: StoredCheckpoint) -> Item:
        async with self._gate.own_work() as (session, _):
            if not await is_ours(self._keys, session, last):
                raise NotReady("the newest checkpoint of the audit log was changed: it is not passed on", retry_after=60)
            note = audit_log_rows.checkpoint_note(last, await audit_log_rows.load_log_keys(session))
        line = msgspec.json.encode({"type": "checkpoint", "size": last.checkpoint.size, "note": note})
        return Item("checkpoint", "allowed", last.checkpoint.at, line)

    async def _deliver(self, reader: Reader, done: Reader, items: list[Item]) -> None:
        try:
            async with asyncio.timeout(_DEADLINE):
                await self._target.send(f"{done.key.text}/{done.checkpoint_size}", items)
        except (OSError, TimeoutError, OverseerError) as error:
            await self._tell_if_behind(reader)
            kind = error.code if isinstance(error, OverseerError) else type(error).__name__
            raise NotReady(f"sink {self.name} does not take rows: {kind}", retry_after=5) from None

    async def _write(self, done: Reader) -> None:
        async with self._gate.own_work() as (session, _):
            await lock_reader(session, self._reader_name)
            now = await known_reader(session, self._reader_name)
            if now is None or now.key <= done.key:  # else another leader was quicker
                await write_reader(session, replace(done, alarmed_at=None))

    async def _tell_if_behind(self, reader: Reader) -> None:
        async with self._gate.own_work() as (session, events):
            await lock_reader(session, self._reader_name)
            seconds = await unread_seconds(session, reader)
            measures.SINK_BEHIND.labels(self.name).set(seconds)
            if seconds <= self._settings.behind_seconds or not await self._alarm_is_due(session):
                return
            events.append(
                AuditEvent(
                    AuditAction.ALARM_SINK_BEHIND,
                    Outcome.FAILED,
                    request_id="audit-sinks",
                    actor_kind="server",
                    resource_kind="sink",
                    resource_name=self.name,
                    code="behind",
                )
            )
        _LOG.error("sink %s is behind: its oldest row waits for %.0f s", self.name, seconds)

    async def _alarm_is_due(self, session: Session) -> bool:
        """Whether the last alarm is an hour ago; then it is written down as raised now."""
        stored = await known_reader(session, self._reader_name)
        now: datetime = await session.fetchval("database_clock")
        if stored is None or (stored.alarmed_at is not None and now - stored.alarmed_at < ALARM_EVERY):
            return False
        await write_reader(session, replace(stored, alarmed_at=now))
        return True

    @property
    def _reader_name(self) -> str:
        return f"sink:{self.name}"

    @property
    def _origin(self) -> str:
        return log_origin(self._keys.instance_id)
