"""Rotation of the key-encryption key: everything re-wrapped, nothing twice, nothing lost, whoever is killed or late."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from overseer.core.errors import Conflict, Denied, KeyProblem, NotReady, StoreUnavailable, Unavailable
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import ValueContext
from overseer.crypto.keys import RootKey
from overseer.crypto.wrap_budget import BLOCK
from overseer.server.services.bundle_service import BundleService
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.key_limits import KeyLimits
from overseer.server.services.key_rotation import KeyRotation
from overseer.server.services.key_service import FRESH_SECONDS, STALE_SECONDS, KeyService
from overseer.server.storage import wrapped_tables
from overseer.wire.deployments import BundleCreate, BundleFile
from overseer.wire.secrets import SecretUpdate, ValueRequest
from tests.integration.services.world import World, text, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

FLIP_A_WRAP = "UPDATE secret_version SET wrapped_dek = set_byte(wrapped_dek, 20, get_byte(wrapped_dek, 20) # 1)"
#: The last step of a batch fails where more rows are done than these.
FAIL_AFTER = """CREATE FUNCTION fail_in_batch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    IF NEW.rewrapped > {done} THEN RAISE EXCEPTION 'the end' USING ERRCODE = 'admin_shutdown'; END IF;
    RETURN NEW;
END $$"""
FAIL = "CREATE TRIGGER fail_in_batch BEFORE UPDATE OF rewrapped ON key_rotation FOR EACH ROW EXECUTE FUNCTION fail_in_batch()"
TABLES = tuple(table.name for table in wrapped_tables.WRAPPED_TABLES)


@pytest.fixture
def rotation(world: World) -> KeyRotation:
    """Small batches, so that a small store needs many."""
    return KeyRotation(world.gate, world.keys, world.idempotency, batch=4)


async def replica(world: World) -> KeyService:
    """The keys of another process."""
    keys = KeyService(world.database, world.gate)
    await keys.open(world.root_key)
    return keys


async def filled(world: World, count: int = 10) -> dict[UUID, str]:
    """Secrets with two versions each and a bundle; what the active versions hold."""
    values = {}
    for number in range(count):
        made = await world.secret(f"S{number}", f"first {number}")
        await world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value=f"value {number}"))
        values[UUID(made.id)] = f"value {number}"
    files = [BundleFile(path="compose.yaml", content="services: {a: {image: x}}\n")]
    await BundleService(world.gate, world.keys, world.idempotency).create_bundle(world.owner, "shop", BundleCreate(files=files))
    return values


async def settle(world: World) -> None:
    """As if the rotation had begun long ago: no process can be late any more."""
    await world.sql("UPDATE key_rotation SET started_at = started_at - interval '1 minute'")


async def fails_after(world: World, rotation: KeyRotation, done: int) -> None:
    """A run whose batch dies in its last step as soon as more than ``done`` rows would be done."""
    await world.sql(FAIL_AFTER.format(done=done))
    try:
        await world.sql(FAIL)
        with pytest.raises(StoreUnavailable):
            await rotation.run()
    finally:
        await world.sql("DROP FUNCTION fail_in_batch CASCADE")


async def terms(world: World) -> set[int]:
    """Every term that a row of any table is under."""
    return {row["kek_term"] for name in TABLES for row in await world.sql(f"SELECT kek_term FROM {name}")}


async def latest(world: World) -> dict[str, object]:
    return dict((await world.sql("SELECT * FROM key_rotation ORDER BY started_at DESC LIMIT 1"))[0])


async def all_readable(world: World, values: dict[UUID, str]) -> None:
    for secret_id, value in values.items():
        assert text((await world.secrets.reveal(world.owner, secret_id, ValueRequest())).value) == value


async def test_every_table_that_holds_data_keys_is_in_the_list(world: World) -> None:
    columns = "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public' AND column_name = 'kek_term'"
    found = await world.sql(columns)
    assert {row["table_name"] for row in found} == set(TABLES)


async def test_everything_goes_to_the_new_term_and_nothing_else_changes(world: World, rotation: KeyRotation) -> None:
    values = await filled(world)
    columns = "SELECT id, format, ciphertext FROM secret_version ORDER BY id"
    before, wraps = await world.sql(columns), await world.sql("SELECT id, wrapped_dek FROM secret_version")
    view = await rotation.rotate(world.owner)
    assert (view.term, view.state, view.reason, view.remaining, view.started_by) == (2, "running", "asked", 21, "owner")
    assert world.keys.keyring.newest_term == 2
    await settle(world)
    await rotation.run()
    assert await terms(world) == {2}
    assert await world.sql(columns) == before
    now = dict(await world.sql("SELECT id, wrapped_dek FROM secret_version"))
    assert all(now[row["id"]] != row["wrapped_dek"] for row in wraps)
    await all_readable(world, values)
    row = await latest(world)
    assert (row["state"], row["rewrapped"], row["unreadable"]) == ("finished", 21, 0)
    done = [(r["action"], r["outcome"], r["code"], r["version"]) for r in await world.audit() if r["action"].startswith("key:")]
    assert done == [("key:rotate", "allowed", "asked", 2), ("key:rotated", "allowed", "", 2)]
    shown = (await world.keys.state(world.owner)).rotation
    assert shown is not None
    assert shown.remaining == 0


async def test_a_kill_at_any_batch_loses_nothing_and_does_nothing_twice(world: World, rotation: KeyRotation) -> None:
    """The last step of each batch in turn fails, as it does where the process or the database dies in it, and another process
    goes on."""
    values = await filled(world)
    await rotation.rotate(world.owner)
    await settle(world)
    seen: dict[object, bytes] = {}
    for done in range(0, 21, 4):
        await fails_after(world, KeyRotation(world.gate, await replica(world), world.idempotency, batch=4), done)
        for row in await world.sql("SELECT id, wrapped_dek FROM secret_version WHERE kek_term = 2"):
            assert seen.setdefault(row["id"], row["wrapped_dek"]) == row["wrapped_dek"], "re-wrapped twice"
        assert (len(seen), (await latest(world))["rewrapped"]) == (min(done, 20), done)
    await rotation.run()
    row = await latest(world)
    assert (row["state"], row["rewrapped"]) == ("finished", 21)
    await all_readable(world, values)


async def test_a_batch_that_another_process_was_quicker_with_is_not_written(
    world: World, rotation: KeyRotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read and wrapped before the other one wrote it, and dies in the batch after."""
    values = await filled(world, 3)
    await world.sql(f"{FLIP_A_WRAP} WHERE id = (SELECT id FROM secret_version ORDER BY id LIMIT 1)")
    await rotation.rotate(world.owner)
    await settle(world)
    rewrap, heir = wrapped_tables.WrappedTable.rewrap, KeyRotation(world.gate, await replica(world), world.idempotency, batch=4)
    columns, wraps = "SELECT id, kek_term, wrapped_dek FROM secret_version ORDER BY id", []

    async def late(*arguments: Any) -> bool:
        monkeypatch.undo()
        await fails_after(world, heir, 3)
        wraps.extend(await world.sql(columns))
        return await rewrap(*arguments)

    monkeypatch.setattr(wrapped_tables.WrappedTable, "rewrap", late)
    await rotation.run()
    row = await latest(world)
    assert (row["state"], row["rewrapped"], row["unreadable"]) == ("running", 3, 1)
    assert await world.sql(columns) == wraps
    await rotation.run()
    row = await latest(world)
    assert (row["state"], row["rewrapped"], row["unreadable"]) == ("finished", 6, 1)
    await all_readable(world, values)


async def test_two_rotations_at_once(world: World, rotation: KeyRotation) -> None:
    await filled(world, 2)
    other = KeyRotation(world.gate, await replica(world), world.idempotency)
    results = await together(*(one.rotate(world.caller(world.owner.token_hash)) for one in (rotation, other) * 3))
    refused = [one for one in results if isinstance(one, Exception)]
    assert [type(one) for one in refused] == [Conflict] * 5
    assert [row["term"] for row in await world.sql("SELECT term FROM keyring_key WHERE purpose = 'kek' ORDER BY 1")] == [1, 2]


async def test_a_replay_begins_nothing(world: World, rotation: KeyRotation) -> None:
    key = Idempotency("k", "POST /api/keys/rotate", b"")
    first = await rotation.rotate(world.owner, key)
    again = await rotation.rotate(world.caller(world.owner.token_hash), key)
    assert again.id == first.id
    assert len(await world.sql("SELECT 1 FROM key_rotation")) == 1


async def test_two_processes_share_the_batches(world: World, rotation: KeyRotation) -> None:
    values = await filled(world)
    await rotation.rotate(world.owner)
    await settle(world)
    other = KeyRotation(world.gate, await replica(world), world.idempotency, batch=4)
    assert not [one for one in await together(rotation.run(), other.run(), rotation.run()) if isinstance(one, Exception)]
    for one in (rotation, other):
        await one.run()
    row = await latest(world)
    assert (row["state"], row["rewrapped"]) == ("finished", 21)
    await all_readable(world, values)


async def test_a_replica_that_is_late_with_the_new_term(world: World, rotation: KeyRotation) -> None:
    """It still writes under the old term; the rotation does not end before such rows cannot come any more."""
    values = await filled(world, 3)
    late = await replica(world)
    await late.prepare_to_encrypt()
    await rotation.rotate(world.owner)
    await rotation.run()
    assert (await latest(world))["state"] == "running", "it was over although a process may not know the new term"
    world.secrets._keys = world.keys
    secret = next(iter(values))
    version = uuid4()
    row = (await world.sql("SELECT s.scope_id FROM secret s WHERE id = $1", secret))[0]
    sealed = late.encrypt(SecretValue("late"), ValueContext(world.instance_id, secret, version, row["scope_id"]))
    assert sealed.term == 1
    insert = (
        "INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext) "
        "VALUES ($1, 3, $2, $3, $4, $5, $6)"
    )
    await world.sql(insert, secret, version, sealed.format, sealed.term, sealed.wrapped_dek, sealed.ciphertext)
    await settle(world)
    for _ in range(3):
        await rotation.run()
    assert (await latest(world))["state"] == "finished"
    assert await terms(world) == {2}
    assert text((await world.secrets.reveal(world.owner, secret, ValueRequest(version=3))).value) == "late"


async def test_who_writes_knows_the_new_term_within_seconds(world: World, rotation: KeyRotation) -> None:
    now = [1000.0]
    other = KeyService(world.database, world.gate, clock=lambda: now[0])
    await other.open(world.root_key)
    await other.prepare_to_encrypt()
    await rotation.rotate(world.owner)
    now[0] += FRESH_SECONDS / 2
    await other.prepare_to_encrypt()
    assert other.keyring.newest_term == 1
    now[0] += FRESH_SECONDS
    await other.prepare_to_encrypt()
    assert other.keyring.newest_term == 2


async def test_a_process_that_was_frozen_encrypts_nothing_before_it_has_looked(world: World) -> None:
    now = [1000.0]
    frozen = KeyService(world.database, world.gate, clock=lambda: now[0])
    await frozen.open(world.root_key)
    await frozen.prepare_to_encrypt()
    now[0] += STALE_SECONDS + 1
    context = ValueContext(world.instance_id, uuid4(), uuid4(), uuid4())
    with pytest.raises(NotReady, match="frozen"):
        frozen.encrypt(SecretValue("x"), context)
    await frozen.prepare_to_encrypt()
    assert frozen.encrypt(SecretValue("x"), context).term == 1


async def test_writes_go_on_during_a_rotation(world: World, rotation: KeyRotation) -> None:
    values = await filled(world, 6)

    async def write(secret: UUID) -> None:
        for number in range(5):
            await world.secrets.update(world.owner, secret, SecretUpdate(value=f"during {number}"))

    await rotation.rotate(world.owner)
    await settle(world)
    results = await together(rotation.run(), *(write(secret) for secret in values))
    assert not [one for one in results if isinstance(one, Exception)]
    for _ in range(3):
        await rotation.run()
    assert (await latest(world))["state"] == "finished"
    assert await terms(world) == {2}
    await all_readable(world, dict.fromkeys(values, "during 4"))


async def test_a_locked_row_is_left_to_the_next_pass(world: World, rotation: KeyRotation) -> None:
    await filled(world, 3)
    await rotation.rotate(world.owner)
    await settle(world)
    async with world.connection() as connection, connection.transaction():
        await connection.execute("UPDATE secret_version SET readable_until = now() WHERE version = 2")
        await asyncio.wait_for(rotation.run(), 90)
        assert (await latest(world))["state"] == "running"
    await rotation.run()
    assert (await latest(world))["state"] == "finished"
    assert await terms(world) == {2}


async def test_a_row_that_does_not_open_is_left_and_counted(world: World, rotation: KeyRotation) -> None:
    values = await filled(world, 3)
    bad = (await world.sql("SELECT id FROM secret_version WHERE version = 1 LIMIT 1"))[0]["id"]
    await world.sql(f"{FLIP_A_WRAP} WHERE id = $1", bad)
    wrap = await world.sql("SELECT wrapped_dek, kek_term FROM secret_version WHERE id = $1", bad)
    await rotation.rotate(world.owner)
    await settle(world)
    for _ in range(3):
        await rotation.run()
    row = await latest(world)
    assert (row["state"], row["unreadable"], row["rewrapped"]) == ("finished", 1, 6)
    assert await world.sql("SELECT wrapped_dek, kek_term FROM secret_version WHERE id = $1", bad) == wrap
    last = [r for r in await world.audit() if r["action"] == "key:rotated"][-1]
    assert (last["outcome"], last["code"]) == ("failed", "unreadable:1")
    await all_readable(world, values)
    await rotation.run()
    assert len(await world.sql("SELECT 1 FROM key_rotation")) == 1, "it goes round for ever"


async def test_a_row_that_changes_between_its_reading_and_its_writing_keeps_the_change(
    world: World, rotation: KeyRotation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is encrypted anew for another place meanwhile: what was wrapped for the old place must not come over it."""
    values = await filled(world, 3)
    secret = next(iter(values))
    rewrap, sealed = wrapped_tables.WrappedTable.rewrap, await replica(world)
    old = await world.sql(
        "SELECT v.id, s.scope_id FROM secret_version v JOIN secret s ON s.id = secret_id WHERE s.id = $1", secret
    )

    async def changed_before(*arguments: Any) -> bool:
        monkeypatch.undo()
        for row in old:
            context = ValueContext(world.instance_id, secret, row["id"], row["scope_id"])
            new = sealed.encrypt(SecretValue(values[secret]), context)
            change = "UPDATE secret_version SET wrapped_dek = $2, ciphertext = $3, kek_term = $4 WHERE id = $1"
            await world.sql(change, row["id"], new.wrapped_dek, new.ciphertext, new.term)
        return await rewrap(*arguments)

    await sealed.prepare_to_encrypt(10)  # it has not heard of the new term
    await rotation.rotate(world.owner)
    await settle(world)
    monkeypatch.setattr(wrapped_tables.WrappedTable, "rewrap", changed_before)
    await rotation.run()
    await all_readable(world, values)
    assert (await latest(world))["state"] == "running", "the changed rows are still under the old term"
    await rotation.run()
    row = await latest(world)
    assert (row["state"], row["rewrapped"], row["unreadable"]) == ("finished", 7, 0)
    assert await terms(world) == {2}
    await all_readable(world, values)


async def test_rows_found_under_old_terms_are_rewrapped_without_a_new_term(world: World, rotation: KeyRotation) -> None:
    await filled(world, 2)
    await rotation.rotate(world.owner)
    old = (await world.sql("SELECT id, kek_term, wrapped_dek FROM secret_version LIMIT 1"))[0]
    await settle(world)
    await rotation.run()
    restore = "UPDATE secret_version SET kek_term = $2, wrapped_dek = $3 WHERE id = $1"
    await world.sql(restore, old["id"], old["kek_term"], old["wrapped_dek"])
    await rotation.run()
    await settle(world)
    await rotation.run()
    assert await terms(world) == {2}
    assert [(r["reason"], r["term"]) for r in await world.sql("SELECT reason, term FROM key_rotation ORDER BY started_at")] == [
        ("asked", 2), ("found", 2),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("reason", "statement", "limits"),
    [
        ("age", "UPDATE keyring_key SET created_at = created_at - interval '8 days'", KeyLimits(max_age=timedelta(days=7))),
        ("count", f"UPDATE keyring_key SET wraps_reserved = {2 * BLOCK} WHERE purpose = 'kek'", KeyLimits(max_uses=2 * BLOCK)),
    ],
)
async def test_a_term_is_replaced_by_itself(world: World, reason: str, statement: str, limits: KeyLimits) -> None:
    rotation = KeyRotation(world.gate, world.keys, world.idempotency, limits)
    await world.secret("S")
    await rotation.run()
    assert await world.sql("SELECT 1 FROM key_rotation") == []
    await world.sql(statement)
    await rotation.run()
    await rotation.run()
    assert [(r["reason"], r["term"]) for r in await world.sql("SELECT reason, term FROM key_rotation")] == [(reason, 2)]
    assert await terms(world) == {2}
    assert [(r["code"], r["actor_id"]) for r in await world.audit() if r["action"] == "key:rotate"] == [(reason, None)]


async def test_a_sealed_process_does_nothing(world: World) -> None:
    rotation = KeyRotation(world.gate, KeyService(world.database, world.gate), world.idempotency)
    await rotation.run()


async def test_a_process_whose_root_key_was_replaced_adds_no_term(world: World, rotation: KeyRotation) -> None:
    """After a change of seal elsewhere its new term would be wrapped by a root key that nobody keeps."""
    await world.secret("S")
    _, rows, check_value = world.keys.keyring.rewrap_all(RootKey.generate())
    for row in rows:
        change = "UPDATE keyring_key SET wrapped = $3 WHERE purpose = $1 AND term = $2"
        await world.sql(change, row.purpose, row.term, row.wrapped)
    await world.sql("UPDATE instance SET check_value = $1", check_value)
    with pytest.raises(KeyProblem, match="root key"):
        await rotation.rotate(world.owner)
    assert len(await world.sql("SELECT 1 FROM keyring_key WHERE purpose = 'kek'")) == 1
    await world.secret("T")  # what it holds is still right


async def test_what_a_rotation_needs(world: World, rotation: KeyRotation) -> None:
    auditor = await world.service_account("auditor")
    with pytest.raises(Denied):
        await rotation.rotate(auditor)
    with pytest.raises(Denied):
        await rotation.retire(world.caller(auditor.token_hash), "1")
    assert await world.sql("SELECT 1 FROM key_rotation") == []


# -- the end of a term --------------------------------------------------------------------------------------------------------


async def rotated(world: World, rotation: KeyRotation) -> None:
    await rotation.rotate(world.owner)
    await settle(world)
    await rotation.run()
    assert (await latest(world))["state"] == "finished"


async def age(world: World) -> None:
    await world.sql("UPDATE keyring_key SET created_at = created_at - interval '2 hours'")


async def test_an_unused_term_can_be_deleted(world: World, rotation: KeyRotation) -> None:
    values = await filled(world, 2)
    await rotated(world, rotation)
    with pytest.raises(Conflict, match="less than an hour ago"):
        await rotation.retire(world.owner, "1")
    await age(world)
    await rotation.retire(world.owner, "1")
    assert [row["term"] for row in await world.sql("SELECT term FROM keyring_key WHERE purpose = 'kek'")] == [2]
    assert world.keys.keyring.terms == (2,)
    await all_readable(world, values)
    last = [row for row in await world.audit() if row["action"] == "key:retire"][-1]
    assert (last["outcome"], last["version"]) == ("allowed", 1)
    await (await replica(world)).prepare_to_encrypt()


async def test_a_term_in_use_cannot_be_deleted(world: World, rotation: KeyRotation) -> None:
    values = await filled(world, 2)
    await world.sql(f"{FLIP_A_WRAP} WHERE version = 1")
    await rotation.rotate(world.owner)
    await age(world)
    with pytest.raises(Conflict, match="rotation is running"):
        await rotation.retire(world.owner, "1")
    await settle(world)
    await rotation.run()
    with pytest.raises(Conflict, match="in use by 2"):
        await rotation.retire(world.owner, "1")
    with pytest.raises(Conflict, match="newest"):
        await rotation.retire(world.owner, "2")
    with pytest.raises(Unavailable):
        await rotation.retire(world.owner, "7")
    assert len(await world.sql("SELECT 1 FROM keyring_key WHERE purpose = 'kek'")) == 2
    await all_readable(world, values)


async def test_a_term_is_not_deleted_under_somebody_who_writes(world: World, rotation: KeyRotation) -> None:
    """A row that is inserted and not committed is not seen by a count; whoever deletes waits for it."""
    await filled(world, 2)
    await rotated(world, rotation)
    await age(world)
    copy = (
        "INSERT INTO secret_version (secret_id, version, id, format, kek_term, wrapped_dek, ciphertext) "
        "SELECT secret_id, 9, gen_random_uuid(), format, 1, wrapped_dek, ciphertext FROM secret_version LIMIT 1"
    )
    async with world.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(copy)
        retiring = asyncio.create_task(rotation.retire(world.owner, "1"))
        await world.somebody_waits()
        assert not retiring.done()
        await transaction.commit()
        with pytest.raises(Conflict, match="in use by 1"):
            await retiring


async def test_the_database_away_in_the_middle(world: World, rotation: KeyRotation) -> None:
    """An error leaves the rotation where it was; the next round goes on."""
    values = await filled(world, 4)
    await rotation.rotate(world.owner)
    await settle(world)
    await fails_after(world, rotation, 4)
    await world.sql("ALTER TABLE secret_version RENAME TO elsewhere")
    try:
        with pytest.raises(StoreUnavailable):
            await rotation.run()
    finally:
        await world.sql("ALTER TABLE elsewhere RENAME TO secret_version")
    await rotation.run()
    assert (await latest(world))["state"] == "finished"
    await all_readable(world, values)
