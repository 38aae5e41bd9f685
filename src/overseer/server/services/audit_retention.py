"""Old audit rows leave the log: by age, on purpose, and so that everybody can see it.

Guarantees: rows go from the beginning only, up to a checkpoint that was signed so long ago; before they go, a statement signed by
the log's key says how many, and the tree's right edge at that size stays, so that ``overseer audit verify`` still verifies the
rest and tells what was removed. Statement, removal and the audit row of it are one transaction. The service's role cannot delete
a row: the database's function ``audit_forget`` does it, which keeps what is younger than 30 days whatever it is asked.

What it will not do: wait for a sink that is behind, or remove rows that the summary of who saw what has not taken in.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import KeyProblem
from overseer.crypto.checkpoints import log_origin, retire_rows
from overseer.server.services.audit_sealer import is_ours, log_signing_key
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.storage import audit_log_rows
from overseer.server.storage.audit_reading import SEEN, fold_seen, known_reader, lock_reader
from overseer.server.storage.database import Session

#: Rows of one removal: a second or two.
PART: Final = 20_000
#: Rows that one statement of the summary takes in.
FOLDED: Final = 20_000
_READER: Final = "retention"


class AuditRetention:
    """See the module's text. :meth:`run` and :meth:`fold` are jobs of the leader's scheduler."""

    def __init__(self, gate: Gate, keys: KeyService, days: int, part: int = PART) -> None:
        """``days``: rows that were sealed longer ago go; 0 keeps all."""
        self._gate = gate
        self._keys = keys
        self._days = days
        self._part = part

    async def fold(self) -> None:
        """Take sealed rows into the summary of what each principal was shown. Raises :class:`StoreUnavailable`."""
        while await self._fold_part() == FOLDED:
            pass

    async def run(self, now: datetime | None = None) -> None:
        """Remove what is old enough by the database's clock (or at ``now``). Raises :class:`KeyProblem` for a log that is not
        what was signed, :class:`Sealed`, :class:`StoreUnavailable`."""
        if self._days:
            while await self._remove_part(now):
                pass

    async def _fold_part(self) -> int:
        async with self._gate.own_work() as (session, _):
            last = await audit_log_rows.last_checkpoint(session, self._origin)
            return 0 if last is None else await fold_seen(session, last, FOLDED)

    async def _remove_part(self, now: datetime | None) -> int:
        async with self._gate.own_work() as (session, events):
            await lock_reader(session, _READER)
            clock = now or await session.fetchval("database_clock")
            first, _, _ = await audit_log_rows.log_beginning(session, self._origin)
            edge = await self._edge(session, first, clock - timedelta(days=self._days))
            if edge is None:
                return 0
            size, root = edge.checkpoint.size, edge.checkpoint.root
            term = (await audit_log_rows.load_log_keys(session))[-1].term
            key = await log_signing_key(self._keys, session, term)
            await session.execute("retention_insert", size, retire_rows(self._origin, size, root, key))
            count: int = await session.fetchval("audit_forget", size)
            if count != size - first:
                raise KeyProblem("the old part of the audit log does not have as many rows as were sealed: nothing was removed")
            events.append(
                AuditEvent(
                    AuditAction.AUDIT_REMOVE,
                    Outcome.ALLOWED,
                    request_id=_READER,
                    actor_kind="server",
                    resource_kind="audit",
                    code=str(count),
                )
            )
        return count

    async def _edge(self, session: Session, first: int, before: datetime) -> audit_log_rows.StoredCheckpoint | None:
        """The checkpoint to remove rows up to; None where there is nothing to remove yet."""
        size = await session.fetchval("audit_aged_checkpoint", before, self._part, first)
        size = size or await session.fetchval("audit_aged_checkpoint_next", before, first)
        if size is None:
            return None
        edge = await audit_log_rows.one_checkpoint(session, "checkpoint_at_size", size, self._origin)
        if edge is None or not await is_ours(self._keys, session, edge):
            raise KeyProblem("a checkpoint of the audit log was changed: run `overseer audit verify`")
        reader = await known_reader(session, SEEN)
        horizon = (edge.checkpoint.incarnation, edge.checkpoint.horizon)
        folded = reader is not None and not await session.fetchval("audit_between", *reader.key.arguments, *_texts(horizon))
        return edge if folded else None

    @property
    def _origin(self) -> str:
        return log_origin(self._keys.instance_id)


def _texts(horizon: tuple[int, int]) -> tuple[int, str]:
    return horizon[0], str(horizon[1])
