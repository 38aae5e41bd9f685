"""Another seal around the same keyring: in every direction, proven, in one transaction, with nothing lost wherever it breaks."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import asyncpg
import pytest

from overseer.core.errors import Conflict, InvalidInput, KeyProblem, OverseerError, Sealed, StoreUnavailable
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.crypto.passwords import Argon2Parameters
from overseer.server.seals import passphrase as passphrase_seal
from overseer.server.seals.root_key_text import write_root_key
from overseer.server.services import seal_migration
from overseer.server.services.bootstrap import SealSetting, open_keyring
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.seal_migration import Moved, migrate_seal
from overseer.server.services.seal_succession import SealSuccession
from overseer.server.storage.database import Database, Session
from overseer.server.storage.keyring_rows import load_instance
from overseer.wire.secrets import ValueRequest
from tests.integration.services.world import World, eventually, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime(2026, 11, 24, 10, 0, tzinfo=UTC)
CHEAP = Argon2Parameters(19_456, 1, 1)
KINDS = ("file", "env", "passphrase", "shamir")


def shares_or(given: SecretValue | None) -> Callable[[Sequence[SecretValue]], SecretValue | None]:
    """What an operator gives to prove the new seal: its shares, else ``given``."""
    return lambda shares: SecretValue(b"\n".join(share.reveal() for share in shares)) if shares else given


@dataclass
class Place:
    """A world whose present seal is a key file; ``now`` is the setting that opens it."""

    world: World
    directory: Path
    environment: dict[str, str] = field(default_factory=dict)
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    present: SealSetting = field(init=False)

    def __post_init__(self) -> None:
        self.present = self.key_file("root.key", self.world.root_key)

    def key_file(self, name: str, root_key: RootKey) -> SealSetting:
        """The seal of a key file with that key."""
        path = self.directory / name
        path.write_bytes(write_root_key(root_key).reveal())
        path.chmod(0o600)
        return SealSetting(f"file:{path}")

    def target(self, kind: str) -> SealSetting:
        """A new seal of that kind."""
        number = next(self.numbers)
        if kind == "file":
            return SealSetting(f"file:{self.directory / f'{number}.key'}")
        if kind == "env":
            return SealSetting("env", environment={"OVERSEER_NEW_ROOT_KEY": RootKey.generate().reveal().hex()})
        if kind == "passphrase":
            return SealSetting("passphrase", SecretValue(f"correct horse {number} battery"))
        return SealSetting("shamir:2/3")

    async def move(self, target: SealSetting) -> Moved:
        """Migrate, and remember what opens the instance then."""
        kept: list[SecretValue | None] = []
        environment = dict(target.environment or {})

        def prove(shares: Sequence[SecretValue]) -> SecretValue | None:
            kept.append(shares_or(target.given)(shares[1:]))
            return kept[0]

        moved = await migrate_seal(self.world.url, self.present, target, prove, NOW)
        if target.spec == "env":
            environment = {"OVERSEER_ROOT_KEY": environment["OVERSEER_NEW_ROOT_KEY"]}
        self.present = SealSetting(target.spec, kept[0], environment)
        return moved

    async def opens(self, setting: SealSetting) -> Keyring:
        """As a start does it, from the database alone and that seal."""
        async with self.world.database.session() as session:
            instance = await load_instance(session)
            assert instance is not None
            if setting.spec == "env":
                setting = replace(setting, environment=dict(setting.environment or {}))
            return await open_keyring(session, instance, await setting.seal(instance).root_key(setting.given))

    async def rows(self) -> list[str]:
        """The rows that a migration may change, and all ciphertexts."""
        tables = ("instance", "keyring_key", "secret_version", "audit")
        return [row[0] for table in tables for row in await self.world.sql(f"SELECT t::text FROM {table} t ORDER BY 1")]


@pytest.fixture
async def place(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """Passphrases are stretched as little as the bounds allow: the directions need many."""
    monkeypatch.setattr(passphrase_seal.PassphraseSeal.__init__, "__defaults__", (CHEAP,))
    return Place(world, tmp_path)


@pytest.mark.parametrize("first", KINDS)
async def test_every_direction_opens_to_the_same_keys_and_the_old_seal_no_longer_does(place: Place, first: str) -> None:
    made = await place.world.secret("db-password", "v1-value")
    original, versions = place.world.keys.keyring, await place.world.sql("SELECT t::text FROM secret_version t")
    for kind in (first, *KINDS):
        old = place.present
        moved = await place.move(place.target(kind))
        assert (moved.old_kind, moved.new_kind) == (old.spec.partition(":")[0], kind)
        assert original.has_same_keys(await place.opens(place.present))
        with pytest.raises((KeyProblem, Sealed)):
            await place.opens(old)
    assert await place.world.sql("SELECT t::text FROM secret_version t") == versions
    keys = KeyService(place.world.database, Gate(place.world.database))
    async with place.world.database.session() as session:
        instance = await load_instance(session)
        assert instance is not None
        await keys.open(await place.present.seal(instance).root_key(place.present.given))
    assert keys.keyring.terms == original.terms
    assert made.version == 1


async def test_the_statement_and_the_audit_row(place: Place) -> None:
    moved = await place.move(place.target("shamir"))
    assert "OVERSEER_SEAL=shamir:2/3 on every replica" in moved.statement
    assert "root.key" in moved.statement
    assert "backups of the database made before 2026-11-24 10:00 UTC" in moved.statement
    assert "2 of 3 shares" in moved.recovery_kit
    row = (await place.world.audit())[-1]
    assert (row["action"], row["outcome"], row["resource_name"], row["code"]) == (
        "seal:migrate",
        "allowed",
        "shamir",
        "from_file",
    )
    assert (row["actor_name"], row["resource_id"]) == ("root key holder", place.world.instance_id)
    stored = (await place.world.sql("SELECT seal_config FROM instance"))[0][0]
    assert place.present.given is not None
    assert not any(share in stored for share in place.present.given.reveal().splitlines())


async def test_nothing_of_the_old_seal_is_touched(place: Place) -> None:
    old = place.present
    await place.move(place.target("passphrase"))
    assert await old.seal().root_key() == place.world.root_key


async def test_what_is_wrong_changes_nothing(place: Place) -> None:
    other = place.key_file("other.key", RootKey.generate())
    same = place.key_file("same.key", place.world.root_key)
    before = await place.rows()
    wrong: list[tuple[SealSetting, SealSetting, type[OverseerError], str]] = [
        (other, place.target("passphrase"), KeyProblem, "root key is not the one"),
        (SealSetting("shamir"), place.target("passphrase"), KeyProblem, "present seal of this instance is 'file'"),
        (place.present, SealSetting("passphrase", SecretValue("short")), InvalidInput, "12 characters"),
        (place.present, SealSetting("shamir"), InvalidInput, "K/N"),
        (place.present, SealSetting("shamir:3/2"), InvalidInput, "2 <= k <= n"),
        (place.present, SealSetting("env", environment={"OVERSEER_ROOT_KEY": "x"}), KeyProblem, "OVERSEER_NEW_ROOT_KEY"),
        (place.present, same, KeyProblem, "root key of the present one"),
    ]
    for present, target, error, says in wrong:
        with pytest.raises(error, match=says):
            await migrate_seal(place.world.url, present, target, shares_or(target.given), NOW)
    assert await place.rows() == before
    await place.opens(place.present)


async def test_shares_that_nobody_can_give_back_are_no_seal(place: Place) -> None:
    before = await place.rows()

    def too_few(shares: Sequence[SecretValue]) -> SecretValue | None:
        return shares[0]

    def from_elsewhere(shares: Sequence[SecretValue]) -> SecretValue | None:
        raise InvalidInput("the paper is torn")

    for prove, error in ((too_few, KeyProblem), (from_elsewhere, InvalidInput)):
        with pytest.raises(error):
            await migrate_seal(place.world.url, place.present, SealSetting("shamir:2/3"), prove, NOW)
    assert await place.rows() == before


async def test_a_key_file_that_a_killed_run_left_is_taken(place: Place) -> None:
    target = place.target("file")
    left = RootKey.generate()
    place.key_file(target.spec.partition("/")[2].rpartition("/")[2], left)
    await place.move(target)
    assert (await place.opens(place.present)).has_same_keys(place.world.keys.keyring)
    assert await place.present.seal().root_key() == left


@pytest.mark.parametrize("step", ["store_rewrapped", "_check_written", "insert_events", "send_seal_news"])
async def test_an_error_at_any_step_of_the_transaction_leaves_the_old_seal(
    place: Place, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await place.rows()
    real = getattr(seal_migration, step)

    async def broken(*arguments: object) -> None:
        await real(*arguments)
        raise StoreUnavailable("the connection broke")

    monkeypatch.setattr(seal_migration, step, broken)
    with pytest.raises(StoreUnavailable):
        await place.move(place.target("passphrase"))
    assert await place.rows() == before
    await place.opens(place.present)


async def test_a_commit_whose_answer_is_lost_is_found_out(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Database.work
    calls = 0

    @asynccontextmanager
    async def work(self: Database) -> AsyncIterator[Session]:
        nonlocal calls
        calls += 1
        async with real(self) as session:
            yield session
        if calls == 1:
            raise StoreUnavailable("the connection broke after the commit")

    monkeypatch.setattr(Database, "work", work)
    moved = await place.move(place.target("passphrase"))
    assert moved.new_kind == "passphrase"
    assert (await place.opens(place.present)).has_same_keys(place.world.keys.keyring)


async def test_two_at_once_change_it_once(place: Place) -> None:
    targets = [place.target("passphrase"), place.target("passphrase")]
    results = await asyncio.gather(
        *(migrate_seal(place.world.url, place.present, one, shares_or(one.given), NOW) for one in targets), return_exceptions=True
    )
    assert {type(result) for result in results} == {Moved, Conflict}
    winner = next(target for target, result in zip(targets, results, strict=True) if isinstance(result, Moved))
    assert (await place.opens(winner)).has_same_keys(place.world.keys.keyring)


async def test_rows_of_a_seal_that_was_changed_meanwhile_are_not_called_damaged(place: Place) -> None:
    """A start, or another migration, has read the instance and not yet the keys."""
    async with place.world.database.session() as session:
        before = await load_instance(session)
        assert before is not None
        await place.move(place.target("passphrase"))
        with pytest.raises(Conflict, match="seal was changed by somebody else"):
            await open_keyring(session, before, place.world.root_key)
        after = await load_instance(session)
        assert after is not None
        with pytest.raises(KeyProblem, match="root key is not the one"):
            await open_keyring(session, after, place.world.root_key)


async def test_a_key_that_is_added_meanwhile_is_not_lost(place: Place) -> None:
    """A rotation holds the lock and adds a term; the migration waits for it and re-wraps that one, too."""
    keyring, row = place.world.keys.keyring.add_term()
    connection = await asyncpg.connect(place.world.url)
    try:
        async with connection.transaction():
            await connection.execute("SELECT id FROM instance FOR UPDATE")
            moving = asyncio.create_task(place.move(place.target("shamir")))
            await place.world.somebody_waits()
            assert not moving.done()
            insert = "INSERT INTO keyring_key (purpose, term, wrapped) VALUES ($1, $2, $3)"
            await connection.execute(insert, row.purpose, row.term, row.wrapped)
        await moving
    finally:
        await connection.close()
    assert (await place.opens(place.present)).has_same_keys(keyring)


async def heard(place: Place, beside: int = 0) -> list[asyncpg.Record]:
    """Until the news of the seal are listened for, by another connection than ``beside``; that connection."""
    listening = "SELECT pid FROM pg_stat_activity WHERE application_name = 'overseer seal news' AND state = 'idle' AND pid <> $1"
    listening += " AND datname = current_database() AND query NOT LIKE 'SET %'"
    found: list[asyncpg.Record] = []

    async def look() -> bool:
        found[:] = await place.world.sql(listening, beside)
        return bool(found)

    await eventually(look)
    return found


async def test_running_replicas_learn_it_and_go_on(place: Place) -> None:
    taken = asyncio.Queue[RootKey]()
    take = taken.put

    succession = SealSuccession(place.world.database, place.world.keys, take)
    listening = asyncio.create_task(succession.run())
    try:
        await heard(place)
        for kind in ("shamir", "passphrase"):
            await place.move(place.target(kind))
            await asyncio.wait_for(taken.get(), 90)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
    async with place.world.database.session() as session:
        assert (await place.world.keys.reread(session)).has_same_keys(place.world.keys.keyring)
    made = await place.world.secret("after", "written-after")
    value = await place.world.secrets.reveal(place.world.owner, UUID(made.id), ValueRequest())
    assert text(value.value) == "written-after"


async def test_a_lost_connection_is_made_anew_at_once(place: Place) -> None:
    taken = asyncio.Queue[RootKey]()
    listening = asyncio.create_task(SealSuccession(place.world.database, place.world.keys, taken.put).run())
    try:
        [before] = await heard(place)
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'overseer seal news'"
        assert len(await place.world.sql(ended)) == 1
        await heard(place, beside=before["pid"])
        await place.move(place.target("shamir"))
        await asyncio.wait_for(taken.get(), 90)
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def test_news_that_are_not_from_a_migration_are_not_believed(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    async def never(root_key: RootKey) -> None:
        raise AssertionError

    succession = SealSuccession(place.world.database, place.world.keys, never)
    keyring = place.world.keys.keyring
    for payload in (b"", b"x" * 60, keyring.hand_over(RootKey.generate())):
        assert not await succession.succeed(payload)
    assert place.world.keys.keyring is keyring


async def test_a_replica_that_missed_it_says_so_once_and_serves_on(
    place: Place, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(root_key: RootKey) -> None:
        raise AssertionError

    await place.move(place.target("passphrase"))
    succession = SealSuccession(place.world.database, place.world.keys, never, look=0.05)
    looks = 0
    warned = SealSuccession._look_for_missed

    async def look(one: SealSuccession) -> None:
        nonlocal looks
        await warned(one)
        looks += 1

    monkeypatch.setattr(SealSuccession, "_look_for_missed", look)
    listening = asyncio.create_task(succession.run())
    await eventually(lambda: looks > 3)
    listening.cancel()
    await asyncio.gather(listening, return_exceptions=True)
    said = [record.message for record in caplog.records if "start it again with the new OVERSEER_SEAL" in record.message]
    assert len(said) == 1
    await place.world.secret("still", "works")


async def test_the_hand_over_is_sent_and_in_no_table(place: Place) -> None:
    seen = asyncio.Queue[str]()
    connection = await asyncpg.connect(place.world.url)
    try:
        await connection.add_listener("overseer_seal", lambda *event: seen.put_nowait(event[3]))
        await place.move(place.target("passphrase"))
        sent = await asyncio.wait_for(seen.get(), 90)
        assert len(bytes.fromhex(sent)) == 60
        for row in await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
            content = await connection.fetchval(f"SELECT string_agg(t::text, '') FROM \"{row[0]}\" t")
            assert sent not in (content or "")
    finally:
        await connection.close()
