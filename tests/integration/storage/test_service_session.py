"""The sessions of the service: what its role can and cannot do, which settings hold, and that it writes into its own log only."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import asyncpg
import pytest

from overseer.core.errors import ConfigurationProblem
from overseer.server.storage.connection import SERVICE_SETTINGS, service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.log_identity import read_log_state
from overseer.server.storage.migrator import migrate
from overseer.server.storage.service_session import session_setup
from tests import postgres_server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

APPEND = "INSERT INTO audit (request_id, action, outcome) VALUES ('r', 'secret:read', 'allowed')"


@pytest.fixture
async def service(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    await migrate(database_url)
    connection = await asyncpg.connect(**service_arguments(database_url))
    await session_setup(connection)
    yield connection
    await connection.close()


async def test_the_role_appends_to_the_log_and_reads_it(service: asyncpg.Connection) -> None:
    assert await service.fetchval("SELECT current_user::text") == "overseer_service"
    await service.execute(APPEND)
    assert await service.fetchval("SELECT count(*) FROM audit WHERE incarnation = 1 AND xact IS NOT NULL") == 1


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE audit SET outcome = 'denied'",
        "DELETE FROM audit",
        "TRUNCATE audit",
        "INSERT INTO audit (request_id, action, outcome, xact) VALUES ('r', 'a', 'allowed', '5')",
        "INSERT INTO audit (request_id, action, outcome, incarnation) VALUES ('r', 'a', 'allowed', 7)",
        "INSERT INTO audit (request_id, action, outcome, at) VALUES ('r', 'a', 'allowed', '2001-01-01')",
        "INSERT INTO audit (request_id, action, outcome, id) OVERRIDING SYSTEM VALUE VALUES ('r', 'a', 'allowed', 1)",
        "UPDATE audit_text SET reason = ''",
        "INSERT INTO audit_incarnation SELECT 9, '1', 1, 1, 1, '1', now()",
        "DELETE FROM audit_incarnation",
        "UPDATE audit_checkpoint SET size = 1",
        "DELETE FROM audit_checkpoint",
        "INSERT INTO schema_migration (number, name, checksum) VALUES (9, 'x', repeat('0', 64))",
        "UPDATE secret_version SET ciphertext = '\\x00'",
        "DELETE FROM instance",
        "CREATE TABLE mine (id int)",
        "ALTER TABLE audit DISABLE TRIGGER ALL",
        "ALTER TABLE audit ALTER COLUMN incarnation SET DEFAULT 3",
        "DROP TABLE audit_text",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "CREATE ROLE mine",
        "COPY audit_text TO PROGRAM 'cat'",
    ],
)
async def test_the_role_cannot(service: asyncpg.Connection, statement: str) -> None:
    await service.execute(APPEND)
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await service.execute(statement)


@pytest.mark.parametrize("statement", ["UPDATE audit SET outcome = 'denied'", "DELETE FROM audit", "TRUNCATE audit"])
async def test_not_even_the_owner_changes_the_log_by_mistake(
    service: asyncpg.Connection, database_url: str, statement: str
) -> None:
    await service.execute(APPEND)
    owner = await asyncpg.connect(database_url)
    try:
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
            await owner.execute(statement)
    finally:
        await owner.close()


async def test_every_table_is_granted_on_purpose(service: asyncpg.Connection) -> None:
    """A new table is out of reach until it stands in service_role.sql: this names the forgotten one."""
    rows = await service.fetch("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'")
    assert len(rows) > 20
    for row in rows:
        assert await service.fetchval("SELECT has_table_privilege($1, 'SELECT')", row["relname"]), row["relname"]


async def test_settings_and_role_survive_the_pools_reset(database_url: str) -> None:
    await migrate(database_url)
    database = Database(service_arguments(database_url), setup=session_setup, size=1)
    process = set()
    for _ in range(2):
        async with database.session() as session:
            connection = session._connection
            process.add(await connection.fetchval("SELECT pg_backend_pid()"))
            assert await connection.fetchval("SELECT current_user::text") == "overseer_service"
            for name, value in SERVICE_SETTINGS.items():
                assert await connection.fetchval("SELECT current_setting($1)", name) == value
            await connection.execute("SET synchronous_commit = off; SET statement_timeout = 0; SET search_path = pg_temp")
    assert len(process) == 1  # the second turn saw the connection that the first had spoiled
    await database.close()


async def test_a_temporary_table_cannot_stand_in_for_ours(service: asyncpg.Connection) -> None:
    await service.execute("CREATE TEMPORARY TABLE token (hash bytea)")
    assert await service.fetchval("SELECT 'token'::regclass = 'public.token'::regclass")


async def test_settings_that_a_pooler_dropped_are_noticed(database_url: str) -> None:
    await migrate(database_url)
    connection = await asyncpg.connect(database_url)
    try:
        with pytest.raises(ConfigurationProblem, match="pooler"):
            await session_setup(connection)
    finally:
        await connection.close()


async def test_an_empty_database_is_refused_with_advice(database_url: str) -> None:
    database = Database(service_arguments(database_url), setup=session_setup, size=1)
    with pytest.raises(ConfigurationProblem, match="server init"):
        async with database.session():
            pass
    await database.close()


async def test_a_copied_database_is_not_written_until_it_is_adopted(database_url: str, postgres_home: Path) -> None:
    await migrate(database_url)
    copy = f"copy_{uuid.uuid4().hex[:10]}"
    postgres_server.execute(postgres_home, f"CREATE DATABASE {copy} TEMPLATE {database_url.partition('?')[0].rpartition('/')[2]}")
    url = postgres_server.url(postgres_home, copy)
    database = Database(service_arguments(url), setup=session_setup, size=1)
    try:
        for _ in range(2):
            with pytest.raises(ConfigurationProblem, match="copy or was restored"):
                async with database.session():
                    pass
        with pytest.raises(ConfigurationProblem, match="--adopt-log"):
            await migrate(url)
        await migrate(url, adopt_log=True)
        async with database.session() as session:
            await session._connection.execute(APPEND)
            assert await session._connection.fetchval("SELECT incarnation FROM audit") == 2
            state = await read_log_state(session._connection)
        assert (state.incarnation, state.seen) == (2, state.recorded)
        await migrate(url, adopt_log=True)  # nothing to adopt any more
        async with database.session() as session:
            assert (await read_log_state(session._connection)).incarnation == 2
    finally:
        await database.close()
        postgres_server.execute(postgres_home, f"DROP DATABASE {copy} WITH (FORCE)")


async def test_a_log_with_rows_and_no_incarnation_is_refused(database_url: str) -> None:
    await migrate(database_url)
    owner = await asyncpg.connect(database_url)
    await owner.execute(APPEND)
    await owner.execute("DELETE FROM audit_incarnation")
    await owner.close()
    with pytest.raises(ConfigurationProblem, match="no incarnation"):
        await migrate(database_url)


async def _session(url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(**service_arguments(url))
    await session_setup(connection)
    return connection


async def test_a_login_that_may_not_take_the_role_works_itself_and_says_so(own_cluster: Path) -> None:
    for name in ("first", "second"):
        postgres_server.execute(
            own_cluster, f"CREATE ROLE {name} LOGIN", f"CREATE DATABASE {name} OWNER {name} TEMPLATE template0"
        )
    url, other = (f"postgresql://{name}@/{name}?host={quote(str(own_cluster))}" for name in ("first", "second"))

    done = await migrate(url)
    assert not done.restricted
    assert "only triggers protect the audit log" in done.warnings[0]
    connection = await _session(url)
    assert await connection.fetchval("SELECT current_user::text") == "first"
    await connection.execute(APPEND)
    with pytest.raises(asyncpg.InsufficientPrivilegeError, match="append-only"):
        await connection.execute("DELETE FROM audit")
    await connection.close()

    postgres_server.execute(own_cluster, "CREATE ROLE overseer_service", "GRANT overseer_service TO first")
    assert (await migrate(url)).warnings == ()
    connection = await _session(url)
    assert await connection.fetchval("SELECT current_user::text") == "overseer_service"
    assert await connection.fetchval("SELECT count(*) FROM audit") == 1
    await connection.close()

    postgres_server.execute(own_cluster, "GRANT overseer_service TO second")
    assert "1 other database logins" in (await migrate(url)).warnings[0]
    assert (await migrate(other)).restricted


async def test_a_login_with_createrole_makes_and_takes_the_role(own_cluster: Path) -> None:
    postgres_server.execute(own_cluster, "CREATE ROLE maker LOGIN CREATEROLE", "CREATE DATABASE maker OWNER maker")
    url = f"postgresql://maker@/maker?host={quote(str(own_cluster))}"
    done = await migrate(url)
    assert (done.restricted, done.warnings) == (True, ())
    connection = await _session(url)
    assert await connection.fetchval("SELECT current_user::text") == "overseer_service"
    await connection.close()
    postgres_server.execute(own_cluster, "ALTER ROLE overseer_service SUPERUSER")
    with pytest.raises(ConfigurationProblem, match="can do more to the audit log"):
        await migrate(postgres_server.url(own_cluster, "maker"))


async def test_a_login_of_the_cluster_that_nobody_let_in_cannot_connect(own_cluster: Path) -> None:
    """It could read nothing, and still take the lock of the leader: nothing would be sealed, and no job would run."""
    postgres_server.execute(own_cluster, "CREATE ROLE neighbour LOGIN", "CREATE ROLE house LOGIN CREATEROLE")
    postgres_server.execute(own_cluster, "CREATE DATABASE house OWNER house")
    url, theirs = (f"postgresql://{name}@/house?host={quote(str(own_cluster))}" for name in ("house", "neighbour"))
    await (await asyncpg.connect(theirs)).close()
    assert (await migrate(url)).restricted
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await asyncpg.connect(theirs)
    await (await _session(url)).close()
    postgres_server.execute(own_cluster, "GRANT CONNECT ON DATABASE house TO neighbour")
    await migrate(url)
    await (await asyncpg.connect(theirs)).close()


async def test_many_databases_of_a_cluster_make_the_role_at_once(own_cluster: Path) -> None:
    names = [f"tenant{number}" for number in range(6)]
    postgres_server.execute(own_cluster, *(f"CREATE DATABASE {name} TEMPLATE template0" for name in names))
    done = await asyncio.gather(*(migrate(postgres_server.url(own_cluster, name)) for name in names))
    assert [run.restricted for run in done] == [True] * 6
