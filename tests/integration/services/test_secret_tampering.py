"""A stored version that was changed, moved or swapped does not open: the error names its secret by id, and the log says so."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from overseer.core.errors import AuditUnavailable, DecryptionFailed, StoreUnavailable
from overseer.wire.secrets import ResolveRequest, SecretUpdate, ValueRequest
from tests.integration.services.world import World, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

CANARY = "canary-hunter2"
FLIP = "UPDATE secret_version SET {0} = set_byte({0}, {1}, get_byte({0}, {1}) # 1) WHERE secret_id = $1"
COLUMNS = {
    **{f"ciphertext[{at}]": FLIP.format("ciphertext", at) for at in (0, 11, 12, 20, 41)},  # nonce, text, tag
    **{f"wrapped_dek[{at}]": FLIP.format("wrapped_dek", at) for at in (0, 11, 12, 43, 44, 59)},
    "ciphertext cut": "UPDATE secret_version SET ciphertext = substr(ciphertext, 1, 20) WHERE secret_id = $1",
    "ciphertext empty": "UPDATE secret_version SET ciphertext = '' WHERE secret_id = $1",
    "wrapped_dek empty": "UPDATE secret_version SET wrapped_dek = '' WHERE secret_id = $1",
    "format": "UPDATE secret_version SET format = format + 1 WHERE secret_id = $1",
    "kek_term": "UPDATE secret_version SET kek_term = kek_term + 1 WHERE secret_id = $1",
    "negative term": "UPDATE secret_version SET kek_term = -1 WHERE secret_id = $1",
    "version id": "UPDATE secret_version SET id = gen_random_uuid() WHERE secret_id = $1",
    "scope": "UPDATE secret SET scope_id = (SELECT id FROM scope WHERE app_id IS NULL) WHERE id = $1",
}


async def _fails(world: World, secret_id: UUID, version: int = 1) -> None:
    caller = world.caller(world.owner.token_hash)
    with pytest.raises(DecryptionFailed) as caught:
        await world.secrets.reveal(caller, secret_id, ValueRequest(version=version))
    assert str(secret_id) in caught.value.message
    assert CANARY not in repr((caught.value, caught.value.problems))
    rows = await world.audit(caller)
    assert [(row["outcome"], row["code"], row["resource_id"], row["version"]) for row in rows] == [
        ("allowed", "", secret_id, version),
        ("failed", "decryption_failed", secret_id, version),
    ]


@pytest.mark.parametrize("statement", COLUMNS.values(), ids=COLUMNS.keys())
async def test_every_stored_column(world: World, statement: str) -> None:
    await world.secret("elsewhere")
    secret_id = UUID((await world.secret("S", CANARY, app="shop")).id)
    assert text((await world.secrets.reveal(world.owner, secret_id, ValueRequest())).value) == CANARY
    await world.sql(statement, secret_id)
    await _fails(world, secret_id)


MOVE = """UPDATE secret_version a SET ciphertext = b.ciphertext, wrapped_dek = b.wrapped_dek FROM secret_version b
          WHERE (a.secret_id, a.version) = ($1, $2) AND (b.secret_id, b.version) = ($3, $4)"""


async def test_between_versions_of_a_secret(world: World) -> None:
    secret_id = UUID((await world.secret("S", CANARY)).id)
    await world.secrets.update(world.owner, secret_id, SecretUpdate(value=CANARY))
    await world.sql(MOVE, secret_id, 1, secret_id, 2)
    await _fails(world, secret_id, 1)


async def test_between_secrets_of_a_scope(world: World) -> None:
    one, other = UUID((await world.secret("S", CANARY)).id), UUID((await world.secret("T", CANARY)).id)
    await world.sql(MOVE, one, 1, other, 1)
    await _fails(world, one)


async def test_a_whole_row_under_another_secret(world: World) -> None:
    one, other = UUID((await world.secret("S", CANARY)).id), UUID((await world.secret("T", CANARY)).id)
    await world.secrets.update(world.owner, other, SecretUpdate(value="v2"))  # so that version 1 is free to be moved
    await world.sql("UPDATE secret_version SET secret_id = $1, version = 2 WHERE secret_id = $2 AND version = 1", one, other)
    await _fails(world, one, 2)


async def test_a_database_of_another_instance(world: World) -> None:
    secret_id = UUID((await world.secret("S", CANARY)).id)
    world.keys.keyring.instance_id = uuid4()  # as if the rows had been copied into another installation with the same keys
    await _fails(world, secret_id)


async def test_resolve_names_every_secret_that_does_not_open(world: World) -> None:
    ids = {name: UUID((await world.secret(name, CANARY)).id) for name in ("A", "B", "C")}
    for name in ("A", "C"):
        await world.sql(FLIP.format("ciphertext", 12), ids[name])
    before = len(await world.audit())
    with pytest.raises(DecryptionFailed) as caught:
        await world.resolver.resolve(world.owner, ResolveRequest(names=["A", "B", "C"]))
    assert [one.place for one in caught.value.problems] == [f"secret {ids['A']}", f"secret {ids['C']}"]
    rows = (await world.audit())[before:]
    assert [(row["resource_id"], row["outcome"]) for row in rows] == [
        (ids["A"], "allowed"),
        (ids["B"], "allowed"),
        (ids["C"], "allowed"),
        (ids["A"], "failed"),
        (ids["C"], "failed"),
    ]


async def test_nothing_is_released_or_changed_that_cannot_be_audited(world: World) -> None:
    made = await world.secret("S", CANARY)
    await world.sql("REVOKE INSERT (action) ON audit FROM overseer_service")
    try:
        for call in (
            world.secrets.reveal(world.owner, UUID(made.id), ValueRequest()),
            world.resolver.resolve(world.owner, ResolveRequest(names=["S"])),
            world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value="v2")),
            world.secrets.delete(world.owner, UUID(made.id)),
        ):
            with pytest.raises((AuditUnavailable, StoreUnavailable)) as caught:
                await call
            assert isinstance(caught.value, AuditUnavailable)
    finally:
        await world.sql("GRANT INSERT (action) ON audit TO overseer_service")
    assert [row["version"] for row in await world.sql("SELECT version FROM secret_version")] == [1]


async def test_the_database_holds_no_plaintext(world: World) -> None:
    await world.secret("S", CANARY, app="shop")
    tables = await world.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    found = [await world.sql(f'SELECT t::text AS row FROM "{table["tablename"]}" t') for table in tables]
    text_of_all = " ".join(row["row"] for rows in found for row in rows)
    assert "shop" in text_of_all
    assert CANARY not in text_of_all
    assert CANARY.encode().hex() not in text_of_all
