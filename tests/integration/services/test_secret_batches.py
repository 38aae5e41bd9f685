"""Batches of changes: all or nothing, every bad operation named, decided and audited one by one."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any
from uuid import UUID

import msgspec
import pytest

from overseer.core.errors import BatchRefused, Denied, IdempotencyMismatch, InvalidInput, OverseerError, Unavailable
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.idempotency import Idempotency
from overseer.wire.secret_batches import ScopeTarget, SecretBatch, SecretBatchAnswer, SecretMove
from overseer.wire.secrets import ResolveRequest, SecretUpdate, ValueRequest
from tests.integration.services.world import World, text, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def batch(
    world: World, *operations: dict[str, Any], caller: Caller | None = None, key: str | None = None
) -> SecretBatchAnswer:
    body = msgspec.convert({"operations": list(operations)}, SecretBatch)
    idempotency = None if key is None else Idempotency(key, "POST /api/secrets/batch", msgspec.json.encode(body))
    return await world.secrets.batch(caller or world.owner, body, idempotency)


async def value(world: World, secret_id: str) -> str:
    return text((await world.secrets.reveal(world.owner, UUID(secret_id), ValueRequest())).value)


def codes(error: OverseerError) -> list[tuple[str, str]]:
    return [(problem.place, problem.code) for problem in error.problems]


async def everything(world: World) -> list[Any]:
    return [await world.sql(f"SELECT * FROM {table} ORDER BY 1, 2") for table in ("secret", "secret_version")]


async def test_every_kind_of_operation_in_one_moment(world: World) -> None:
    kept, patched, older, rotated, gone = [await world.secret(f"s{n}", f"old-{n}") for n in range(5)]
    await world.secrets.update(world.owner, UUID(older.id), SecretUpdate(value="second"))
    caller = world.caller(world.owner.token_hash)
    answer = await batch(
        world,
        {"operation": "create", "name": "made", "value": "n1", "app": "shop", "labels": {"team": "a"}},
        {"operation": "set", "name": "s0", "value": "n2", "description": "now described"},
        {"operation": "set", "name": "also-made", "generate": "hex:16", "app": "shop"},
        {"operation": "patch", "id": patched.id, "owner": "team-a"},
        {"operation": "activate", "id": older.id, "version": 1},
        {"operation": "rotate", "id": rotated.id},
        {"operation": "delete", "id": gone.id},
        caller=caller,
    )
    views = [result.secret for result in answer.results]
    assert [result.index for result in answer.results] == list(range(7))
    assert [view and (view.name, view.version, view.active_version) for view in views] == [
        ("made", 1, 1), ("s0", 2, 2), ("also-made", 1, 1), ("s1", 1, 1), ("s2", 2, 1), ("s3", 2, 2), None,
    ]  # fmt: skip
    assert views[0] is not None
    assert views[1] is not None
    assert (await value(world, views[0].id), await value(world, kept.id)) == ("n1", "n2")
    assert (views[1].description, answer.results[6].id, answer.results[6].etag) == ("now described", gone.id, None)
    rows = await world.audit(caller)
    assert [(row["action"], row["outcome"], row["version"]) for row in rows] == [
        ("secret:create", "allowed", 1), ("secret:update", "allowed", 2), ("secret:create", "allowed", 1),
        ("secret:patch", "allowed", None), ("secret:activate", "allowed", 1), ("secret:rotate", "allowed", 2),
        ("secret:delete", "allowed", None),
    ]  # fmt: skip
    assert all(row["resource_id"] for row in rows)


async def test_one_bad_operation_of_fifty_changes_nothing_and_every_bad_one_is_named(world: World) -> None:
    present = await world.secret("present", "old")
    before = await everything(world)
    operations: list[dict[str, Any]] = [{"operation": "create", "name": f"n{n}", "value": "v"} for n in range(46)]
    operations[7]["name"] = "not a name"
    operations[20]["app"] = "no-such-app"
    operations[21]["labels"] = {"bad key!": "x"}
    operations += [
        {"operation": "update", "id": present.id, "value": "a", "value_base64": "YQ=="},
        {"operation": "delete", "id": str(uuid.uuid4())},
        {"operation": "create", "name": "n0", "value": "twin"},
        {"operation": "update", "id": present.id, "generate": "hex:9999999"},
    ]
    with pytest.raises(Unavailable) as refused:
        await batch(world, *operations)
    assert codes(refused.value) == [
        ("body.operations[7].name", "bad_name"),
        ("body.operations[20].app", "unavailable"),
        ("body.operations[47]", "unavailable"),
        ("body.operations[21].labels", "bad_name"),
        ("body.operations[46]", "bad_value"),
        ("body.operations[49].generate", "bad_generator"),
        ("body.operations[48]", "doubled_target"),
        ("body.operations[49]", "doubled_target"),
    ]
    assert refused.value.message == "nothing was changed: 7 of 50 operations cannot be done"
    assert await everything(world) == before


async def test_the_state_refuses_with_a_conflict_that_lists_all_of_it(world: World) -> None:
    one, two = await world.secret("one"), await world.secret("two")
    before = await everything(world)
    with pytest.raises(BatchRefused) as refused:
        await batch(
            world,
            {"operation": "create", "name": "one", "value": "x"},
            {"operation": "patch", "id": two.id, "owner": "o", "if_match": '"v9"'},
            {"operation": "create", "name": "fine", "value": "x"},
        )
    assert codes(refused.value) == [("body.operations[1]", "precondition_failed"), ("body.operations[0]", "already_exists")]
    with pytest.raises(InvalidInput) as mixed:
        await batch(
            world,
            {"operation": "create", "name": "one", "value": "x"},
            {"operation": "create", "name": "bad", "value": "x", "labels": {"a b": ""}},
            {"operation": "update", "id": two.id, "value": "x", "if_match": '"v9"'},
        )
    assert codes(mixed.value) == [
        ("body.operations[1].labels", "bad_name"),
        ("body.operations[2]", "precondition_failed"),
        ("body.operations[0]", "already_exists"),
    ]
    with pytest.raises(BatchRefused) as refused:
        await batch(world, *({"operation": "create", "name": name, "value": "x"} for name in ("fine", "one")))
    assert codes(refused.value) == [("body.operations[1]", "already_exists")]
    with pytest.raises(Unavailable):
        await batch(world, {"operation": "activate", "id": one.id, "version": 7})
    assert await everything(world) == before
    assert (await batch(world, {"operation": "delete", "id": one.id, "if_match": '"v1-r1"'})).results[0].secret is None


async def test_each_operation_is_decided_and_a_stranger_learns_nothing(world: World) -> None:
    hidden = await world.secret("hidden", app="blog")
    mine = await world.secret("mine", app="shop")
    caller = await world.service_account(frozenset({Permission.SECRET_LIST, Permission.SECRET_ROTATE}), app="shop")
    with pytest.raises(Denied) as refused:
        await batch(
            world,
            {"operation": "update", "id": mine.id, "value": "x"},
            {"operation": "rotate", "id": mine.id, "value": "own"},
            {"operation": "delete", "id": hidden.id},
            {"operation": "delete", "id": str(uuid.uuid4())},
            {"operation": "create", "name": "n", "value": "x", "app": "blog"},
            caller=caller,
        )
    assert codes(refused.value)[:5] == [
        ("body.operations[0]", "denied"), ("body.operations[1]", "denied"), ("body.operations[2]", "unavailable"),
        ("body.operations[3]", "unavailable"), ("body.operations[4]", "unavailable"),
    ]  # fmt: skip
    told = [problem.rule for problem in refused.value.problems]
    assert told[2] == told[3]
    rows = [(row["action"], row["outcome"]) for row in await world.audit(caller)]
    assert rows == [
        ("secret:update", "denied"), ("secret:rotate", "denied"), ("secret:delete", "denied"), ("secret:delete", "failed"),
        ("secret:create", "denied"),
    ]  # fmt: skip


async def test_readers_see_all_old_or_all_new(world: World) -> None:
    names = [f"r{n}" for n in range(20)]
    ids = [(await world.secret(name, "0")).id for name in names]
    done = asyncio.Event()
    seen: set[tuple[str, ...]] = set()

    async def read() -> None:
        while not done.is_set():
            values = await world.resolver.resolve(world.owner, ResolveRequest(names=names))
            seen.add(tuple(sorted({text(one.value) for one in values})))

    async def write() -> None:
        for round_ in range(1, 16):
            await batch(world, *({"operation": "update", "id": one, "value": str(round_)} for one in ids))
        done.set()

    await asyncio.gather(read(), read(), write())
    assert len(seen) > 1
    assert all(len(values) == 1 for values in seen)


async def test_batches_in_opposite_orders_do_not_wait_for_each_other(world: World) -> None:
    ids = [(await world.secret(f"d{n}", "0")).id for n in range(12)]

    def operations(order: list[str], mark: str) -> list[dict[str, Any]]:
        fresh = [{"operation": "set", "name": f"f{one[-4:]}", "value": mark, "app": "shop"} for one in order]
        return [{"operation": "update", "id": one, "value": mark} for one in order] + fresh

    results = await together(*(batch(world, *operations(ids if n % 2 else ids[::-1], str(n))) for n in range(6)))
    # Those that found no row and lost the race for a name are refused as a whole; none ends in a deadlock.
    assert all(isinstance(one, SecretBatchAnswer | BatchRefused) for one in results), results
    values = {await value(world, one) for one in ids}
    assert len(values) == 1


async def test_a_repeated_batch_changes_once(world: World) -> None:
    old, gone = await world.secret("old", "1"), await world.secret("gone", "1")
    operations = (
        {"operation": "create", "name": "made", "value": "v"},
        {"operation": "update", "id": old.id, "value": "2"},
        {"operation": "delete", "id": gone.id},
    )
    first = await batch(world, *operations, key="k1")
    caller = world.caller(world.owner.token_hash)
    again = await batch(world, *operations, key="k1", caller=caller)
    assert again == first
    assert [(row["outcome"], row["code"]) for row in await world.audit(caller)] == [("allowed", "replayed")] * 3
    with pytest.raises(IdempotencyMismatch):
        await batch(world, *operations[:2], key="k1")
    without = await world.service_account()
    with pytest.raises((Denied, Unavailable)):
        await batch(world, *operations, key="k1", caller=without)
    [row] = await world.sql("SELECT * FROM secret_batch")
    assert [str(one) for one in row["secret_ids"]] == [result.id for result in first.results]


async def test_a_repeated_batch_shows_nothing_of_what_went_where_its_maker_may_not_look(world: World) -> None:
    maker = await world.service_account(frozenset({Permission.SECRET_WRITE}), app="shop")
    operations = [{"operation": kind, "name": kind, "value": "v", "app": "shop"} for kind in ("create", "set")]
    first = await batch(world, *operations, key="k1", caller=maker)
    assert isinstance(first, SecretBatchAnswer)
    for name, result in zip(("merger", "offer"), first.results, strict=True):
        blog = ScopeTarget(app="blog", environment=None, node=None)
        await world.secrets.move(world.owner, UUID(result.id), SecretMove(scope=blog, name=name))
    again = await batch(world, *operations, key="k1", caller=maker)
    assert isinstance(again, SecretBatchAnswer)
    assert [(one.id, one.secret, one.etag) for one in again.results] == [(one.id, None, None) for one in first.results]
    await world.bind(maker, frozenset({Permission.SECRET_LIST}), app="blog", name="offer")
    shown = await batch(world, *operations, key="k1", caller=maker)
    assert isinstance(shown, SecretBatchAnswer)
    assert [one.secret and one.secret.name for one in shown.results] == [None, "offer"]


async def test_five_hundred_at_once_and_not_one_more(world: World) -> None:
    answer = await batch(world, *({"operation": "create", "name": f"m{n}", "value": "v", "app": "shop"} for n in range(500)))
    assert len({result.id for result in answer.results}) == 500
    for count in (0, 501):
        with pytest.raises((msgspec.ValidationError, InvalidInput)):
            await batch(world, *({"operation": "create", "name": f"x{n}", "value": "v"} for n in range(count)))


async def test_two_with_one_entity_tag_one_wins(world: World) -> None:
    one = await world.secret("tagged")
    operation = {"operation": "update", "id": one.id, "value": "x", "if_match": '"v1"'}
    results = await together(batch(world, operation), batch(world, operation))
    assert sorted(type(result).__name__ for result in results) == ["BatchRefused", "SecretBatchAnswer"]
