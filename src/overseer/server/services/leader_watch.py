"""Whether anybody leads, looked at by every process: what servers do by themselves has no other watcher than who does not lead.

A leader cannot tell that there is none, and the leader's own alarms stop with it. So each process asks PostgreSQL now and then
who holds the leader's lock. Where that has been none of ours for a minute (nobody, or a stranger's session that took the lock),
it writes an alarm, again each hour. The gauge ``overseer_leader_missing_seconds`` says for how long.

What it will not do: end a session, or lead. A sealed process looks as well, and says the same of a sealed installation.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.findings import Finding, ok, problem, warning
from overseer.server import measures
from overseer.server.services.gate import Gate
from overseer.server.storage.database import Database, Session

LOOK_SECONDS: Final = 10.0
#: Long beyond every takeover, which takes seconds.
MISSING_SECONDS: Final = 60.0
ALARM_PAUSE: Final = 3600.0
REQUEST_ID: Final = "leader-watch"
_LOG: Final = logging.getLogger("overseer.server")


class LeaderWatch:
    """One a process. ``clock`` is monotonic, in seconds."""

    def __init__(self, database: Database, gate: Gate, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._gate = gate
        self._clock = clock
        self._seen_at = clock()
        self._alarmed_at = float("-inf")

    async def look(self) -> None:
        """Look once. Raises :class:`StoreUnavailable`, :class:`AuditUnavailable`."""
        async with self._database.session() as session:
            holder = await lock_holder(session)
        now = self._clock()
        if holder == OURS:
            self._seen_at, self._alarmed_at = now, float("-inf")
        missing = now - self._seen_at
        measures.LEADER_MISSING.set(missing)
        if missing < MISSING_SECONDS or now - self._alarmed_at < ALARM_PAUSE:
            return
        _LOG.error("no server leads: %s", holder or "nobody holds the lock", extra={"seconds": round(missing)})
        event = AuditEvent(
            AuditAction.ALARM_NO_LEADER, Outcome.FAILED, REQUEST_ID, resource_kind="server", code=holder or "nobody"
        )
        await self._gate.append([event])
        self._alarmed_at = now


OURS: Final = "ours"


async def lock_holder(session: Session) -> str:
    """``ours``, ``pid N`` of a session that is none of ours, or '' where nobody holds the leader's lock."""
    row = await session.fetchrow("leader_holder")
    if row is None:
        return ""
    return OURS if row["ours"] else f"pid {row['pid']}"


def leader_finding(holder: str) -> Finding:
    """What `overseer doctor` says of it."""
    check = "leader"
    if holder == OURS:
        return ok(check, "a server leads: it runs the jobs of all replicas")
    if not holder:
        text = "no server leads: nothing is sealed into the audit log, rotated, or backed up by itself"
        return warning(check, text, "start a server, or unseal one; a new leader takes a few seconds")
    text = f"a session that is none of Overseer's ({holder}) holds the leader's lock: no server can lead"
    return problem(check, text, "find out whose it is, and end it with pg_terminate_backend")
