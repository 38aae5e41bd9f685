"""A connection that breaks while it is given back: the request's outcome stays, and the pool goes on."""

from __future__ import annotations

import asyncpg
import pytest

from overseer.core.errors import StoreUnavailable
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
END_OTHERS = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'overseer' AND datname = $1"


async def test_a_committed_request_succeeds_whatever_its_connection_does_afterwards(database_url: str) -> None:
    database = Database(service_arguments(database_url), size=1)
    name = database_url.partition("?")[0].rpartition("/")[2]
    operator = await asyncpg.connect(database_url)
    try:
        for _ in range(10):
            async with database.session() as session:
                async with session.transaction():
                    assert await session.fetchval("database_clock")
                assert await operator.fetchval(END_OTHERS, name) == 1
                with pytest.raises(StoreUnavailable):  # the driver knows of it before the connection is given back
                    await session.fetchval("database_clock")
    finally:
        await operator.close()
        await database.close()


@pytest.mark.parametrize("error", [asyncpg.InternalClientError("free holder"), asyncpg.InterfaceError("released"), OSError()])
async def test_what_the_driver_says_is_not_the_requests_error(
    database_url: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise error

    database = Database(service_arguments(database_url), size=1)
    try:
        with monkeypatch.context() as patch:
            patch.setattr(asyncpg.pool.Pool, "release", refuse)
            async with database.session() as session:
                assert await session.fetchval("database_clock")
        async with database.session() as session:  # of the size 1: the place of the broken one is free again
            assert await session.fetchval("database_clock")
    finally:
        await database.close()
