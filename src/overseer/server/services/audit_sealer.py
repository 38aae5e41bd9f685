"""Sealing: the leader turns committed audit rows into leaves of the log's tree and signs its head, at least each second.

Guarantees: a row is sealed when no open transaction can still come before it (the horizon of the very snapshot that reads the
rows), so the order of the log is final; the rows themselves are never touched. What is signed continues what was signed: the last
checkpoint's signature, root and size are checked first, so a changed checkpoint stops the sealer instead of being built upon.
Two sealers cannot both continue one checkpoint: its successor's number is a primary key.

What it will not do: find rows that were changed after they were sealed (:mod:`overseer.server.services.audit_self_check` and
``overseer audit verify`` do), or protect rows that are not sealed yet: whoever holds a transaction open holds that off, which is
why a row that waits for more than five seconds is an alarm that names who it waits for.
"""

from __future__ import annotations

import logging
import time
from typing import Final

from overseer.core.errors import AlreadyExists, KeyProblem
from overseer.crypto.checkpoints import Checkpoint, log_origin
from overseer.crypto.log_tiles import new_pieces
from overseer.crypto.merkle_log import Frontier
from overseer.crypto.signatures import SigningKey, verifies
from overseer.server.services.key_service import KeyService
from overseer.server.storage.audit_log_rows import (
    Blocker,
    StoredCheckpoint,
    StoredKey,
    insert_checkpoint,
    insert_log_key,
    last_checkpoint,
    load_log_keys,
    log_blockers,
    try_seal_lock,
    unsealed_backlog,
    unsealed_rows,
)
from overseer.server.storage.database import Database, Session

#: Rows a checkpoint: a few milliseconds of hashing in the process that also serves requests.
BATCH: Final = 5000
#: Rows that wait longer than this are an alarm.
LATE_SECONDS: Final = 5.0
_ALARM_PAUSE: Final = 60.0
_LOG: Final = logging.getLogger("overseer.server")


class AuditSealer:
    """See the module's text. :meth:`run` is a job of the leader's scheduler; several may run at once."""

    def __init__(self, database: Database, keys: KeyService, batch: int = BATCH) -> None:
        self._database = database
        self._keys = keys
        self._batch = batch
        self._highest = 0
        self._alarmed_at = float("-inf")

    async def run(self) -> None:
        """Seal all that can be sealed now; raise the alarm where rows wait for too long.

        Raises :class:`KeyProblem` where the stored log is not what was signed, :class:`Sealed`, :class:`StoreUnavailable`.
        """
        while await self.seal():
            pass
        await self._watch()

    async def seal(self) -> bool:
        """One checkpoint, where there are rows for one; True where there may be more to do at once."""
        origin = log_origin(self._keys.instance_id)
        try:
            async with self._database.work() as session:
                if not await try_seal_lock(session):
                    return False
                last = await last_checkpoint(session, origin)
                keys = await load_log_keys(session)
                await self._check(session, last, keys)
                start = (last.checkpoint.incarnation, last.checkpoint.horizon) if last else (0, 0)
                rows = await unsealed_rows(session, *start, self._batch)
                if not rows.leaves:
                    return False
                key = keys[-1] if keys else await self._first_key(session)
                frontier = Frontier.parse(last.checkpoint.size, last.frontier) if last else Frontier()
                pieces = new_pieces(frontier.size, rows.leaves, frontier.extend(rows.leaves))
                more = len(rows.leaves) >= self._batch  # then the horizon is where the last transaction of the batch ends
                checkpoint = Checkpoint(
                    origin=origin,
                    size=frontier.size,
                    root=frontier.root(),
                    seq=last.checkpoint.seq + 1 if last else 1,
                    incarnation=rows.last_incarnation if more else rows.incarnation,
                    horizon=rows.last_xact + 1 if more else rows.horizon,
                    timeline=rows.timeline,
                    at=rows.at,
                )
                signature = checkpoint.sign(await log_signing_key(self._keys, session, key.term))
                await insert_checkpoint(session, StoredCheckpoint(checkpoint, frontier.joined(), key.term, signature), pieces)
        except AlreadyExists:
            return False  # another sealer continued the same checkpoint
        self._highest = max(self._highest, checkpoint.size)
        return more

    async def _check(self, session: Session, last: StoredCheckpoint | None, keys: list[StoredKey]) -> None:
        """Raises :class:`KeyProblem` where the newest checkpoint is not what the keyring's own key signed, or an older one."""
        if (last.checkpoint.size if last else 0) < self._highest:
            raise KeyProblem("the audit log is shorter than it was: checkpoints were removed; compare it with exported ones")
        for key in keys[-1:]:
            if (await log_signing_key(self._keys, session, key.term)).public != key.public:
                raise KeyProblem("the published key of the audit log was changed: run `overseer audit verify`")
        if last is None:
            return
        if not await is_ours(self._keys, session, last):
            raise KeyProblem("the newest checkpoint of the audit log was changed: run `overseer audit verify`")
        self._highest = max(self._highest, last.checkpoint.size)

    async def _first_key(self, session: Session) -> StoredKey:
        key = StoredKey(1, (await log_signing_key(self._keys, session, 1)).public, 0, None)
        await insert_log_key(session, key)
        return key

    async def _watch(self) -> None:
        """An alarm in the server's log, at most once a minute, where a row has waited for too long."""
        async with self._database.session() as session:
            last = await last_checkpoint(session, log_origin(self._keys.instance_id))
            start = (last.checkpoint.incarnation, last.checkpoint.horizon) if last else (0, 0)
            _, seconds = await unsealed_backlog(session, *start, 1)
            if seconds <= LATE_SECONDS or time.monotonic() - self._alarmed_at < _ALARM_PAUSE:
                return
            blockers = await log_blockers(session)
        self._alarmed_at = time.monotonic()
        waits_for = "; ".join(blocker_text(one) for one in blockers) or "nobody that can be seen"
        _LOG.error("audit rows wait to be sealed, held back by: %s", waits_for, extra={"seconds": seconds})


def blocker_text(blocker: Blocker) -> str:
    """Who holds sealing back, in words."""
    who = "a prepared transaction" if blocker.pid is None else f"pid {blocker.pid}"
    if blocker.behind is None:
        return f"{who} in database {blocker.database}, which is not the server's and holds the lock of those who seal"
    age = "" if blocker.seconds is None else f" for {blocker.seconds:.0f} s"
    return f"{who} in database {blocker.database}{age}, {blocker.behind} transactions ago"


async def log_signing_key(keys: KeyService, session: Session, term: int) -> SigningKey:
    """The keyring's key of ``term``, read again where another replica has made it. Raises :class:`KeyProblem`."""
    try:
        return keys.keyring.log_key(term)
    except KeyProblem:
        keys.publish(await keys.reread(session))
    return keys.keyring.log_key(term)


async def is_ours(keys: KeyService, session: Session, stored: StoredCheckpoint) -> bool:
    """Whether a stored checkpoint is what the keyring's own key signed, with the right edge of the tree that it signed."""
    c = stored.checkpoint
    try:
        same = Frontier.parse(c.size, stored.frontier).root() == c.root
        public = (await log_signing_key(keys, session, stored.key_term)).public
    except (ValueError, KeyProblem):
        return False
    return same and verifies(public, stored.signature, c.text().encode())
