"""The lock that makes one process of all workers and replicas the leader.

It is a session advisory lock on a connection outside the pool: PostgreSQL gives it up when the connection ends, however that
comes (close, kill, failover), so no crash leaves it behind. A leader that says nothing for :data:`LEASE_SECONDS` (frozen, or cut
off without a word) has its session ended by PostgreSQL. What this cannot do: stop a statement that the old leader sent over
another connection before; a job's own transaction has to be harmless beside that of the next leader.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from overseer.core.errors import StoreUnavailable
from overseer.server.storage.database import Database, Session

#: How long PostgreSQL keeps the lock of a session that is silent.
LEASE_SECONDS: Final = 15
CHECK_SECONDS: Final = 3.0
_SETTINGS: Final = {"application_name": "overseer leader", "idle_session_timeout": f"{LEASE_SECONDS}s"}


class LeaderSession:
    """One connection that asks for the lock. ``ended`` is set as soon as the connection is gone, and the lock with it."""

    def __init__(self, session: Session, ended: asyncio.Event) -> None:
        self._session = session
        self.ended = ended

    async def try_to_lead(self) -> bool:
        """Ask once, without waiting; True where this session holds the lock now. To be asked once after a True: locks nest."""
        return bool(await self._answer("leader_try"))

    async def check(self) -> None:
        """Show PostgreSQL that this process lives. Raises :class:`StoreUnavailable` where the answer takes over three seconds."""
        await self._answer("leader_check")

    async def _answer(self, query: str) -> object:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                return await self._session.fetchval(query)
        except TimeoutError:
            raise StoreUnavailable("the database does not answer; try again") from None


@asynccontextmanager
async def leader_session(database: Database) -> AsyncIterator[LeaderSession]:
    """A session for the lock; the end of the block gives the lock up. Raises :class:`StoreUnavailable`."""
    ended = asyncio.Event()
    async with database.lone_session(_SETTINGS, ended) as session:
        yield LeaderSession(session, ended)
