"""`server init`: one transaction, twice without a change, many at once, and nothing changed by a wrong key."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from overseer.core.access import Allowed, Resource, decide
from overseer.core.errors import ConfigurationProblem, InvalidInput, KeyProblem, OverseerError, Sealed
from overseer.core.permissions import BUILT_IN_ROLES, Permission, to_bits
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring, Purpose, WrappedKey
from overseer.crypto.tokens import TokenPrefix, looks_valid, token_hash
from overseer.server.services import bootstrap
from overseer.server.services.bootstrap import SealSetting, initialise, renew_owner_token
from overseer.server.services.owner_token import owner_token_file
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database
from overseer.server.storage.identity_rows import identify
from overseer.server.storage.service_session import session_setup

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

NOW = datetime.now(UTC)
TABLES = ("instance", "keyring_key", "principal", "role", "binding", "token", "audit", "schema_migration")


@pytest.fixture
def setting(tmp_path: Path) -> SealSetting:
    return SealSetting(f"file:{tmp_path / 'root.key'}")


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def _rows(connection: asyncpg.Connection) -> dict[str, list[str]]:
    found = {}
    for table in TABLES:
        if await connection.fetchval("SELECT to_regclass($1) IS NOT NULL", table):
            found[table] = [row[0] for row in await connection.fetch(f"SELECT t::text FROM {table} t ORDER BY 1")]
    return found


def _nowhere(token: SecretValue) -> None:
    raise AssertionError("no token was to be made")


async def test_the_owner_may_do_everything_but_serve_as_a_node(
    database_url: str, setting: SealSetting, tmp_path: Path, owner: asyncpg.Connection
) -> None:
    file = tmp_path / "owner-token"
    made = await initialise(database_url, setting, owner_token_file(file), NOW)
    assert made.created
    assert str(made.instance_id) in made.recovery_kit
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    token = SecretValue(file.read_bytes().strip())
    assert looks_valid(token, TokenPrefix.API)

    database = Database(service_arguments(database_url), setup=session_setup, size=1)
    async with database.work() as session:
        found = await identify(session, token_hash(token), "")
    await database.close()
    assert found is not None
    assert (found.actor.name, found.refusal, found.token_expires_at) == ("owner", "", made.owner_token_expires_at)
    for permission in Permission:
        allowed = isinstance(decide(found.actor.bindings, permission, Resource("secret", "any.name"), NOW), Allowed)
        assert allowed is (permission is not Permission.NODE_SERVE)

    event = await owner.fetchrow("SELECT action, outcome, resource_id, incarnation FROM audit")
    assert tuple(event) == ("server:init", "allowed", made.instance_id, 1)
    roles = dict(await owner.fetch("SELECT name, permissions FROM role WHERE built_in"))
    assert roles == {name: to_bits(permissions) for name, permissions in BUILT_IN_ROLES.items()}


async def test_the_keyring_opens_with_the_key_of_the_seal(
    database_url: str, setting: SealSetting, owner: asyncpg.Connection
) -> None:
    made = await initialise(database_url, setting, lambda token: None, NOW)
    rows = [WrappedKey(*row) for row in await owner.fetch("SELECT purpose, term, wrapped FROM keyring_key")]
    check_value = await owner.fetchval("SELECT check_value FROM instance")
    keyring = Keyring.open(made.instance_id, await setting.seal().root_key(), rows, check_value)
    assert keyring.missing_purposes() == ()
    assert {row.purpose for row in rows} == set(Purpose)


async def test_a_second_run_changes_nothing_and_says_so(
    database_url: str, setting: SealSetting, owner: asyncpg.Connection
) -> None:
    first = await initialise(database_url, setting, lambda token: None, NOW)
    before = await _rows(owner)
    again = await initialise(database_url, setting, _nowhere, NOW + timedelta(days=3))
    assert (again.created, again.instance_id, again.migrations, again.changes) == (False, first.instance_id, (), ())
    assert again.owner_token_expires_at is None
    assert await _rows(owner) == before


async def test_many_at_once_make_one_instance(database_url: str, setting: SealSetting, owner: asyncpg.Connection) -> None:
    tokens: list[SecretValue] = []
    runs = await asyncio.gather(*(initialise(database_url, setting, tokens.append, NOW) for _ in range(6)))
    assert sorted(run.created for run in runs) == [False] * 5 + [True]
    assert len({run.instance_id for run in runs}) == 1
    assert len(tokens) == 1
    assert await owner.fetchval("SELECT count(*) FROM audit") == 1


async def test_a_wrong_key_changes_nothing_not_even_by_a_migration(
    database_url: str, setting: SealSetting, owner: asyncpg.Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await initialise(database_url, setting, lambda token: None, NOW)
    before = await _rows(owner)
    other = SealSetting(f"file:{tmp_path / 'other.key'}")
    with pytest.raises(KeyProblem, match="does not exist"):
        await initialise(database_url, other, _nowhere, NOW)
    assert not (tmp_path / "other.key").exists()
    await other.seal().create()

    async def reached(url: str) -> None:
        raise AssertionError("migrated before the key was checked")

    monkeypatch.setattr(bootstrap, "migrate", reached)
    with pytest.raises(KeyProblem, match="not the one of this instance"):
        await initialise(database_url, other, _nowhere, NOW)
    assert await _rows(owner) == before


async def test_a_token_that_cannot_be_delivered_makes_no_instance(
    database_url: str, setting: SealSetting, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationProblem, match="nothing was made"):
        await initialise(database_url, setting, owner_token_file(tmp_path / "missing" / "owner-token"), NOW)
    rows = await _rows(owner)
    assert not any(rows[table] for table in TABLES if table != "schema_migration")
    # The key file is there; the next run takes it and comes to its end.
    assert (await initialise(database_url, setting, owner_token_file(tmp_path / "owner-token"), NOW)).created


async def test_an_upgrade_brings_permissions_and_keys_and_is_audited(
    database_url: str, setting: SealSetting, owner: asyncpg.Connection
) -> None:
    made = await initialise(database_url, setting, lambda token: None, NOW)
    await owner.execute("UPDATE role SET permissions = 1 WHERE name = 'owner'; UPDATE binding SET permissions = 1")
    await owner.execute("DELETE FROM role WHERE name = 'viewer'")
    await owner.execute("DELETE FROM keyring_key WHERE purpose = 'fingerprint'")
    again = await initialise(database_url, setting, _nowhere, NOW)
    assert (again.created, again.instance_id) == (False, made.instance_id)
    assert set(again.changes) == {"role owner", "role viewer", "key fingerprint"}
    bits = to_bits(BUILT_IN_ROLES["owner"])
    assert await owner.fetchval("SELECT permissions FROM binding") == bits
    assert await owner.fetchval("SELECT count(*) FROM audit") == 2
    assert (await initialise(database_url, setting, _nowhere, NOW)).changes == ()


async def test_a_role_that_people_made_is_left_alone(database_url: str, setting: SealSetting, owner: asyncpg.Connection) -> None:
    await initialise(database_url, setting, lambda token: None, NOW)
    await owner.execute("UPDATE role SET built_in = false, permissions = 1 WHERE name = 'viewer'")
    assert (await initialise(database_url, setting, _nowhere, NOW)).changes == ()
    assert await owner.fetchval("SELECT permissions FROM role WHERE name = 'viewer'") == 1


async def test_a_passphrase_seal(database_url: str, owner: asyncpg.Connection) -> None:
    right = SealSetting("passphrase", SecretValue("a long enough passphrase"))
    with pytest.raises(InvalidInput):
        await initialise(database_url, SealSetting("passphrase", SecretValue("short")), _nowhere, NOW)
    assert (await initialise(database_url, right, lambda token: None, NOW)).created
    assert not (await initialise(database_url, right, _nowhere, NOW)).created
    before = await _rows(owner)
    with pytest.raises(KeyProblem, match="passphrase is wrong"):
        await initialise(database_url, SealSetting("passphrase", SecretValue("another long passphrase")), _nowhere, NOW)
    with pytest.raises(Sealed):
        await initialise(database_url, SealSetting("passphrase"), _nowhere, NOW)
    assert await _rows(owner) == before


async def test_the_root_key_lets_a_locked_out_owner_in_again(
    database_url: str, setting: SealSetting, owner: asyncpg.Connection, tmp_path: Path
) -> None:
    await initialise(database_url, setting, lambda token: None, NOW - timedelta(days=400))
    assert await owner.fetchval("SELECT bool_and(expires_at < now()) FROM token")
    tokens: list[SecretValue] = []
    await renew_owner_token(database_url, setting, tokens.append, NOW)
    assert await owner.fetchval("SELECT expires_at > now() FROM token WHERE hash = $1", token_hash(tokens[0]))
    assert await owner.fetchval("SELECT action FROM audit ORDER BY id DESC LIMIT 1") == "token:create"

    other = SealSetting(f"file:{tmp_path / 'other.key'}")
    await other.seal().create()
    before = await _rows(owner)
    with pytest.raises(OverseerError, match="not the one of this instance"):
        await renew_owner_token(database_url, other, _nowhere, NOW)
    assert await _rows(owner) == before


async def test_no_plaintext_key_or_token_is_in_the_database(
    database_url: str, setting: SealSetting, owner: asyncpg.Connection
) -> None:
    tokens: list[SecretValue] = []
    made = await initialise(database_url, setting, tokens.append, NOW)
    root_key = (await setting.seal().root_key()).reveal()
    everything = str(await _rows(owner)) + made.recovery_kit + repr(made)
    assert root_key.hex() not in everything
    assert tokens[0].reveal().decode() not in everything
