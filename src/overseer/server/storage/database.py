"""The connection pool and the unit of work.

``Database.session()`` lends one connection; ``Session.transaction()`` is one READ COMMITTED transaction on it. Every failure
of the driver becomes an error of the domain here: what a retry can mend is :class:`StoreUnavailable` (503 with Retry-After),
a broken constraint is :class:`AlreadyExists` or :class:`Conflict`. Driver messages never travel on: they may quote parameters.

A commit counts only where PostgreSQL says nothing beside it. When the wait for a synchronous standby is cancelled (by a time-out
or by an administrator) it answers COMMIT all the same, with a warning that the standby may not have it; here that is
:class:`StoreUnavailable`, for what a failover could lose must not be acknowledged.

The pool connects lazily, so a server starts while its database is down and recovers without a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import asyncpg

from overseer.core.errors import AlreadyExists, Conflict, InvalidInput, OverseerError, StoreUnavailable
from overseer.server.storage.queries import named_queries

ACQUIRE_SECONDS: Final = 5.0
COMMAND_SECONDS: Final = 10.0

Record = Mapping[str, Any]
ConnectionSetup = Callable[[asyncpg.Connection], Awaitable[None]]

# Errors after which the same request may succeed: the server is down, full, slow, failing over, or a lock was not to be had.
_PASSING: Final = (
    OSError,
    TimeoutError,
    asyncio.TimeoutError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,  # the connection broke while nobody used it, and the driver has not understood it yet
    asyncpg.PostgresConnectionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.OperatorInterventionError,
    asyncpg.LockNotAvailableError,
    asyncpg.TransactionRollbackError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.InsufficientPrivilegeError,
    asyncpg.PostgresIOError,
    asyncpg.InternalServerError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.InvalidCatalogNameError,
    asyncpg.UndefinedTableError,
)


def translate(error: BaseException) -> BaseException:
    """The domain's error for a driver's error; anything else is returned as it is."""
    if isinstance(error, OverseerError):
        return error
    if isinstance(error, asyncpg.UniqueViolationError):
        return AlreadyExists(f"it exists already ({error.constraint_name})")
    if isinstance(error, asyncpg.ForeignKeyViolationError | asyncpg.RestrictViolationError):
        return Conflict(f"it is still in use, or what it refers to is gone ({error.constraint_name})")
    if isinstance(error, asyncpg.CharacterNotInRepertoireError | asyncpg.UntranslatableCharacterError):
        return InvalidInput("a text holds a character that cannot be stored, such as NUL")
    if isinstance(error, _PASSING):
        return StoreUnavailable("the database does not answer as it should; try again")
    return error


class Session:
    """One connection, lent for one request."""

    def __init__(self, connection: asyncpg.Connection) -> None:
        self._connection = connection
        self._warned = False

    def note(self, _: object, message: Any) -> None:
        """Called by the driver with what PostgreSQL says beside its answers, before the answer itself is handed on."""
        if message.severity_en == "WARNING":
            self._warned = True

    async def fetch(self, query: str, *arguments: Any) -> list[Record]:
        """All rows of a named query."""
        return list(await self._run(self._connection.fetch, query, arguments))

    async def fetchrow(self, query: str, *arguments: Any) -> Record | None:
        """The first row of a named query, or None."""
        row: Record | None = await self._run(self._connection.fetchrow, query, arguments)
        return row

    async def fetchval(self, query: str, *arguments: Any) -> Any:
        """The first column of the first row, or None."""
        return await self._run(self._connection.fetchval, query, arguments)

    async def execute(self, query: str, *arguments: Any) -> int:
        """The number of rows that a named statement touched."""
        status = await self._run(self._connection.execute, query, arguments)
        last = str(status).rsplit(" ", 1)[-1]
        return int(last) if last.isdigit() else 0

    async def executemany(self, query: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """A named statement once for each row, in one round trip."""
        await self._run(self._connection.executemany, query, (list(rows),))

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[None]:
        """One transaction: committed at the end of the block, rolled back where an exception leaves it."""
        try:
            async with self._connection.transaction():
                yield
                self._warned = False
            self._require_sure()
        except BaseException as error:
            translated = translate(error)
            if translated is error:
                raise
            raise translated from None

    def _require_sure(self) -> None:
        """After a commit. Raises :class:`StoreUnavailable` where PostgreSQL warned with it."""
        if self._warned:
            self._warned = False
            raise StoreUnavailable("the database could not say that a standby has it; try again")

    async def hear(self, channel: str, heard: Callable[[str], None]) -> None:
        """Call ``heard`` with the payload of each notification on ``channel`` that comes while this connection lives."""
        try:
            await self._connection.add_listener(channel, lambda *event: heard(str(event[3])))
        except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            raise translate(error) from None

    async def _run(self, call: Callable[..., Awaitable[Any]], query: str, arguments: tuple[Any, ...]) -> Any:
        try:
            answer = await call(named_queries()[query], *arguments)
            if not self._connection.is_in_transaction():  # the statement was a transaction of its own
                self._require_sure()
            return answer
        except (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError) as error:
            translated = translate(error)
            if translated is error:
                raise
            raise translated from None


class Database:
    """A lazily connecting pool for one PostgreSQL database."""

    def __init__(self, arguments: Mapping[str, Any], *, setup: ConnectionSetup | None = None, size: int = 10) -> None:
        """``arguments`` go to ``asyncpg.connect``; ``setup`` runs on every new connection and may refuse it."""
        self._arguments = dict(arguments)
        self._setup = setup
        self._size = size
        self._pool: asyncpg.Pool | None = None
        self._opening = asyncio.Lock()
        self._unchanged: set[int] = set()  # connections by their backend's number, between a block's end and its reset

    @asynccontextmanager
    async def session(self, *, one_statement: bool = False) -> AsyncIterator[Session]:
        """A connection from the pool; :class:`StoreUnavailable` where none is to be had within five seconds.

        ``one_statement``: nothing but single statements are run on it, none of which changes the session, so it needs no reset
        when it is given back: on the hot path that would cost as much as the statement's own round trip.
        """
        try:
            pool = await self._open()
            connection = await pool.acquire(timeout=ACQUIRE_SECONDS)
        except _PASSING:
            raise StoreUnavailable("the database cannot be reached; try again") from None
        pid = connection.get_server_pid()
        session = Session(connection)
        connection.add_log_listener(session.note)
        try:
            yield session
            if one_statement and not connection.is_in_transaction():
                self._unchanged.add(pid)
        finally:
            with suppress(asyncpg.InterfaceError):  # it may have ended
                connection.remove_log_listener(session.note)
            # Shielded: a cancelled request must give its connection back, or the pool drains.
            await asyncio.shield(_give_back(pool, connection))
            self._unchanged.discard(pid)

    @asynccontextmanager
    async def work(self) -> AsyncIterator[Session]:
        """A session inside one transaction."""
        async with self.session() as session, session.transaction():
            yield session

    @asynccontextmanager
    async def lone_session(self, settings: Mapping[str, str], ended: asyncio.Event) -> AsyncIterator[Session]:
        """A connection outside the pool, for a lock that lives as long as it; set up like the pool's, with more ``settings``.

        ``ended`` is set as soon as the connection is gone. Raises :class:`StoreUnavailable` where none is to be had.
        """
        asked = {**self._arguments, "server_settings": {**self._arguments.get("server_settings", {}), **settings}}
        try:
            connection = await asyncpg.connect(timeout=ACQUIRE_SECONDS, command_timeout=COMMAND_SECONDS, **asked)
        except _PASSING:
            raise StoreUnavailable("the database cannot be reached; try again") from None
        try:
            connection.add_termination_listener(lambda _: ended.set())
            if self._setup is not None:
                await self._prepare(self._setup, connection)
            yield Session(connection)
        finally:
            await asyncio.shield(_end(connection))

    async def _prepare(self, setup: ConnectionSetup, connection: asyncpg.Connection) -> None:
        try:
            await setup(connection)
        except _PASSING:
            raise StoreUnavailable("the database cannot be reached; try again") from None

    @property
    def connections(self) -> tuple[int, int]:
        """How many are open, and how many of those nobody uses."""
        return (self._pool.get_size(), self._pool.get_idle_size()) if self._pool is not None else (0, 0)

    async def close(self) -> None:
        """Wait for lent connections (at most ten seconds) and close."""
        if self._pool is not None:
            try:
                await asyncio.wait_for(self._pool.close(), COMMAND_SECONDS)
            except TimeoutError:
                self._pool.terminate()
            self._pool = None

    async def _open(self) -> asyncpg.Pool:
        async with self._opening:
            if self._pool is None:
                self._pool = await asyncpg.create_pool(
                    min_size=0,
                    max_size=self._size,
                    timeout=ACQUIRE_SECONDS,
                    command_timeout=COMMAND_SECONDS,
                    init=self._setup,
                    reset=self._reset,
                    **self._arguments,
                )
            return self._pool

    async def _reset(self, connection: asyncpg.Connection) -> None:
        """What the pool does with a connection that is given back: back to the settings of the start-up packet, no locks."""
        pid = connection.get_server_pid()
        if pid in self._unchanged:
            self._unchanged.discard(pid)
        else:
            await connection.execute(connection.get_reset_query())


async def _give_back(pool: asyncpg.Pool, connection: Any) -> None:
    """Return the connection to the pool, or end it where that cannot be done. Never raises: what the request did is decided, and
    one that was committed must not be answered with an error because its connection broke afterwards."""
    try:
        await pool.release(connection, timeout=ACQUIRE_SECONDS)
    except Exception:  # noqa: BLE001  # of a connection that breaks meanwhile the driver raises whatever its state suggests
        with suppress(Exception):  # it may have ended already, which is all that is wanted
            connection.terminate()


async def _end(connection: Any) -> None:
    """Close a connection that was never the pool's; never raises."""
    try:
        await connection.close(timeout=ACQUIRE_SECONDS)
    except Exception:  # noqa: BLE001  # see above
        with suppress(Exception):
            connection.terminate()
