"""Connections over TLS to a real server: right and wrong CA, right and wrong name, no TLS at all, SCRAM; what a URL may say."""

from __future__ import annotations

import shutil
import ssl
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from overseer.core.errors import ConfigurationProblem, OverseerError, StoreUnavailable
from overseer.server.storage.connection import connect_arguments, login_connection, service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.migrator import migrate
from overseer.server.storage.service_session import session_setup
from tests.integration.storage.tls_server import PASSWORD, Authority, TlsServer, installed

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def tls_server() -> Iterator[TlsServer]:
    programs = installed()
    if programs is None:
        pytest.skip("no PostgreSQL with TLS below /usr/lib/postgresql: run scripts/postgresql_install.sh")
    home = Path(tempfile.mkdtemp(prefix="ovs-tls-"))
    authorities = Path(tempfile.mkdtemp(prefix="ovs-ca-"))
    server = TlsServer(home, Authority.make(authorities / "right.pem"), programs)
    server.start()
    yield server
    server.stop()
    shutil.rmtree(home, ignore_errors=True)
    shutil.rmtree(authorities)


async def test_verify_full_with_the_right_authority_and_name(tls_server: TlsServer) -> None:
    url = tls_server.url(sslmode="verify-full", sslrootcert=tls_server.authority.file)
    assert (await migrate(url)).restricted
    async with login_connection(url) as connection:
        row = await connection.fetchrow("SELECT ssl, version FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    assert row["ssl"]
    assert row["version"] in ("TLSv1.2", "TLSv1.3")
    database = Database(service_arguments(url), setup=session_setup, size=1)
    async with database.session() as session:
        assert await session._connection.fetchval("SELECT current_user::text") == "overseer_service"
    await database.close()
    assert tls_server.execute("SELECT rolpassword LIKE 'SCRAM-SHA-256$%' FROM pg_authid WHERE rolname = 'overseer'") == "t"


@pytest.mark.parametrize("mode", ["verify-full", "verify-ca", "require"])
async def test_a_wrong_authority_is_refused(tls_server: TlsServer, tmp_path: Path, mode: str) -> None:
    wrong = Authority.make(tmp_path / "wrong.pem")
    await _refused(tls_server.url(sslmode=mode, sslrootcert=wrong.file), "certificate does not verify")


async def test_the_system_trust_store_does_not_know_our_authority(tls_server: TlsServer) -> None:
    await _refused(tls_server.url(sslmode="verify-full"), "certificate does not verify")
    await _refused(tls_server.url(sslmode="verify-full", sslrootcert="system"), "certificate does not verify")


async def test_a_wrong_host_name_is_refused_by_verify_full_only(tls_server: TlsServer) -> None:
    root = tls_server.authority.file
    await _refused(tls_server.url(host="127.0.0.1", sslmode="verify-full", sslrootcert=root), "certificate does not verify")
    async with login_connection(tls_server.url(host="127.0.0.1", sslmode="verify-ca", sslrootcert=root)) as connection:
        assert await connection.fetchval("SELECT 1") == 1


async def test_the_pool_refuses_a_wrong_authority_too(tls_server: TlsServer, tmp_path: Path) -> None:
    url = tls_server.url(sslmode="verify-full", sslrootcert=Authority.make(tmp_path / "wrong.pem").file)
    database = Database(service_arguments(url), setup=session_setup, size=1)
    with pytest.raises(StoreUnavailable):
        async with database.session():
            pass
    await database.close()


async def test_a_server_that_wants_tls_refuses_plain_text(tls_server: TlsServer) -> None:
    await _refused(tls_server.url(sslmode="disable"), "refused the login")


async def test_a_server_without_tls_is_not_talked_to_in_plain_text(tls_server: TlsServer) -> None:
    url = tls_server.url(sslmode="verify-full", sslrootcert=tls_server.authority.file)
    tls_server.restart(tls=False)
    try:
        await _refused(url, "offers no TLS")
        async with login_connection(tls_server.url(sslmode="disable")) as connection:  # it does answer those who accept it
            assert await connection.fetchval("SELECT 1") == 1
    finally:
        tls_server.restart(tls=True)


async def test_wrong_password_database_and_address_are_told_apart(tls_server: TlsServer) -> None:
    secure = {"sslmode": "verify-full", "sslrootcert": tls_server.authority.file}
    await _refused(tls_server.url(password="guess", **secure), "refused the login")
    await _refused(tls_server.url(database="nowhere", **secure), "does not exist")
    with pytest.raises(StoreUnavailable):
        async with login_connection("postgresql://overseer@127.0.0.1:1/overseer?sslmode=disable"):
            pass


@pytest.mark.parametrize(
    "host", ["db.example", "10.1.2.3", "a.example,b.example:5433", "[2001:db8::1]:5433", "localhost,db.example"]
)
def test_another_machine_means_verify_full(host: str) -> None:
    context = connect_arguments(f"postgresql://overseer@{host}/overseer")["ssl"]
    assert isinstance(context, ssl.SSLContext)
    assert context.check_hostname
    assert context.verify_mode == ssl.CERT_REQUIRED
    for mode in ("prefer", "allow", "on", "VERIFY-FULL"):
        with pytest.raises(ConfigurationProblem, match="sslmode"):
            connect_arguments(f"postgresql://overseer@{host}/overseer?sslmode={mode}")


@pytest.mark.parametrize("url", ["postgresql://u@/d?host=/run/x", "postgresql://u@localhost/d", "postgresql://u@[::1]:5432/d"])
def test_this_machine_needs_no_tls(url: str) -> None:
    assert connect_arguments(url)["ssl"] is None


def test_one_of_several_servers_is_taken_that_accepts_writes() -> None:
    assert "target_session_attrs=read-write" in connect_arguments("postgresql://u@a,b/d")["dsn"]
    assert "target_session_attrs=any" in connect_arguments("postgresql://u@a,b/d?target_session_attrs=any")["dsn"]


@pytest.mark.parametrize(
    "url",
    [
        f"mysql://u:{PASSWORD}@h/d",
        f"postgresql://u:{PASSWORD}@h:port/d",
        f"postgresql://u:{PASSWORD}@h/d?sslmode=verify-full&sslrootcert=/nowhere",
        f"postgresql://u:{PASSWORD}@h/d?sslmode={PASSWORD}",
        f"postgresql://u:{PASSWORD}@[h/d",
        f"u:{PASSWORD}@h/d",
        f"postgresql://u:{PASSWORD}@h/d?{PASSWORD}",
    ],
)
async def test_a_bad_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigurationProblem) as caught:
        async with login_connection(url):
            pass
    assert PASSWORD not in str(caught.value)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value)).replace(url, "")  # pytest shows the argument itself


async def _refused(url: str, words: str) -> None:
    with pytest.raises(OverseerError, match=words) as caught:
        async with login_connection(url):
            pass
    assert isinstance(caught.value, ConfigurationProblem)
    assert PASSWORD not in str(caught.value)
