"""Idempotency keys: one change for one request, however often it is sent."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import AlreadyExists, Conflict, Denied, IdempotencyMismatch, InvalidInput, PreconditionFailed
from overseer.core.permissions import Permission
from overseer.server.services.idempotency import Idempotency
from overseer.wire.secret_batches import ScopeTarget, SecretMove
from overseer.wire.secrets import SecretActivate, SecretCreate, SecretRotate, SecretUpdate
from tests.integration.services.world import World, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

CREATE = "POST /api/secrets"
UPDATE = "PUT /api/secrets/{id}"


def _key(key: str = "k1", route: str = CREATE, body: bytes = b"{}") -> Idempotency:
    return Idempotency(key, route, body)


async def test_a_create_whose_answer_was_lost(world: World) -> None:
    body = SecretCreate(name="S", generate="hex")
    first = await world.secrets.create(world.owner, body, _key())
    again = await world.secrets.create(world.owner, body, _key())
    assert again == first
    assert len(await world.sql("SELECT FROM secret_version")) == 1
    rows = (await world.audit())[-2:]
    assert [(row["outcome"], row["code"], str(row["resource_id"]), row["version"]) for row in rows] == [
        ("allowed", "", first.view.id, 1),
        ("allowed", "replayed", first.view.id, 1),
    ]
    [stored] = await world.sql("SELECT * FROM idempotency_key")
    assert (stored["status"], str(stored["resource_id"]), stored["version"]) == (201, first.view.id, 1)


@pytest.mark.parametrize("method", ["update", "rotate", "activate"])
async def test_a_change_whose_answer_was_lost_makes_one_version(world: World, method: str) -> None:
    secret_id = UUID((await world.secret("S")).id)
    body = {"update": SecretUpdate(value="v2"), "rotate": SecretRotate(), "activate": SecretActivate(version=1)}[method]
    call: Any = getattr(world.secrets, method)
    # The tag held before the first one and holds no more: a replay must not end in 412.
    first = await call(world.owner, secret_id, body, '"v1"', _key(route=method))
    again = await call(world.owner, secret_id, body, '"v1"', _key(route=method))
    assert again == first
    assert len(await world.sql("SELECT FROM secret_version")) == (1 if method == "activate" else 2)


async def test_the_same_key_at_once(world: World) -> None:
    secret_id = UUID((await world.secret("S")).id)
    creates = await together(*(world.secrets.create(world.owner, SecretCreate(name="N", value="x"), _key()) for _ in range(6)))
    assert len({one.view.id for one in creates}) == 1
    updates = await together(
        *(world.secrets.update(world.owner, secret_id, SecretUpdate(value="x"), '"v1"', _key(route=UPDATE)) for _ in range(6))
    )
    assert {one.view.version for one in updates} == {2}


async def test_another_request_under_the_key(world: World) -> None:
    one, other = UUID((await world.secret("S")).id), UUID((await world.secret("T")).id)
    body = SecretUpdate(value="x")
    await world.secrets.update(world.owner, one, body, None, _key(route=UPDATE))
    with pytest.raises(IdempotencyMismatch):
        await world.secrets.update(world.owner, one, body, None, _key(route=UPDATE, body=b"{ }"))
    with pytest.raises(IdempotencyMismatch):  # the same body, another secret
        await world.secrets.update(world.owner, other, body, None, _key(route=UPDATE))
    row = (await world.audit())[-1]
    assert (row["outcome"], row["code"], row["resource_id"]) == ("failed", "idempotency_mismatch", other)
    assert len(await world.sql("SELECT FROM secret_version")) == 3


async def test_keys_are_a_principals_and_a_routes_own(world: World) -> None:
    secret_id = UUID((await world.secret("S")).id)
    other = await world.service_account("developer")
    body = SecretUpdate(value="x")
    for caller, route in ((world.owner, UPDATE), (other, UPDATE), (world.owner, "POST /api/secrets/{id}/rotate")):
        await world.secrets.update(caller, secret_id, body, None, _key(route=route))
    assert len(await world.sql("SELECT FROM secret_version")) == 4


async def test_a_failed_request_leaves_its_key_free(world: World) -> None:
    made = await world.secret("S")
    with pytest.raises(PreconditionFailed):
        await world.secrets.update(world.owner, UUID(made.id), SecretUpdate(value="x"), '"v9"', _key(route=UPDATE))
    with pytest.raises(AlreadyExists):
        await world.secrets.create(world.owner, SecretCreate(name="S", value="x"), _key())
    assert not await world.sql("SELECT FROM idempotency_key")
    await world.secrets.create(world.owner, SecretCreate(name="T", value="x"), _key())


async def test_a_replay_asks_for_the_permission_again(world: World) -> None:
    caller = await world.service_account("developer")
    await world.secrets.create(caller, SecretCreate(name="S", value="x"), _key())
    await world.sql("DELETE FROM binding WHERE role_id = (SELECT id FROM role WHERE name = 'developer')")
    await world.bind(caller, "viewer")
    with pytest.raises(Denied):
        await world.secrets.create(caller, SecretCreate(name="S", value="x"), _key())


async def test_what_was_made_is_gone(world: World) -> None:
    made = await world.secrets.create(world.owner, SecretCreate(name="S", value="x"), _key())
    await world.secrets.delete(world.owner, UUID(made.view.id))
    with pytest.raises(Conflict):
        await world.secrets.create(world.owner, SecretCreate(name="S", value="x"), _key())
    assert not await world.sql("SELECT FROM secret")


async def test_a_replay_shows_nothing_of_a_secret_that_went_where_its_maker_may_not_look(world: World) -> None:
    maker = await world.service_account(frozenset({Permission.SECRET_WRITE}), app="shop")
    body = SecretCreate(name="S", value="x", app="shop")
    made = await world.secrets.create(maker, body, _key())
    assert await world.secrets.create(maker, body, _key()) == made
    target = SecretMove(scope=ScopeTarget(app="blog", environment=None, node=None), name="merger")
    await world.secrets.move(world.owner, UUID(made.view.id), target)
    with pytest.raises(Conflict) as moved:
        await world.secrets.create(maker, body, _key())
    assert "merger" not in str(moved.value)
    await world.bind(maker, frozenset({Permission.SECRET_LIST}), app="blog")
    assert (await world.secrets.create(maker, body, _key())).view.name == "merger"
    await world.secrets.delete(world.owner, UUID(made.view.id))
    with pytest.raises(Conflict) as gone:
        await world.secrets.create(maker, body, _key())
    assert str(gone.value) == str(moved.value)  # it does not tell which


async def test_a_day_later_the_key_is_new_and_others_are_purged(world: World) -> None:
    for number in range(3):
        await world.secrets.create(world.owner, SecretCreate(name=f"S{number}", value="x"), _key(f"k{number}"))
    await world.sql("UPDATE idempotency_key SET created_at = created_at - interval '24 hours 1 second'")
    await world.secrets.create(world.owner, SecretCreate(name="T", value="x"), _key("k1", body=b"other"))
    [left] = await world.sql("SELECT key FROM idempotency_key")
    assert left["key"] == "k1"


@pytest.mark.parametrize("key", ["", "a b", "a\n", "ä", "a" * 129, "\x00"])
def test_what_is_no_key(key: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        _key(key)
    assert not key or key not in caught.value.message or key in "a"


async def test_the_body_is_kept_as_a_keyed_digest_only(world: World) -> None:
    body = b'{"name":"S","value":"hunter2"}'
    await world.secrets.create(world.owner, SecretCreate(name="S", value="hunter2"), _key(body=body))
    [stored] = await world.sql("SELECT t::text AS row FROM idempotency_key t")
    assert "hunter2" not in stored["row"]
    assert "hunter2" not in repr(_key(body=body))
