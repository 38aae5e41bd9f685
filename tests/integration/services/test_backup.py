"""Backups: consistent, complete, sealed; restored into an empty database or not at all."""

from __future__ import annotations

import dataclasses
import io
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

import asyncpg
import pytest

from overseer.core.errors import ConfigurationProblem, Conflict, DecryptionFailed, InvalidInput, KeyProblem
from overseer.core.permissions import Permission
from overseer.core.secret_value import SecretValue
from overseer.crypto.age_keys import Identity, Passphrase
from overseer.crypto.checkpoints import log_origin
from overseer.crypto.signatures import SigningKey
from overseer.crypto.signed_manifest import instance_key
from overseer.crypto.signed_notes import VerifierKey
from overseer.server.address_rules import AddressRule
from overseer.server.seals.root_key_text import write_root_key
from overseer.server.services.audit_sealer import AuditSealer
from overseer.server.services.backup_making import make_backup
from overseer.server.services.backup_restoring import Expected, restore_backup, verify_backup
from overseer.server.services.bootstrap import SealSetting
from overseer.server.services.rotation_service import RotationService
from overseer.server.storage.audit_log_rows import checkpoint_note, last_checkpoint, load_log_keys
from overseer.server.storage.backup_archive import ArchiveReader, ArchiveWriter, Head, Manifest, TableSum
from overseer.wire.rotations import RotationSet
from overseer.wire.secrets import SecretUpdate
from tests import postgres_server
from tests.integration.services.approving import Office
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime.now(UTC)
IDENTITY = Identity.generate()


@dataclass
class Taken:
    """A backup of a world in which a few things happened."""

    content: bytes
    values: dict[str, bytes]
    setting: SealSetting

    @property
    def source(self) -> io.BytesIO:
        return io.BytesIO(self.content)


async def backup_of(world: World, *keys: object) -> bytes:
    parts: list[bytes] = []

    async def write(data: bytes) -> None:
        parts.append(data)

    await make_backup(world.url, list(keys) or [IDENTITY.recipient], write, world.keys.keyring.signing_key)  # type: ignore[arg-type]
    return b"".join(parts)


@pytest.fixture
async def taken(world: World, tmp_path: Path) -> Taken:
    values = {}
    for number in range(5):
        made = await world.secret(f"key-{number}", f"value {number}\n\t\\N", **({"app": "shop"} if number % 2 else {}))
        values[made.id] = f"value {number}\n\t\\N".encode()
    changed = next(iter(values))
    await world.secrets.update(world.owner, uuid.UUID(changed), SecretUpdate(value="another"))
    values[changed] = b"another"
    await AuditSealer(world.database, world.keys).run()
    key_file = tmp_path / "root.key"
    key_file.touch(0o600)
    key_file.write_bytes(write_root_key(world.root_key).reveal())
    return Taken(await backup_of(world), values, SealSetting(f"file:{key_file}"))


@pytest.fixture
def empty_url(postgres_home: Path) -> Iterator[str]:
    name = f"restored_{uuid.uuid4().hex[:12]}"
    postgres_server.execute(postgres_home, f"CREATE DATABASE {name} TEMPLATE template0")
    yield postgres_server.url(postgres_home, name)
    postgres_server.execute(postgres_home, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def empty(empty_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_url)
    yield connection
    await connection.close()


async def is_empty(connection: asyncpg.Connection) -> bool:
    return bool(await connection.fetchval("SELECT count(*) = 0 FROM pg_class WHERE relnamespace = 'public'::regnamespace"))


async def test_every_row_of_every_table_is_restored(
    taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection
) -> None:
    done = await restore_backup(empty_url, taken.source, [IDENTITY], taken.setting, NOW, keep_credentials=True)
    assert done.instance_id == world.instance_id
    assert done.opened.log is not None
    assert done.opened.log.verified
    assert done.opened.log.sealed > 5
    assert done.opened.values == 6
    names = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    tables = [row[0] for row in await empty.fetch(names)]
    assert len(tables) > 40
    for table in tables:
        before = {row[0] for row in await world.sql(f"SELECT t::text FROM {table} t")}
        after = {row[0] for row in await empty.fetch(f"SELECT t::text FROM {table} t")}
        if table == "audit":
            assert before < after
            assert len(after - before) == 1
        elif table in ("audit_incarnation", "backup_resumption"):
            assert len(after - before) == 1
        elif table == "audit_text":
            assert before < after
        elif table == "schema_migration":
            assert len(before) == len(after)
        else:
            assert before == after, table


async def test_values_open_in_the_copy_and_the_log_goes_on(taken: Taken, empty_url: str, empty: asyncpg.Connection) -> None:
    await restore_backup(empty_url, taken.source, [IDENTITY], taken.setting, NOW)
    found = await empty.fetchrow("SELECT * FROM audit ORDER BY incarnation DESC, xact DESC, id DESC LIMIT 1")
    assert (found["action"], found["incarnation"]) == ("backup:restore", 2)
    assert found["code"].startswith("revoked:")
    highest = await empty.fetchval("SELECT max(id) FROM audit WHERE incarnation = 1")
    assert found["id"] > highest


async def test_credentials_end_unless_they_are_kept(
    taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection
) -> None:
    live = await world.sql("SELECT count(*) FROM token WHERE revoked_at IS NULL")
    assert live[0][0]
    done = await restore_backup(empty_url, taken.source, [IDENTITY], taken.setting, NOW)
    assert done.revoked.tokens == live[0][0]
    assert await empty.fetchval("SELECT count(*) FROM token WHERE revoked_at IS NULL") == 0


async def test_what_was_approved_activated_or_on_its_way_does_not_come_back(
    taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection
) -> None:
    office = await Office.open(world)
    await office.policy("reveal")
    asker = await world.service_account(frozenset({Permission.SECRET_LIST, Permission.SECRET_REVEAL}))
    guarded, waiting, rotated = ([*taken.values])[:3]
    approved = await office.approved(asker, "reveal", secret_id=uuid.UUID(guarded))
    asked = await office.ask(asker, "reveal", secret_id=uuid.UUID(waiting))
    emergency = "UPDATE binding SET active_seconds = 3600, available_until = now(), expires_at = now() + interval '1 hour'"
    await world.sql(f"{emergency} WHERE subject_id = (SELECT principal_id FROM approval LIMIT 1)")
    rotations = RotationService(world.gate, AddressRule())
    fields = {"kind": "redis", "url": "rediss://source.example", "users": ["app"], "admin": guarded}
    await world.sql("DELETE FROM approval_policy")
    await rotations.set_rotation(world.owner, uuid.UUID(rotated), RotationSet(rotator=fields))
    await rotations.run_rotation(world.owner, uuid.UUID(rotated))
    await world.sql("UPDATE secret_rotation_run SET state = 'applied', previous_version = 1, candidate_version = 1")
    content = io.BytesIO(await backup_of(world))
    await restore_backup(empty_url, content, [IDENTITY], taken.setting, NOW)
    states = {str(row["id"]): row["state"] for row in await empty.fetch("SELECT id, state FROM approval")}
    assert states == {approved.id: "withdrawn", asked.id: "withdrawn"}
    on = "SELECT count(*) FROM binding WHERE active_seconds IS NOT NULL AND expires_at > now()"
    assert (await world.sql(on))[0][0] == 1
    assert await empty.fetchval(on) == 0
    assert await empty.fetchval("SELECT paused FROM secret_rotation WHERE rotator IS NOT NULL") is True
    [run] = await empty.fetch("SELECT state, error, finished_at IS NOT NULL AS ended FROM secret_rotation_run")
    assert (run["state"], run["ended"]) == ("failed", True)
    assert "restored" in run["error"]


async def test_a_verification_leaves_nothing_behind(taken: Taken, empty_url: str, empty: asyncpg.Connection) -> None:
    opened = await verify_backup(empty_url, taken.source, [IDENTITY], taken.setting)
    assert (opened.values, opened.older_by) == (6, 0)
    assert await is_empty(empty)


async def test_what_is_damaged_changes_nothing(taken: Taken, empty_url: str, empty: asyncpg.Connection) -> None:
    size = len(taken.content)
    for cut in (0, 10, 300, size // 2, size - 1):
        with pytest.raises((DecryptionFailed, InvalidInput, KeyProblem)):
            await restore_backup(empty_url, io.BytesIO(taken.content[:cut]), [IDENTITY], taken.setting, NOW)
        assert await is_empty(empty)
    for place in (5, 40, 150, 400, size // 2, size - 5):
        flipped = bytearray(taken.content)
        flipped[place] ^= 4
        with pytest.raises((DecryptionFailed, InvalidInput, KeyProblem)):
            await restore_backup(empty_url, io.BytesIO(bytes(flipped)), [IDENTITY], taken.setting, NOW)
        assert await is_empty(empty)


async def test_wrong_keys_change_nothing(
    taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection, tmp_path: Path
) -> None:
    with pytest.raises(KeyProblem, match="recipients"):
        await restore_backup(empty_url, taken.source, [Identity.generate()], taken.setting, NOW)
    locked = await backup_of(world, Passphrase(SecretValue("correct horse"), work=8))
    with pytest.raises(KeyProblem, match="passphrase"):
        await restore_backup(empty_url, io.BytesIO(locked), [Passphrase(SecretValue("wrong"))], taken.setting, NOW)
    other = tmp_path / "other.key"
    other.touch(0o600)
    other.write_text("overseer-root-key-v1\n" + "ab" * 32 + "\n")
    with pytest.raises(KeyProblem):
        await restore_backup(empty_url, taken.source, [IDENTITY], SealSetting(f"file:{other}"), NOW)
    assert await is_empty(empty)
    await restore_backup(empty_url, io.BytesIO(locked), [Passphrase(SecretValue("correct horse"))], taken.setting, NOW)


async def test_a_database_that_holds_anything_is_refused(
    taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection
) -> None:
    await empty.execute("CREATE TABLE mine ()")
    with pytest.raises(Conflict, match="not empty"):
        await restore_backup(empty_url, taken.source, [IDENTITY], taken.setting, NOW)
    with pytest.raises(Conflict, match="not empty"):
        await restore_backup(world.url, taken.source, [IDENTITY], taken.setting, NOW)


async def test_a_changed_value_inside_is_named(taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection) -> None:
    await world.sql(
        "UPDATE secret_version SET ciphertext = set_byte(ciphertext, 3, 255 - get_byte(ciphertext, 3)) WHERE version = 2"
    )
    changed = (await world.sql("SELECT secret_id FROM secret_version WHERE version = 2"))[0][0]
    with pytest.raises(DecryptionFailed, match=str(changed)):
        await verify_backup(empty_url, io.BytesIO(await backup_of(world)), [IDENTITY], taken.setting)
    assert await is_empty(empty)


async def test_a_changed_audit_row_inside_is_reported(taken: Taken, world: World, empty_url: str) -> None:
    async with world.connection() as connection:
        await connection.execute("SET session_replication_role = replica")  # past the audit log's own guard
        await connection.execute("UPDATE audit SET actor_name = 'nobody' WHERE action = 'secret:update'")
    opened = await verify_backup(empty_url, io.BytesIO(await backup_of(world)), [IDENTITY], taken.setting)
    assert opened.log is not None
    assert not opened.log.verified


async def test_older_than_a_checkpoint_alarms(taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection) -> None:
    for number in range(3):
        await world.secret(f"later-{number}")
    await AuditSealer(world.database, world.keys).run()
    note = await newest_note(world)
    done = await restore_backup(empty_url, taken.source, [IDENTITY], taken.setting, NOW, expected=Expected(checkpoint=note))
    assert done.opened.older_by >= 3
    rows = await empty.fetch("SELECT outcome, code FROM audit WHERE action = 'alarm:backup_old'")
    assert [tuple(row) for row in rows] == [("failed", f"older_by:{done.opened.older_by}")]


async def test_a_checkpoint_of_the_same_log_fits(taken: Taken, world: World, empty_url: str) -> None:
    expected = Expected(checkpoint=await newest_note(world))
    opened = await verify_backup(empty_url, taken.source, [IDENTITY], taken.setting, expected)
    assert opened.older_by == 0
    assert opened.log is not None
    assert opened.log.verified


async def newest_note(world: World) -> str:
    async with world.database.session() as session:
        last = await last_checkpoint(session, log_origin(world.instance_id))
        assert last is not None
        return checkpoint_note(last, await load_log_keys(session))


def forged(
    taken: Taken, signer: SigningKey | None, changed: Mapping[str, bytes] = MappingProxyType({}), head: Head | None = None
) -> bytes:
    """What somebody makes who has a copy of the database and the recipient's public key: rows of his own in each table of
    ``changed`` behind those that are there, all sums right."""
    reader = ArchiveReader(taken.source, [IDENTITY])
    tables = {table.name: b"".join(reader.parts(table.name)) for table in reader.head.tables}
    manifest, sums = reader.manifest(), {}
    writer = ArchiveWriter([IDENTITY.recipient], signer)
    content = writer.head(head or reader.head)
    for name, data in tables.items():
        rows = data + changed.get(name, b"")
        sums[name] = TableSum()
        sums[name].take(rows)
        sums[name].close(manifest.tables[name].rows + (name in changed))
        if rows:
            content += writer.part(name, 1, rows)
    return content + writer.finish(Manifest(sums, manifest.log_size))


def row_of_mine(taken: Taken) -> dict[str, bytes]:
    """A row more that neither a value nor the log would betray."""
    head = ArchiveReader(taken.source, [IDENTITY]).head
    [plan] = [one for one in head.tables if one.name == "plan"]
    values = {"digest": "ab" * 32, "content": '{"mine": true}', "created_at": "2026-01-01 00:00:00+00"}
    return {"plan": ("\t".join(values.get(name, "\\N") for name in plan.columns) + "\n").encode()}


async def test_who_has_the_database_and_the_public_key_cannot_make_a_backup(
    taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection
) -> None:
    mine, key = row_of_mine(taken), SigningKey(b"\x07" * 32)
    for content, problem, expected in (
        (forged(taken, None, mine), "not signed", Expected()),
        (forged(taken, key, mine), "not signed by", Expected()),
        (forged(taken, key, mine), "not signed by", Expected(unsigned=True)),
        (forged(taken, key), "not signed by", Expected(signed_by=signer_of(world))),
        (forged(taken, None), "not signed", Expected(signed_by=signer_of(world), unsigned=True)),
    ):
        with pytest.raises((InvalidInput, DecryptionFailed), match=problem):
            await restore_backup(empty_url, io.BytesIO(content), [IDENTITY], taken.setting, NOW, expected=expected)
        assert await is_empty(empty)
    unsigned = io.BytesIO(forged(taken, None, mine))  # the rows are such that only the signature was in their way
    done = await restore_backup(empty_url, unsigned, [IDENTITY], taken.setting, NOW, expected=Expected(unsigned=True))
    assert done.opened.signer is None
    assert await empty.fetchval("SELECT count(*) FROM plan WHERE digest = $1", "ab" * 32) == 1
    assert await empty.fetchval("SELECT count(*) FROM audit_text t WHERE t::text LIKE '%rows, not signed%'") == 1


async def test_a_signature_is_of_this_backup_alone(taken: Taken, world: World, empty_url: str, empty: asyncpg.Connection) -> None:
    """The true note of one backup in another: the archive is put together again around it."""
    other = dataclasses.replace(taken, content=await backup_of(world))
    reader = ArchiveReader(other.source, [IDENTITY])
    for table in reader.head.tables:
        list(reader.parts(table.name))
    reader.manifest()
    reader.verify(signer_of(world))
    reader._signed["manifest.json"] += b" "
    with pytest.raises(DecryptionFailed, match="another backup"):
        reader.verify(signer_of(world))
    opened = await verify_backup(empty_url, taken.source, [IDENTITY], taken.setting, Expected(signed_by=signer_of(world)))
    assert opened.signer == signer_of(world)
    strange = instance_key(world.instance_id, SigningKey(b"\x07" * 32).public)
    with pytest.raises(DecryptionFailed, match="not signed by"):
        await verify_backup(empty_url, taken.source, [IDENTITY], taken.setting, Expected(signed_by=strange))


def signer_of(world: World) -> VerifierKey:
    return instance_key(world.instance_id, world.keys.keyring.signing_key.public)


async def test_a_backup_of_a_newer_release_is_refused(taken: Taken, empty_url: str, empty: asyncpg.Connection) -> None:
    head = ArchiveReader(taken.source, [IDENTITY]).head
    newer = dataclasses.replace(head, migrations=(*head.migrations, (len(head.migrations) + 1, "later", "0" * 64)))
    content = forged(taken, None, head=newer)
    with pytest.raises(ConfigurationProblem, match="another release"):
        await restore_backup(empty_url, io.BytesIO(content), [IDENTITY], taken.setting, NOW)
    assert await is_empty(empty)


async def test_a_backup_is_one_moment_whatever_is_written_meanwhile(world: World, taken: Taken, empty_url: str) -> None:
    """A secret and its version are written while the tables are read: both are in it, or neither."""
    written = False
    parts: list[bytes] = []

    async def write(data: bytes) -> None:
        nonlocal written
        parts.append(data)
        if not written:
            written = True
            await world.secret("meanwhile")

    made = await make_backup(world.url, [IDENTITY.recipient], write, world.keys.keyring.signing_key)
    assert written
    opened = await verify_backup(empty_url, io.BytesIO(b"".join(parts)), [IDENTITY], taken.setting)
    assert opened.values == 6
    assert opened.rows == made.rows
    assert made.size == sum(map(len, parts))


async def test_nothing_of_it_can_be_read_without_a_key(taken: Taken, world: World) -> None:
    for word in (b"key-0", b"shop", b"secret_version", b"value 0", str(world.instance_id).encode()):
        assert word not in taken.content


async def test_a_large_table_is_read_in_parts_with_bounded_memory(world: World, taken: Taken, empty_url: str) -> None:
    await world.sql(
        "INSERT INTO plan (digest, content) SELECT encode(sha256(n::text::bytea), 'hex'), "
        "jsonb_build_object('x', repeat(md5(n::text), 40)) FROM generate_series(1, 5000) n"
    )
    largest = 0

    async def write(data: bytes) -> None:
        nonlocal largest
        largest = max(largest, len(data))
        parts.append(data)

    parts: list[bytes] = []
    await make_backup(world.url, [IDENTITY.recipient], write, world.keys.keyring.signing_key)
    assert largest < 4 * 1024 * 1024
    reader = ArchiveReader(io.BytesIO(b"".join(parts)), [IDENTITY])
    counts = {table.name: len(list(reader.parts(table.name))) for table in reader.head.tables}
    assert counts["plan"] > 5
    assert (await verify_backup(empty_url, io.BytesIO(b"".join(parts)), [IDENTITY], taken.setting)).rows > 5000
