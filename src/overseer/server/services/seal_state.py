"""What the database says about the seal, looked at once in a second at most, whoever asks and however often."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from overseer.core.errors import StoreUnavailable
from overseer.server.storage.database import Database
from overseer.server.storage.keyring_rows import InstanceRow, load_instance

LOOK_SECONDS: Final = 1.0


class SealState:
    """One a server process; ``clock`` is monotonic, in seconds."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._looking = asyncio.Lock()
        self._seen: InstanceRow | None = None
        self._answered = False
        self._seen_at = float("-inf")

    async def instance(self) -> InstanceRow | None:
        """The instance, a second old at most; None where there is none. Raises :class:`StoreUnavailable`."""
        async with self._looking:  # who waited gets what was seen meanwhile
            if self._clock() - self._seen_at >= LOOK_SECONDS:
                await self._look()
            if not self._answered:
                raise StoreUnavailable("the database does not answer as it should; try again")
            return self._seen

    async def _look(self) -> None:
        self._answered = False
        try:
            async with self._database.session() as session:
                self._seen = await load_instance(session)
            self._answered = True
        except StoreUnavailable:
            self._seen = None
        finally:
            self._seen_at = self._clock()
