"""Whether a process can serve: its keys are open and its database answers.

The database is asked at most once a second, however often the question comes, so that probes cost nothing; an answer is at most
that old. Nothing of an error is said beyond one word a part.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from overseer.core.errors import OverseerError
from overseer.server.storage.database import Database
from overseer.wire.seal import Health

FRESH_SECONDS: Final = 1.0
PROBE_SECONDS: Final = 3.0


class ServerHealth:
    """``sealed`` and ``draining`` are asked each time."""

    def __init__(self, database: Database, sealed: Callable[[], bool], draining: Callable[[], bool]) -> None:
        self._database = database
        self._sealed = sealed
        self._draining = draining
        self._probing = asyncio.Lock()
        self._asked_at = float("-inf")
        self._database_word = "unknown"

    async def check(self) -> Health:
        """``ok``, ``sealed`` or ``unavailable``; never raises."""
        async with self._probing:
            if time.monotonic() - self._asked_at > FRESH_SECONDS:
                self._database_word = await self._ask_database()
                self._asked_at = time.monotonic()
        sealed = self._sealed()
        checks = {"database": self._database_word, "seal": "sealed" if sealed else "ok"}
        if self._draining():
            return Health(status="unavailable", checks=checks | {"server": "stopping"})
        if self._database_word != "ok":
            return Health(status="unavailable", checks=checks)
        return Health(status="sealed" if sealed else "ok", checks=checks)

    async def _ask_database(self) -> str:
        try:
            async with asyncio.timeout(PROBE_SECONDS), self._database.session() as session:
                await session.fetchval("database_clock")
        except (OverseerError, TimeoutError):
            return "unavailable"
        return "ok"
