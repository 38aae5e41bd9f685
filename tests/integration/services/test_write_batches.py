"""Batches of writes and resolves: one outcome and one row for each request, whatever happens to others and to the database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from overseer.core.errors import AlreadyExists, DecryptionFailed, NotReady, OverseerError, PreconditionFailed
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.idempotency import Idempotency
from overseer.server.services.request_batches import RequestBatches
from overseer.server.services.resolve_batches import ResolveBatches
from overseer.server.services.write_batches import LARGE_VALUE, WriteBatches
from overseer.wire.secrets import ResolveRequest, SecretCreate, SecretUpdate, ValueRequest
from tests.integration.services.world import World, text, together

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
BODY = SecretUpdate(value="v2")


def made(world: World) -> WriteBatches:
    return WriteBatches(world.gate, world.keys, world.idempotency)


def owner(world: World) -> Any:
    return world.caller(world.owner.token_hash)


async def outcomes(world: World, action: str) -> list[str]:
    return [row["outcome"] for row in await world.audit() if row["action"] == action]


async def test_plain_writes_are_written_in_few_batches(world: World) -> None:
    secrets = [await world.secret(f"s{n}", app="shop") for n in range(30)]
    sizes: list[int] = []
    batches = world.secrets._write_batches
    batches.updates._run_batch = counted(batches.updates, sizes)  # type: ignore[method-assign]
    changed = await together(*(world.secrets.update(owner(world), UUID(one.id), BODY, None) for one in secrets))
    assert {one.view.version for one in changed} == {2}
    assert sum(sizes) == 30
    assert len(sizes) < 10
    assert await outcomes(world, "secret:update") == ["allowed"] * 30
    values = [await world.secrets.reveal(owner(world), UUID(one.id), ValueRequest()) for one in secrets]
    assert {text(one.value) for one in values} == {"v2"}
    [row] = await world.sql("SELECT count(readable_until) AS graced FROM secret_version WHERE version = 1")
    assert row["graced"] == 30


def counted(queue: RequestBatches[Any, Any], sizes: list[int]) -> Any:
    run = queue._run_batch

    async def counting(requests: Any) -> Any:
        sizes.append(len(requests))
        return await run(requests)

    return counting


async def test_writers_of_one_secret_get_a_version_each(world: World) -> None:
    secret = UUID((await world.secret("a")).id)
    calls = [world.secrets.update(owner(world), secret, SecretUpdate(value=f"v{n}"), None) for n in range(20)]
    changed = await asyncio.gather(*calls)
    assert sorted(one.view.version for one in changed) == list(range(2, 22))
    assert len({one.etag for one in changed}) == 20


async def test_of_two_writers_with_one_tag_one_wins(world: World) -> None:
    secret = UUID((await world.secret("a")).id)
    found = await together(*(world.secrets.update(owner(world), secret, BODY, '"v1-r1"') for _ in range(2)))
    assert sorted(type(one).__name__ for one in found) == ["PreconditionFailed", "Tagged"]
    assert next(one for one in found if isinstance(one, PreconditionFailed)).current_version == 2
    assert sorted(await outcomes(world, "secret:update")) == ["allowed", "failed"]


async def test_a_key_that_is_sent_again_changes_once(world: World) -> None:
    secret = UUID((await world.secret("a")).id)
    key = Idempotency("k1", "PUT /api/secrets/{secret_id}", b"{}")
    found = await together(*(world.secrets.update(owner(world), secret, BODY, None, key) for _ in range(5)))
    assert [one.view.version for one in found] == [2] * 5
    codes = [row["code"] for row in await world.audit() if row["action"] == "secret:update"]
    assert sorted(codes) == ["", *["replayed"] * 4]
    create = Idempotency("k1", "POST /api/secrets", b"{}")
    bodies = [SecretCreate(name="new", value="v")] * 3
    ids = {one.view.id for one in await together(*(world.secrets.create(owner(world), body, create) for body in bodies))}
    assert len(ids) == 1


async def test_two_create_the_same_and_one_has_it(world: World) -> None:
    await world.secret("first", app="shop")
    body = SecretCreate(name="same", value="v", app="shop")
    found = await together(*(world.secrets.create(owner(world), body) for _ in range(8)))
    assert len([one for one in found if isinstance(one, AlreadyExists)]) == 7
    assert sorted(await outcomes(world, "secret:create")) == ["allowed"] * 2 + ["failed"] * 7


async def test_two_servers_create_and_change_the_same_without_waiting_for_each_other(world: World) -> None:
    secrets = [UUID((await world.secret(f"s{n}", app="shop")).id) for n in range(12)]
    servers = [made(world), made(world)]
    updates = [one.update(owner(world), secret, BODY, None, None) for one in servers for secret in secrets]
    creates = [
        one.create(owner(world), SecretCreate(name=f"new{n}", value="v", app="shop"), None)
        for one, order in zip(servers, (range(12), reversed(range(12))), strict=True)
        for n in order
    ]
    found = await together(*updates, *creates)
    assert not [one for one in found if isinstance(one, BaseException)]
    counts = "SELECT sum(latest_version - 1) AS added, count(*) FILTER (WHERE name LIKE 'new%') AS made FROM secret"
    [row] = await world.sql(counts)
    written = [one for one in found if one is not None]
    assert len(written) == row["added"] + row["made"]
    assert row["made"] == 12


@pytest.mark.parametrize("large", [False, True])
async def test_a_poison_row_fails_alone(world: World, monkeypatch: pytest.MonkeyPatch, large: bool) -> None:
    secrets = [UUID((await world.secret(f"s{n}")).id) for n in range(9)]
    callers = [owner(world) for _ in secrets]
    callers[4] = replace(callers[4], token_hash="not bytes")
    batches = made(world)
    body = SecretUpdate(value="x" * (LARGE_VALUE + 1)) if large else BODY
    found = await together(*(batches.update(*one, body, None, None) for one in zip(callers, secrets, strict=True)))
    assert [one is None for one in found] == [large or n == 4 for n in range(9)]
    assert len(await outcomes(world, "secret:update")) == (0 if large else 8)


async def test_a_cancelled_write_is_done_and_audited(world: World) -> None:
    secret = UUID((await world.secret("a")).id)
    batches, caller = made(world), owner(world)
    task = asyncio.create_task(batches.update(caller, secret, BODY, None, None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await batches.updates.settled()
    assert [row["outcome"] for row in await world.audit(caller)] == ["allowed"]
    assert (await world.secrets.get(owner(world), secret)).view.version == 2


async def test_a_full_queue_is_told_to_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = [UUID((await world.secret(f"s{n}")).id) for n in range(20)]
    monkeypatch.setattr(world.secrets._write_batches.updates, "_most_waiting", 3)
    monkeypatch.setattr(world.resolver._batches._batches, "_most_waiting", 3)
    writes = [world.secrets.update(owner(world), secret, BODY, None) for secret in secrets]
    reads = [world.resolver.resolve(owner(world), ResolveRequest(names=["s1", "s2"])) for _ in secrets]
    for action, rows_each, calls in (("secret:update", 1, writes), ("secret:resolve", 2, reads)):
        found = await together(*calls)
        refused = [one for one in found if isinstance(one, NotReady)]
        assert refused
        assert {one.retry_after for one in refused} == {1}
        assert await outcomes(world, action) == ["allowed"] * rows_each * (len(found) - len(refused))


async def test_a_lost_connection_fails_all_and_nothing_is_tried_again(world: World) -> None:
    secrets = [UUID((await world.secret(f"s{n}")).id) for n in range(4)]
    writes, resolves = made(world), ResolveBatches(world.database, world.gate)
    async with world.connection() as other:
        await other.execute("BEGIN; LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")
        waiting = [asyncio.create_task(writes.update(owner(world), secret, BODY, None, None)) for secret in secrets]
        waiting += [asyncio.create_task(resolves.release(owner(world), Scope(), ["s1"])) for _ in range(3)]
        found = await world.cut_off(*waiting)
        await other.execute("ROLLBACK")
    assert any(isinstance(one, NotReady) for one in found[:4])
    assert any(isinstance(one, NotReady) for one in found[4:])
    done = [one for one in found if not isinstance(one, BaseException)]
    rows = await outcomes(world, "secret:update") + await outcomes(world, "secret:resolve")
    assert rows == ["allowed"] * len(done)
    [row] = await world.sql("SELECT sum(latest_version - 1) AS added FROM secret")
    assert row["added"] == len([one for one in found[:4] if not isinstance(one, BaseException)])
    assert await writes.update(owner(world), secrets[0], BODY, None, None) is not None


async def test_without_the_log_nothing_is_written_or_released(world: World) -> None:
    secret = UUID((await world.secret("a")).id)
    async with world.connection() as other:
        await other.execute("REVOKE INSERT (request_id) ON audit FROM overseer_service")
        try:
            found = await together(
                world.secrets.update(owner(world), secret, BODY, None),
                world.resolver.resolve(owner(world), ResolveRequest(names=["a"])),
            )
        finally:
            await other.execute("GRANT INSERT (request_id) ON audit TO overseer_service")
    assert [one.code for one in found if isinstance(one, OverseerError)] == ["audit_unavailable"] * 2
    assert (await world.secrets.get(owner(world), secret)).view.version == 1


async def test_a_value_of_many_that_does_not_open_is_corrected_in_the_log(world: World) -> None:
    first, second = [UUID((await world.secret(name, app="shop")).id) for name in ("a", "b")]
    await world.sql("UPDATE secret_version SET ciphertext = ciphertext || '\\x00' WHERE secret_id = $1", second)
    caller = owner(world)
    with pytest.raises(DecryptionFailed, match=str(second)):
        await world.resolver.resolve(caller, ResolveRequest(names=["a", "b"], app="shop"))
    rows = [(row["outcome"], row["resource_id"], row["version"]) for row in await world.audit(caller)]
    assert rows == [("allowed", first, 1), ("allowed", second, 1), ("failed", second, 1)]


async def test_many_resolves_at_once_leave_a_row_for_each_name(world: World) -> None:
    for name in ("a", "b", "c"):
        await world.secret(name, f"value of {name}", app="shop")
    nobody = await world.service_account(frozenset({Permission.SECRET_LIST}))
    body = ResolveRequest(names=["c", "a", "b"], app="shop", reason="incident 7")
    callers = [owner(world) for _ in range(40)]
    refused = [world.caller(nobody.token_hash) for _ in range(10)]
    found = await together(*(world.resolver.resolve(caller, body) for caller in [*callers, *refused]))
    assert [[text(one.value)[-1] for one in values] for values in found[:40]] == [["c", "a", "b"]] * 40
    assert all(isinstance(one, OverseerError) for one in found[40:])
    log = await world.sql(
        "SELECT a.request_id, a.resource_name, a.outcome, t.reason FROM audit a LEFT JOIN audit_text t ON t.id = a.text_id"
        " WHERE a.action = 'secret:resolve' ORDER BY a.xact, a.id"
    )
    for callers_, outcome in ((callers, "allowed"), (refused, "denied")):
        for caller in callers_:
            rows = [tuple(row)[1:] for row in log if row["request_id"] == caller.request_id]
            assert rows == [(name, outcome, "incident 7") for name in ("c", "a", "b")]
