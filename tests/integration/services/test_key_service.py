"""The keyring of a process: wrong keys, terms made elsewhere, and the durable count of encryptions."""

from __future__ import annotations

from uuid import UUID

import pytest

from overseer.core.errors import Denied, KeyProblem, Sealed
from overseer.core.findings import Level
from overseer.crypto.keyring import Keyring, Purpose
from overseer.crypto.keys import RootKey
from overseer.crypto.wrap_budget import BLOCK, MAX_WRAPS, ROTATE_AT
from overseer.server.services.database_findings import database_findings
from overseer.server.services.key_limits import DEFAULT_LIMITS
from overseer.server.services.key_rotation import KeyRotation
from overseer.server.services.key_service import KeyService
from overseer.wire.secrets import ResolveRequest, SecretCreate, SecretUpdate, ValueRequest
from tests.integration.services.world import World, text, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def _rotate_elsewhere(world: World) -> Keyring:
    """Another replica makes a KEK term: the row is committed, this process does not know."""
    keyring, row = world.keys.keyring.add_term()
    await world.sql("INSERT INTO keyring_key (purpose, term, wrapped) VALUES ($1, $2, $3)", row.purpose, row.term, row.wrapped)
    return keyring


async def _reserved(world: World) -> list[int]:
    rows = await world.sql("SELECT wraps_reserved FROM keyring_key WHERE purpose = 'kek' ORDER BY term")
    return [row["wraps_reserved"] for row in rows]


async def test_sealed_until_opened(world: World) -> None:
    made = await world.secret("S")
    sealed = KeyService(world.database, world.gate)
    assert sealed.sealed
    world.keys._keyring = None
    before = len(await world.audit())
    for call in (
        world.secrets.create(world.owner, SecretCreate(name="T", value="x")),
        world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value="x")),
        world.secrets.reveal(world.owner, UUID(made.id), ValueRequest()),
        world.resolver.resolve(world.owner, ResolveRequest(names=["S"])),
    ):
        with pytest.raises(Sealed):
            await call
    assert not [row for row in (await world.audit())[before:] if row["outcome"] == "allowed"]


async def test_a_wrong_root_key_changes_nothing(world: World) -> None:
    other = KeyService(world.database, world.gate)
    with pytest.raises(KeyProblem, match="root key"):
        await other.open(RootKey.generate())
    assert other.sealed
    await other.open(world.root_key)
    assert other.instance_id == world.instance_id


async def test_a_database_without_an_instance(world: World) -> None:
    await world.sql("DELETE FROM instance")
    with pytest.raises(KeyProblem, match="server init"):
        await KeyService(world.database, world.gate).open(world.root_key)


async def test_a_row_under_a_term_that_another_replica_made(world: World) -> None:
    await _rotate_elsewhere(world)
    elsewhere = KeyService(world.database, world.gate)
    await elsewhere.open(world.root_key)
    here = world.secrets._keys
    world.secrets._keys = elsewhere
    made = await world.secret("S", "from elsewhere")
    world.secrets._keys = here
    assert [row["kek_term"] for row in await world.sql("SELECT kek_term FROM secret_version")] == [2]
    assert world.keys.keyring.terms == (1,)
    assert text((await world.secrets.reveal(world.owner, UUID(made.id), ValueRequest())).value) == "from elsewhere"
    assert world.keys.keyring.terms == (1, 2)
    await world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value="from here"))
    assert (await world.sql("SELECT kek_term FROM secret_version WHERE version = 2"))[0]["kek_term"] == 2


async def test_a_new_term_is_taken_with_the_next_block(world: World) -> None:
    await _rotate_elsewhere(world)
    await world.secret("S")  # the first write reserves, and reads the keyring before
    assert await _reserved(world) == [0, BLOCK]


async def test_nothing_is_written_under_a_key_that_was_replaced_and_put_back(world: World) -> None:
    newer, row = world.keys.keyring.add_term()
    await world.sql("INSERT INTO keyring_key (purpose, term, wrapped) VALUES ('kek', 2, $1)", row.wrapped)
    await world.keys.refresh()
    await world.secret("before")
    await world.sql("DELETE FROM keyring_key WHERE purpose = 'kek' AND term = 2")
    with pytest.raises(KeyProblem, match="older"):
        await world.keys.refresh()
    assert world.keys.keyring.has_same_keys(newer)
    world.keys._looked_at = float("-inf")  # the next write looks before it encrypts
    with pytest.raises(KeyProblem, match="older"):
        await world.secret("after")
    assert [one["kek_term"] for one in await world.sql("SELECT kek_term FROM secret_version")] == [2]


async def test_encryptions_are_reserved_in_blocks_of_a_process(world: World) -> None:
    assert await _reserved(world) == [0]
    results = await together(*(world.secret(f"S{n}") for n in range(20)))
    assert not [one for one in results if isinstance(one, Exception)]
    assert await _reserved(world) == [BLOCK]
    other = KeyService(world.database, world.gate)
    await other.open(world.root_key)
    await other.prepare_to_encrypt()
    await other.prepare_to_encrypt()
    assert await _reserved(world) == [2 * BLOCK]


async def test_the_first_writes_of_a_process_fit_in_its_pool(world: World) -> None:
    """Reserving needs a connection of its own; it is had before a write holds one, so no number of writers can starve it."""
    world.database._size = 2
    await world.database.close()
    results = await together(*(world.secret(f"S{n}") for n in range(12)))
    assert not [one for one in results if isinstance(one, Exception)]


async def test_a_term_that_is_used_up_encrypts_no_more(world: World) -> None:
    made = await world.secret("S", "readable")
    await world.sql("UPDATE keyring_key SET wraps_reserved = $1 WHERE purpose = 'kek'", MAX_WRAPS - BLOCK)
    last = KeyService(world.database, world.gate)
    await last.open(world.root_key)
    await last.prepare_to_encrypt()
    beyond = KeyService(world.database, world.gate)
    await beyond.open(world.root_key)
    with pytest.raises(KeyProblem, match="used up"):
        await beyond.prepare_to_encrypt()
    assert text((await world.secrets.reveal(world.owner, UUID(made.id), ValueRequest())).value) == "readable"
    await _rotate_elsewhere(world)
    await beyond.prepare_to_encrypt()
    assert beyond.keyring.newest_term == 2


async def test_a_swapped_keyring_row_is_refused(world: World) -> None:
    await world.sql(
        "UPDATE keyring_key SET wrapped = (SELECT wrapped FROM keyring_key WHERE purpose = 'fingerprint') WHERE purpose = 'kek'"
    )
    with pytest.raises(KeyProblem):
        await KeyService(world.database, world.gate).open(world.root_key)


async def test_the_state_shows_no_key(world: World) -> None:
    await world.secret("S")
    await world.sql("UPDATE keyring_key SET wraps_reserved = $1 WHERE purpose = 'kek'", ROTATE_AT)
    view = await world.keys.state(await world.service_account("auditor"))
    assert (view.newest_term, view.rotation_due) == (1, True)
    assert {key.purpose for key in view.keys} == set(Purpose)
    with pytest.raises(Denied):
        await world.keys.state(await world.service_account("developer"))
    row = (await world.audit())[-1]
    assert (row["action"], row["outcome"]) == ("key:read", "denied")


async def test_a_keyring_that_was_put_back_before_a_start_is_an_alarm(world: World) -> None:
    """A running process goes back to no replaced key; one that starts afterwards compares the keyring with the audit log."""
    rotation = KeyRotation(world.gate, world.keys, world.idempotency)
    await rotation.rotate(world.owner)
    alarm = "SELECT version, code FROM audit WHERE action = 'alarm:keyring_old'"
    await KeyService(world.database, world.gate).open(world.root_key)
    assert await world.sql(alarm) == []
    await world.sql("DELETE FROM keyring_key WHERE purpose = 'kek' AND term = 2")
    await KeyService(world.database, world.gate).open(world.root_key)
    assert [(row["version"], row["code"]) for row in await world.sql(alarm)] == [(1, "recorded:2")]
    said = {one.check: one for one in await database_findings(world.url, "env", DEFAULT_LIMITS)}["keyring"]
    assert (said.level, "term 2" in said.text) == (Level.PROBLEM, True)


async def test_a_rotation_that_was_refused_is_none(world: World) -> None:
    with pytest.raises(Denied):
        await KeyRotation(world.gate, world.keys, world.idempotency).rotate(await world.service_account("viewer"))
    await KeyService(world.database, world.gate).open(world.root_key)
    assert await world.sql("SELECT FROM audit WHERE action = 'alarm:keyring_old'") == []
