"""What `overseer doctor` says about a database and the keys in it: each thing that can be wrong, made wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from overseer.core.findings import Finding, Level
from overseer.crypto.keys import RootKey
from overseer.crypto.wrap_budget import MAX_WRAPS
from overseer.server.seals.root_key_text import write_root_key
from overseer.server.services.database_findings import database_findings
from overseer.server.services.key_limits import DEFAULT_LIMITS, KeyLimits
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def key_file(world: World, tmp_path: Path) -> Path:
    """The instance's root key as the seal ``file`` keeps it."""
    path = tmp_path / "root.key"
    path.write_bytes(write_root_key(world.root_key).reveal())
    path.chmod(0o600)
    return path


@pytest.fixture
def foreign_key_file(tmp_path: Path) -> Path:
    """The root key of another instance."""
    path = tmp_path / "foreign.key"
    path.write_bytes(write_root_key(RootKey.generate()).reveal())
    path.chmod(0o600)
    return path


async def found(world: World, seal: str, limits: KeyLimits = DEFAULT_LIMITS, url: str = "") -> dict[str, Finding]:
    return {one.check: one for one in await database_findings(url or world.url, seal, limits)}


async def test_an_installation_as_it_should_be(world: World, key_file: Path) -> None:
    said = await found(world, f"file:{key_file}")
    wrong = {check: one for check, one in said.items() if one.level is not Level.OK}
    assert set(wrong) <= {"checksums", "backup", "leader"}
    expected = {"database", "log identity", "durability", "prepared transactions", "idle timeouts", "database role"}
    assert set(said) >= expected | {"database clock", "seal", "root key", "key use", "key age", "old terms", "keyring", "leader"}


async def test_a_database_that_does_not_answer(world: World) -> None:
    said = await found(world, "env", url="postgresql://o@/o?host=/nonexistent")
    assert {check: one.level for check, one in said.items()} == {"database": Level.PROBLEM}


async def test_a_key_file_of_another_instance(world: World, foreign_key_file: Path) -> None:
    assert (await found(world, f"file:{foreign_key_file}"))["root key"].level is Level.PROBLEM


async def test_another_seal_than_the_setting_says(world: World) -> None:
    said = (await found(world, "passphrase"))["seal"]
    assert (said.level, "file" in said.text) == (Level.PROBLEM, True)


async def test_a_log_that_was_copied(world: World) -> None:
    [row] = await world.sql("SELECT database_oid FROM audit_incarnation ORDER BY incarnation DESC LIMIT 1")
    newest = "WHERE incarnation = (SELECT max(incarnation) FROM audit_incarnation)"
    await world.sql(f"UPDATE audit_incarnation SET database_oid = 1 {newest}")
    try:
        said = await found(world, "env")
    finally:
        await world.sql(f"UPDATE audit_incarnation SET database_oid = $1 {newest}", row["database_oid"])
    assert said["log identity"].level is Level.PROBLEM


async def test_a_role_that_may_do_more(world: World) -> None:
    await world.sql("GRANT DELETE ON audit TO overseer_service")
    try:
        said = (await found(world, "env"))["database role"]
    finally:
        await world.sql("REVOKE DELETE ON audit FROM overseer_service")
    assert (said.level, "DELETE" in said.text) == (Level.PROBLEM, True)


async def test_a_key_that_is_used_up_or_old(world: World) -> None:
    await world.sql("UPDATE keyring_key SET wraps_reserved = $1, created_at = now() - interval '400 days'", MAX_WRAPS - 1)
    said = await found(world, "env")
    assert (said["key use"].level, said["key age"].level) == (Level.PROBLEM, Level.WARNING)
    never = KeyLimits(max_age=None)
    assert (await found(world, "env", never))["key age"].level is Level.WARNING
    await world.sql("UPDATE keyring_key SET created_at = now() - interval '100 days'")
    assert (await found(world, "env", never))["key age"].level is Level.OK


async def test_rows_under_an_old_term_and_terms_that_nothing_uses(world: World) -> None:
    await world.secret("S")
    await world.sql("INSERT INTO keyring_key (purpose, term, wrapped) VALUES ('kek', 2, '')")
    said = await found(world, "env")
    assert (said["old terms"].level, "unused terms" in said) == (Level.PROBLEM, False)
    await world.sql("UPDATE secret_version SET kek_term = 2")
    said = await found(world, "env")
    assert (said["old terms"].level, "unused terms" in said) == (Level.OK, True)


async def test_a_schema_of_another_release(world: World) -> None:
    [row] = await world.sql("DELETE FROM schema_migration WHERE number = (SELECT max(number) FROM schema_migration) RETURNING *")
    try:
        said = await found(world, "env")
    finally:
        await world.sql("INSERT INTO schema_migration VALUES ($1, $2, $3, $4)", *row.values())
    assert {check: one.level for check, one in said.items()} == {"schema": Level.PROBLEM}
