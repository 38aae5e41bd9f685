"""A running process follows a change of the seal: it takes the new root key, which it is sent sealed under the present one.

Guarantees: a root key is used only after the stored keyring opened with it; the supervisor is told, so that workers started
later have it. A process that missed the news (its connection was down at that
moment) goes on with the keys it has and says in its log that it has to be started again with the new setting.

What it will not do: read the new setting, or open the new seal.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from overseer.core.errors import DecryptionFailed, KeyProblem, OverseerError
from overseer.crypto.keys import RootKey
from overseer.server.services.key_service import KeyService
from overseer.server.storage.database import Database
from overseer.server.storage.seal_news import seal_news

LOOK_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 1.0
_LOG: Final = logging.getLogger("overseer.server")


class SealSuccession:
    """One a server process. ``taken`` gets each new root key that was found right; ``look`` is in seconds."""

    def __init__(
        self, database: Database, keys: KeyService, taken: Callable[[RootKey], Awaitable[None]], look: float = LOOK_SECONDS
    ) -> None:
        self._database = database
        self._keys = keys
        self._taken = taken
        self._look = look
        self._warned = False

    async def run(self) -> None:
        """Listen until cancelled; a lost connection is made anew."""
        while True:
            try:
                await self._listen()
            except OverseerError as error:
                _LOG.debug("the news of the seal cannot be heard now: %s", error.code)
            await asyncio.sleep(AGAIN_SECONDS)

    async def _listen(self) -> None:
        ended, heard = asyncio.Event(), asyncio.Queue[bytes](maxsize=16)

        def take(payload: bytes) -> None:
            with suppress(asyncio.QueueFull):  # only a flood by somebody else fills it
                heard.put_nowait(payload)

        async with seal_news(self._database, take, ended) as session:
            await self._look_for_missed()
            while not ended.is_set():
                payload = await _next(heard, ended, self._look)
                if payload is not None:
                    await self.succeed(payload)
                elif not ended.is_set():
                    await session.fetchval("database_clock")  # a connection that broke silently shows itself
                    await self._look_for_missed()

    async def succeed(self, handed_over: bytes) -> bool:
        """Take the root key in what a migration sent; False where it is not for this process."""
        if self._keys.sealed:
            return False
        try:
            root_key = self._keys.keyring.successor(handed_over)
        except DecryptionFailed:
            return False  # taken already, from another worker, or not from a migration
        if not await self.adopt(root_key):
            return False
        _LOG.info("the seal was changed; this process has the new root key")
        await self._taken(root_key)
        return True

    async def adopt(self, root_key: RootKey) -> bool:
        """Use ``root_key`` where it opens the stored keyring; False where it does not."""
        try:
            await self._keys.open(root_key)
        except KeyProblem:
            return False
        self._warned = False
        return True

    async def _look_for_missed(self) -> None:
        """Say it once where the stored keyring is under a root key that this process does not have."""
        if self._keys.sealed or self._warned:
            return
        try:
            async with self._database.session() as session:
                await self._keys.reread(session)
        except KeyProblem:
            self._warned = True
            _LOG.error("the seal was changed and this process did not hear of it: start it again with the new OVERSEER_SEAL")


async def _next(heard: asyncio.Queue[bytes], ended: asyncio.Event, seconds: float) -> bytes | None:
    """The next payload; None after ``seconds``, or as soon as the connection has ended."""
    getting, ending = asyncio.create_task(heard.get()), asyncio.create_task(ended.wait())
    try:
        await asyncio.wait((getting, ending), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return getting.result() if getting.done() else None
    finally:
        getting.cancel()
        ending.cancel()
