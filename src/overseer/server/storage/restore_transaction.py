"""The one transaction of a restore or of a verification: begun here, committed at the end of the block, or rolled back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from overseer.core.errors import Conflict
from overseer.crypto.log_report import LogReport, Trust
from overseer.server.storage.backup_archive import ArchiveReader, Manifest
from overseer.server.storage.backup_loading import RESTORE_SETTINGS, load
from overseer.server.storage.connection import login_connection
from overseer.server.storage.database import Session, translate
from overseer.server.storage.log_identity import begin_incarnation
from overseer.server.storage.log_reading import verify_connection
from overseer.server.storage.queries import named_queries
from overseer.server.storage.service_session import check_server


class Restoring:
    """``session`` is for the rows' own modules. Used from one task."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self.session = Session(connection)
        self.discarded = False

    def discard(self) -> None:
        """The end of the block rolls everything back."""
        self.discarded = True

    async def load(self, archive: ArchiveReader) -> Manifest:
        """As :func:`overseer.server.storage.backup_loading.load`."""
        return await load(self._connection, archive)

    async def log_is_sealed(self) -> bool:
        """Whether the log has a checkpoint."""
        return bool(await self._connection.fetchval(named_queries()["restore_log_size"]))

    async def verify_log(self, trust: Trust) -> LogReport:
        """Every sealed row of what was loaded. Raises :class:`InvalidInput`."""
        async with self._connection.transaction():  # what it sets for itself ends with it
            return await verify_connection(self._connection, trust)

    async def begin_incarnation(self) -> int:
        """The log goes on here under the next number."""
        return await begin_incarnation(self._connection)


@asynccontextmanager
async def restoring(url: str) -> AsyncIterator[Restoring]:
    """Raises :class:`ConfigurationProblem` (an unfit server), :class:`StoreUnavailable`; whatever leaves the block, nothing
    stays of it then."""
    async with login_connection(url, RESTORE_SETTINGS) as connection:
        transaction = connection.transaction()
        try:
            await check_server(connection)
            await transaction.start()
            work = Restoring(connection)
            try:
                yield work
            except BaseException:
                await transaction.rollback()
                raise
            await (transaction.rollback() if work.discarded else transaction.commit())
        except asyncpg.UniqueViolationError:
            raise Conflict("somebody else wrote into the database meanwhile; nothing was changed") from None
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
            raise translate(error) from None
