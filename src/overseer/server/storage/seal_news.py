"""The one message that runs between processes beside the tables: that the seal was changed.

Guarantee: what is sent is delivered with the sender's commit, and to nobody when that is rolled back. It is in no table, no
write-ahead log and no backup. Who does not listen at that moment never gets it, so the receiver looks at the database as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from overseer.server.storage.database import Database, Session

CHANNEL: Final = "overseer_seal"
_SETTINGS: Final = {"application_name": "overseer seal news"}


async def send_seal_news(session: Session, payload: bytes) -> None:
    """In the caller's transaction."""
    await session.fetchval("seal_news_send", payload.hex())


@asynccontextmanager
async def seal_news(database: Database, heard: Callable[[bytes], None], ended: asyncio.Event) -> AsyncIterator[Session]:
    """A connection of its own on which ``heard`` gets each payload; ``ended`` is set when it breaks.

    Raises :class:`StoreUnavailable` where none is to be had. What is not hexadecimal is not from us and is dropped.
    """

    def take(text: str) -> None:
        try:
            heard(bytes.fromhex(text))
        except ValueError:
            return

    async with database.lone_session(_SETTINGS, ended) as session:
        await session.hear(CHANNEL, take)
        yield session
