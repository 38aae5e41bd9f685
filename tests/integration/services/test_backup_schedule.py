"""The leader's backups: due ones, asked ones, failed and interrupted ones, old ones; into a directory and into a bucket."""

from __future__ import annotations

import dataclasses
import io
import os
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import botocore.session
import httpx
import pytest

from overseer.core.errors import Conflict, Denied, Unavailable
from overseer.core.permissions import Permission
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity
from overseer.server.backup_settings import BackupTarget
from overseer.server.seals.root_key_text import write_root_key
from overseer.server.services import backup_schedule
from overseer.server.services.backup_restoring import restore_backup
from overseer.server.services.backup_schedule import BackupSchedule
from overseer.server.services.backup_service import BackupService
from overseer.server.services.bootstrap import SealSetting
from overseer.server.services.database_findings import backup_finding
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.storage import backup_places
from overseer.server.storage.backup_archive import ArchiveReader
from overseer.server.storage.backup_places import open_backup
from overseer.server.storage.backup_rows import ask_for_backup, backup_state, resume_schedules, take_over_backups
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.service_session import session_setup
from overseer.wire.backups import BackupCreate
from tests import postgres_server
from tests.integration.services.world import Looking, World
from tests.ports import free_port

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

IDENTITY = Identity.generate()
KEY = str(IDENTITY.recipient)
NIGHTLY = BackupCreate(target="nightly")


def schedule(world: World, **targets: BackupTarget) -> BackupSchedule:
    return BackupSchedule(world.gate, world.keys, world.url, targets)


def service(world: World, **targets: BackupTarget) -> BackupService:
    return BackupService(world.gate, world.idempotency, targets)


async def runs(world: World) -> list[tuple[str, str, str]]:
    rows = await world.sql("SELECT reason, state, error FROM backup_run ORDER BY asked_at, id")
    return [tuple(row) for row in rows]


def listed(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


@pytest.mark.parametrize("name", ["../root.key", "root.key", "absolute", "overseer-x/../../root.key", ""])
async def test_retention_removes_nothing_but_backups_whatever_the_database_says(
    world: World, tmp_path: Path, name: str
) -> None:
    places = tmp_path / "backups"
    places.mkdir()
    keys = [tmp_path / "root.key", places / "root.key"]
    for key in keys:
        key.write_text("the key")
    target = BackupTarget(to=str(places), recipients=(KEY,), keep_last=1)
    await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=target).run()
    await world.sql("UPDATE backup_run SET file = $1", str(keys[0]) if name == "absolute" else name)
    await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=target).run()
    assert [key.read_text() for key in keys] == ["the key"] * 2
    assert [state for _, state, _ in await runs(world)] == ["succeeded", "succeeded"]


async def test_a_schedule_is_followed_once_and_again_when_it_comes_round(world: World, tmp_path: Path) -> None:
    jobs = schedule(world, nightly=BackupTarget(to=str(tmp_path), recipients=(KEY,), schedule="15 3 * * *"))
    await jobs.run()
    await jobs.run()
    assert await runs(world) == [("schedule", "succeeded", "")]
    [file] = listed(tmp_path)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with open_backup(str(file)) as source:
        assert ArchiveReader(source, [IDENTITY]).head.instance_id == str(world.instance_id)
    await world.sql("UPDATE backup_run SET asked_at = asked_at - interval '1 day'")
    await jobs.run()
    assert [state for _, state, _ in await runs(world)] == ["succeeded", "succeeded"]
    rows = [row for row in await world.audit() if row["actor_name"] == "server"]
    audit = [(row["action"], row["outcome"], row["resource_name"]) for row in rows]
    assert audit == [("backup:made", "allowed", "nightly")] * 2


async def test_old_files_go_after_a_new_one_is_there(world: World, tmp_path: Path) -> None:
    foreign = tmp_path / "somebody-elses.age"
    foreign.write_text("x")
    jobs = schedule(world, nightly=BackupTarget(to=str(tmp_path), recipients=(KEY,), keep_last=2))
    asks = service(world, nightly=BackupTarget(to=str(tmp_path), recipients=(KEY,)))
    for _ in range(4):
        await asks.create_backup(world.owner, NIGHTLY)
        await jobs.run()
    assert foreign.exists()
    views = (await asks.list_backups(world.owner)).items
    assert [one.removed_at is None for one in views] == [True, True, False, False]
    assert {path.name for path in listed(tmp_path)} == {views[0].file, views[1].file, foreign.name}


async def test_whoever_asks_for_many_displaces_none_of_the_schedule(world: World, tmp_path: Path) -> None:
    target = BackupTarget(to=str(tmp_path), recipients=(KEY,), schedule="15 3 * * *", keep_last=1, keep_daily=1)
    await schedule(world, nightly=target).run()
    [nightly] = listed(tmp_path)
    for _ in range(3):
        await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
        await schedule(world, nightly=target).run()
    assert nightly in listed(tmp_path)
    assert len(listed(tmp_path)) == 2
    await world.sql("UPDATE backup_run SET asked_at = asked_at - interval '1 day'")
    await schedule(world, nightly=target).run()
    assert nightly not in listed(tmp_path)
    assert len(listed(tmp_path)) == 2


@pytest.mark.parametrize("strange", ["../root.key", "overseer-000000000000-20200101T000000Z-00000000.age"])
async def test_one_name_that_was_tampered_with_stops_nothing(world: World, tmp_path: Path, strange: str) -> None:
    target = BackupTarget(to=str(tmp_path), recipients=(KEY,), keep_last=5)
    for _ in range(3):
        await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
        await schedule(world, nightly=target).run()
    first, second, third = (row[0] for row in await world.sql("SELECT file FROM backup_run ORDER BY id"))
    other = tmp_path / "overseer-000000000000-20200101T000000Z-00000000.age"
    other.write_text("of another instance")
    await world.sql("UPDATE backup_run SET file = $1 WHERE file = $2", strange, second)
    target = dataclasses.replace(target, keep_last=1)
    await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=target).run()
    left = {path.name for path in listed(tmp_path)}
    assert {first, third}.isdisjoint(left)
    assert {second, other.name} < left
    assert len(left) == 3


async def test_what_cannot_be_removed_does_not_stop_the_next_one(world: World, tmp_path: Path) -> None:
    target = BackupTarget(to=str(tmp_path), recipients=(KEY,), keep_last=5)
    for _ in range(3):
        await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
        await schedule(world, nightly=target).run()
    second = (await world.sql("SELECT file FROM backup_run ORDER BY id"))[1][0]
    (tmp_path / second).unlink()
    (tmp_path / second).mkdir()
    target = dataclasses.replace(target, keep_last=1)
    await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=target).run()
    assert len(listed(tmp_path)) == 2
    assert (tmp_path / second).is_dir()


@asynccontextmanager
async def restored(world: World, postgres_home: Path, content: bytes, tmp_path: Path, *, keep: bool) -> AsyncIterator[World]:
    """The world in another database, as after a restore there."""
    name = f"restored_{uuid.uuid4().hex[:12]}"
    postgres_server.execute(postgres_home, f"CREATE DATABASE {name} TEMPLATE template0")
    url = postgres_server.url(postgres_home, name)
    key_file = tmp_path / f"{name}.key"
    key_file.touch(0o600)
    key_file.write_bytes(write_root_key(world.root_key).reveal())
    setting = SealSetting(f"file:{key_file}")
    await restore_backup(url, io.BytesIO(content), [IDENTITY], setting, datetime.now(UTC), keep_credentials=keep)
    database = Database(service_arguments(url), setup=session_setup, size=2)
    gate = Gate(database)
    keys = KeyService(database, gate)
    await keys.open(world.root_key)
    looking = Looking(url)
    try:
        yield dataclasses.replace(world, url=url, looking=looking, database=database, gate=gate, keys=keys)
    finally:
        await looking.close()
        await database.close()
        postgres_server.execute(postgres_home, f"DROP DATABASE {name} WITH (FORCE)")


async def test_a_restored_copy_leaves_the_original_s_backups_alone(world: World, postgres_home: Path, tmp_path: Path) -> None:
    places = tmp_path / "places"
    places.mkdir()
    target = BackupTarget(to=str(places), recipients=(KEY,), schedule="* * * * *", keep_last=2)
    for _ in range(3):
        await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
        await schedule(world, nightly=target).run()
    original = {path.name for path in listed(places)}
    assert len(original) == 2
    newest = (await world.sql("SELECT file FROM backup_run ORDER BY finished_at DESC LIMIT 1"))[0][0]
    content = (places / newest).read_bytes()
    async with restored(world, postgres_home, content, tmp_path, keep=False) as twin:
        jobs = schedule(twin, nightly=dataclasses.replace(target, keep_last=1))
        owner = (await twin.sql("SELECT id FROM principal WHERE name = 'owner'"))[0][0]
        await twin.sql("UPDATE backup_run SET asked_at = asked_at - interval '1 day'")
        await jobs.run()
        assert {path.name for path in listed(places)} == original  # no schedule is followed
        async with twin.database.session() as session:
            found = backup_finding(await backup_state(session))
        assert (found.level, "overseer backup resume" in found.advice) == ("problem", True)
        for _ in range(2):  # whoever asks gets one, and what the twin made itself goes by its own rule
            async with twin.gate.own_work() as (session, _):
                await ask_for_backup(session, uuid.uuid4(), "nightly", "asked", owner)
            await jobs.run()
        after = {path.name for path in listed(places)}
        assert original < after
        assert len(after) == 3
        async with twin.gate.own_work() as (session, _):
            await resume_schedules(session)
        await jobs.run()
        assert {path.name for path in listed(places)} > original
        assert [row[0] for row in await twin.sql("SELECT reason FROM backup_run ORDER BY asked_at DESC LIMIT 1")] == ["schedule"]
        async with twin.gate.own_work() as (session, _):
            assert await take_over_backups(session) == 2
            await ask_for_backup(session, uuid.uuid4(), "nightly", "asked", owner)
        await jobs.run()
        assert original & {path.name for path in listed(places)} == {newest}  # nobody is told of the one it was restored from


async def test_a_move_goes_on_with_its_schedules(world: World, postgres_home: Path, tmp_path: Path) -> None:
    places = tmp_path / "places"
    places.mkdir()
    target = BackupTarget(to=str(places), recipients=(KEY,), schedule="* * * * *", keep_last=1)
    await schedule(world, nightly=target).run()
    [made] = listed(places)
    async with restored(world, postgres_home, made.read_bytes(), tmp_path, keep=True) as moved:
        await moved.sql("UPDATE backup_run SET asked_at = asked_at - interval '1 day'")
        await schedule(moved, nightly=target).run()
        assert made in listed(places)
        assert len(listed(places)) == 2


async def test_a_failure_is_an_alarm_and_leaves_no_file(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = BackupTarget(to=str(tmp_path / "not-there"), recipients=(KEY,))
    asks = service(world, nightly=target)
    await asks.create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=target).run()
    said = f"configuration_problem: backups cannot be written to {tmp_path / 'not-there'}: no such file or directory"
    assert await runs(world) == [("asked", "failed", said)]

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_places, "_write_all", full)
    target = BackupTarget(to=str(tmp_path), recipients=(KEY,))
    await asks.create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=target).run()
    said = f"not_ready: backups cannot be written to {tmp_path} now: no space left on device"
    assert (await runs(world))[1] == ("asked", "failed", said)
    assert listed(tmp_path) == []
    alarms = [row for row in await world.audit() if row["action"] == "alarm:backup_failed"]
    assert [(row["outcome"], row["resource_name"], row["code"]) for row in alarms] == [
        ("failed", "nightly", "configuration_problem"),
        ("failed", "nightly", "not_ready"),
    ]
    async with world.database.session() as session:
        assert backup_finding(await backup_state(session)).level == "warning"  # never one that succeeded


async def test_one_that_was_interrupted_is_found_by_the_next_leader(world: World, tmp_path: Path) -> None:
    target = BackupTarget(to=str(tmp_path), recipients=(KEY,))
    await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
    await world.sql("UPDATE backup_run SET state = 'running'")
    await schedule(world, nightly=target).run()
    assert await runs(world) == [("asked", "failed", "interrupted")]
    assert any(row["action"] == "alarm:backup_failed" and row["code"] == "interrupted" for row in await world.audit())


async def test_who_may_ask_and_who_may_look(world: World, tmp_path: Path) -> None:
    asks = service(world, nightly=BackupTarget(to=str(tmp_path), recipients=(KEY,)))
    operator = await world.service_account(frozenset({Permission.BACKUP_CREATE}))
    view = await asks.create_backup(operator, NIGHTLY)
    assert (view.state, view.reason, view.file) == ("waiting", "asked", "")
    with pytest.raises(Conflict, match="under way"):
        await asks.create_backup(operator, NIGHTLY)
    with pytest.raises(Denied):
        await asks.list_backups(operator)
    with pytest.raises(Unavailable):
        await asks.create_backup(operator, BackupCreate(target="elsewhere"))
    with pytest.raises(Denied):
        await asks.create_backup(await world.service_account("auditor"), NIGHTLY)


async def test_where_backups_go_is_shown_and_who_can_open_them_but_no_passphrase(world: World, tmp_path: Path) -> None:
    words = SecretValue("canary-of-a-passphrase")
    targets = service(
        world,
        nightly=BackupTarget(to=str(tmp_path), recipients=(KEY,), schedule="15 3 * * *", keep_last=3, keep_weekly=2),
        by_hand=BackupTarget(to="s3://bucket/x", passphrase=words),
    )
    by_hand, nightly = (await targets.list_targets(await world.service_account(frozenset({Permission.BACKUP_LIST})))).items
    assert (by_hand.name, by_hand.schedule, by_hand.next_at, by_hand.recipients) == ("by_hand", None, None, [])
    assert (nightly.to, nightly.recipients, nightly.keep_last, nightly.keep_daily) == (str(tmp_path), [KEY], 3, 0)
    assert nightly.next_at is not None
    assert (nightly.next_at.hour, nightly.next_at.minute) == (3, 15)
    with pytest.raises(Denied):
        await targets.list_targets(await world.service_account(frozenset({Permission.BACKUP_CREATE})))


async def test_doctor_says_how_backups_stand(world: World, tmp_path: Path) -> None:
    target = BackupTarget(to=str(tmp_path), recipients=(KEY,))
    failed = "INSERT INTO backup_run (id, target, reason, state, finished_at) "
    failed += "VALUES (gen_random_uuid(), 'n', 'asked', 'failed', now())"
    levels = []
    async with world.database.session() as session:
        levels.append(backup_finding(await backup_state(session)).level)
    await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=target).run()
    for statement in (
        "SELECT 1",
        "UPDATE backup_run SET finished_at = now() - interval '8 days'",
        failed,
    ):
        await world.sql(statement)
        async with world.database.session() as session:
            levels.append(backup_finding(await backup_state(session)).level)
    assert levels == ["warning", "ok", "warning", "problem"]


@pytest.fixture(scope="module")
def s3_url() -> Iterator[str]:
    """moto's server as a process of its own on loopback."""
    port = free_port()
    command = [sys.executable, "-P", "-c", "from moto.server import main; import sys; main(sys.argv[1:])", "-H", "127.0.0.1"]
    process = subprocess.Popen([*command, "-p", str(port)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                httpx.get(url, timeout=30)
                break
            except httpx.TransportError:
                assert process.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        process.wait(20)


async def test_a_bucket_gets_whole_backups_only(
    world: World, s3_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-secret")
    client = botocore.session.Session().create_client("s3", region_name="us-east-1", endpoint_url=s3_url)
    bucket = f"backups-{os.getpid()}-{time.monotonic_ns()}"
    client.create_bucket(Bucket=bucket)
    target = BackupTarget(to=f"s3://{bucket}/overseer", recipients=(KEY,), region="us-east-1", endpoint=s3_url, keep_last=1)
    monkeypatch.setattr(backup_places, "PART", 6 * 1024 * 1024)
    await world.sql(
        "INSERT INTO plan (digest, content) SELECT encode(sha256(n::text::bytea), 'hex'), jsonb_build_object('x', "
        "(SELECT string_agg(encode(sha256((n * 1000 + m)::text::bytea), 'hex'), '') FROM generate_series(1, 120) m)) "
        "FROM generate_series(1, 3000) n"
    )
    for _ in range(2):
        await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
        await schedule(world, nightly=target).run()
    assert [state for _, state, _ in await runs(world)] == ["succeeded", "succeeded"], await runs(world)
    [found] = client.list_objects_v2(Bucket=bucket)["Contents"]
    assert found["Size"] > 7 * 1024 * 1024  # more than one part
    with open_backup(f"s3://{bucket}/{found['Key']}", "us-east-1", s3_url) as source:
        reader = ArchiveReader(source, [IDENTITY])
        rows = sum(len(list(reader.parts(table.name))) for table in reader.head.tables)
        assert rows
        assert reader.manifest().tables["plan"].rows == 3000
    missing = BackupTarget(to=f"s3://{bucket}-not-there", recipients=(KEY,), region="us-east-1", endpoint=s3_url)
    await service(world, nightly=missing).create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=missing).run()
    assert (await runs(world))[2][2].startswith("configuration_problem: the bucket ")

    async def breaks(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(backup_schedule, "make_backup", breaks)
    await service(world, nightly=target).create_backup(world.owner, NIGHTLY)
    await schedule(world, nightly=target).run()
    assert (await runs(world))[3][1:] == ("failed", "runtimeerror")
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)
    assert len(client.list_objects_v2(Bucket=bucket)["Contents"]) == 1
