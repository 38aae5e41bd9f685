"""The embedded database of a server: started before the workers, watched while they serve, stopped after them.

Where its process dies it is started again; workers answer 503 meanwhile and go on by themselves. A database that another process
of this machine had started already is used and left alone.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from overseer.core.errors import OverseerError
from overseer.server.storage.embedded import EmbeddedPostgres

WATCH_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 5.0
_LOG: Final = logging.getLogger("overseer.server")


class DatabaseKeeper:
    """Keeps the embedded PostgreSQL below one data directory."""

    def __init__(self, data_dir: Path) -> None:
        self._embedded = EmbeddedPostgres(data_dir)
        # One thread: a stop that comes while a start still runs waits for its end, and no server is left behind.
        self._thread = ThreadPoolExecutor(1)

    async def start(self) -> str:
        """The database's URL. Raises :class:`ConfigurationProblem` and :class:`StoreUnavailable`."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._embedded.start)

    async def stop(self) -> None:
        """Stop it where :meth:`start` started it."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._embedded.stop)

    async def watch(self, restarted: Callable[[str], None]) -> None:
        """Until cancelled: start it again when it died. ``restarted`` gets the URL, which may be another one."""
        while self._embedded.owned:
            await asyncio.sleep(WATCH_SECONDS)
            if _has_ended(self._embedded.process_id):
                _LOG.error("the embedded database ended; starting it again")
                restarted(await self._start_again())

    async def _start_again(self) -> str:
        while True:
            try:
                await self.stop()
                return await self.start()
            except OverseerError as error:
                _LOG.error("the embedded database does not start: %s", error.message)
                await asyncio.sleep(RETRY_SECONDS)


def _has_ended(process_id: int | None) -> bool:
    if process_id is None:
        return True
    try:
        # WNOWAIT leaves the exit status to the object that started the process.
        return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True
