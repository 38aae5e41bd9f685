"""Twenty tokens are no more than one: what their holder sends delays somebody else by a turn, in every queue and at the gate."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import NotReady, Unauthenticated
from overseer.core.principals import Caller
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.services import token_holders
from overseer.server.services.request_batches import BATCHES_AT_ONCE, RequestBatches
from overseer.server.services.token_holders import TURNS_AT_ONCE
from overseer.server.storage import principal_rows
from overseer.wire.secrets import ResolveRequest, SecretCreate, SecretUpdate, ValueRequest
from tests.integration.services.world import World, eventually

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
TOKENS, EACH, BATCH = 20, 6, 4


async def tokens_of(world: World, caller: Caller, count: int = TOKENS) -> list[bytes]:
    """More tokens of the caller's principal, each used once, so that the process knows whose they are."""
    made = []
    async with world.database.work() as session:
        holder = (await session.fetchrow("actor_by_token", caller.token_hash, ""))["principal_id"]
        for _ in range(count):
            _, digest = new_token(TokenPrefix.API)
            expires_at = datetime.now(UTC) + timedelta(hours=1)
            token = principal_rows.NewToken(digest, uuid4(), holder, "", expires_at, None, None)
            await principal_rows.insert_token(session, token)
            made.append(digest)
    for digest in made:
        await entered(world, digest)
    return made


async def entered(world: World, token_hash: bytes | None) -> None:
    async with world.gate.enter(world.caller(token_hash), AuditAction.SECRET_LIST) as entry:
        entry.accept(Resource("secret"))


async def place_in_line(
    queue: RequestBatches[Any, Any], monkeypatch: pytest.MonkeyPatch, flood: Callable[[int], Any], other: Callable[[], Any]
) -> int:
    """How many requests a batch took before the one that came behind the whole flood."""
    run, going, order, arrived = queue._run_batch, asyncio.Event(), list[Any](), list[Any]()

    async def recorded(*arguments: Any) -> Any:
        await going.wait()
        order.extend(arguments[-1])
        return await run(*arguments)

    ask = queue.ask

    async def arriving(request: Any) -> Any:
        arrived.append(request)
        return await ask(request)

    monkeypatch.setattr(queue, "_run_batch", recorded)
    monkeypatch.setattr(queue, "_most_in_batch", BATCH)
    monkeypatch.setattr(queue, "ask", arriving)
    crowd = [asyncio.create_task(flood(number)) for number in range(TOKENS * EACH)]
    await eventually(lambda: len(arrived) == TOKENS * EACH)
    mine = asyncio.create_task(other())
    await eventually(lambda: len(arrived) > TOKENS * EACH)
    going.set()
    await mine
    await asyncio.gather(*crowd)
    return next(at for at, one in enumerate(order) if one is arrived[-1])


@pytest.mark.parametrize("kind", ["reveal", "resolve", "update", "create"])
async def test_twenty_tokens_of_one_put_one_turn_before_another(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    flooding, other = await world.service_account("owner"), await world.service_account("owner")
    digests = await tokens_of(world, flooding)
    await entered(world, other.token_hash)
    secrets = [UUID((await world.secret(f"s{n}")).id) for n in range(3)]
    service, resolver, writes = world.secrets, world.resolver, world.secrets._write_batches
    queue, call = {
        "reveal": (service._batches._batches, lambda who, n: service.reveal(who, secrets[n % 3], ValueRequest())),
        "resolve": (resolver._batches._batches, lambda who, n: resolver.resolve(who, ResolveRequest(names=[f"s{n % 3}"]))),
        "update": (writes.updates, lambda who, n: service.update(who, secrets[n % 2], SecretUpdate(value="v2"), None)),
        "create": (writes.creates, lambda who, n: service.create(who, SecretCreate(name=f"new{n}", value="v"))),
    }[kind]

    def flood(number: int) -> Any:
        return call(world.caller(digests[number % TOKENS]), 0 if kind == "update" else number)

    before = await place_in_line(queue, monkeypatch, flood, lambda: call(world.caller(other.token_hash), 1001))
    assert before <= BATCHES_AT_ONCE * BATCH + 1


async def test_made_up_tokens_are_one_peer(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is not known yet counts for the address: other tokens each time are still one share."""
    secret = UUID((await world.secret("a")).id)
    other = await world.service_account("owner")
    await entered(world, other.token_hash)

    async def refused(number: int) -> None:
        with pytest.raises(Unauthenticated):
            await world.secrets.reveal(world.caller(number.to_bytes(32)), secret, ValueRequest())

    queue = world.secrets._batches._batches
    before = await place_in_line(
        queue, monkeypatch, refused, lambda: world.secrets.reveal(world.caller(other.token_hash), secret, ValueRequest())
    )
    assert before <= BATCHES_AT_ONCE * BATCH + 1


async def test_the_gate_leaves_connections_to_others(world: World) -> None:
    """However many tokens wait, their principal has five transactions; a stranger's is the next one."""
    flooding, other = await world.service_account("owner"), await world.service_account("owner")
    digests = await tokens_of(world, flooding)
    await entered(world, other.token_hash)
    inside, going = list[bytes](), asyncio.Event()

    async def held(token_hash: bytes) -> None:
        async with world.gate.enter(world.caller(token_hash), AuditAction.SECRET_LIST) as entry:
            inside.append(token_hash)
            await going.wait()
            entry.accept(Resource("secret"))

    crowd = [asyncio.create_task(held(digest)) for digest in digests]
    await eventually(lambda: len(inside) == TURNS_AT_ONCE)
    await entered(world, other.token_hash)
    assert len(inside) == TURNS_AT_ONCE
    going.set()
    await asyncio.gather(*crowd)
    assert sorted(inside) == sorted(digests)
    assert not world.gate._turns._lines  # nothing is kept of who has gone


async def test_who_waits_for_its_own_requests_is_told_after_a_while(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_holders, "TURN_SECONDS", 0.05)
    going, inside = asyncio.Event(), list[int]()

    async def held() -> None:
        async with world.gate.enter(world.caller(world.owner.token_hash), AuditAction.SECRET_LIST) as entry:
            inside.append(1)
            await going.wait()
            entry.accept(Resource("secret"))

    await entered(world, world.owner.token_hash)
    crowd = [asyncio.create_task(held()) for _ in range(TURNS_AT_ONCE)]
    await eventually(lambda: len(inside) == TURNS_AT_ONCE)
    with pytest.raises(NotReady) as refused:
        await entered(world, world.owner.token_hash)
    assert refused.value.retry_after == 1
    going.set()
    await asyncio.gather(*crowd)


async def test_a_token_that_was_refused_counts_for_whoever_sends_it(world: World) -> None:
    [digest] = await tokens_of(world, await world.service_account("owner"), 1)
    assert world.gate.holders.of(digest) is not None
    await world.sql("UPDATE token SET revoked_at = now() WHERE hash = $1", digest)
    with pytest.raises(Unauthenticated):
        await entered(world, digest)
    assert world.gate.holders.of(digest) is None
