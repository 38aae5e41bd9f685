"""A batch of reveals decides, audits and answers as the gate does for each request alone."""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from overseer.core.errors import InvalidInput, NotReady, OverseerError, Unauthenticated
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.reveal_batches import RevealBatches
from overseer.server.storage.scope_rows import Part
from overseer.wire.secrets import SecretUpdate, ValueRequest
from tests.integration.services.world import World, text

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COLUMNS = (
    "actor_id", "actor_name", "actor_kind", "token_id", "action", "outcome", "code", "resource_kind", "resource_id",
    "resource_name", "app", "environment", "node", "version", "peer", "client", "repeats",
)  # fmt: skip


async def some_group(world: World, member: Caller) -> UUID:
    group = uuid4()
    await world.sql("INSERT INTO principal_group (id, name) VALUES ($1, $2)", group, f"g-{group.hex[:8]}")
    [row] = await world.sql("SELECT principal_id FROM token WHERE hash = $1", member.token_hash)
    await world.sql("INSERT INTO group_member VALUES ($1, $2)", row["principal_id"], group)
    return group


async def random_callers(world: World, dice: random.Random) -> list[Caller]:
    """Callers with random bindings of their own and of groups, some of them expired; some credentials are dead."""
    callers = [world.caller(None), world.caller(b"x" * 32), world.owner]
    sets = [
        frozenset({Permission.SECRET_REVEAL}),
        frozenset({Permission.SECRET_LIST}),
        frozenset({Permission.SECRET_REVEAL, Permission.SECRET_LIST}),
        frozenset({Permission.SECRET_USE}),
    ]
    for _ in range(8):
        caller = await world.service_account()
        group = await some_group(world, caller)
        for _ in range(dice.randint(0, 3)):
            await world.bind(
                caller,
                dice.choice(sets),
                app=dice.choice(["any", "unset", "shop", "blog"]),
                environment=dice.choice(["any", "any", "unset", "prod"]),
                node=dice.choice(["any", "any", "unset", "n1"]),
                name=dice.choice(["*", "db-*", "db-main", "db_*", "DB-*", "%"]),
                expires_at=dice.choice([None, None, *(datetime.now(UTC) + timedelta(hours=hours) for hours in (-1, 1))]),
                subject=dice.choice([None, group]),
                emergency=dice.choice([None, None, "dormant", "active", "over"]),
            )
        callers.append(caller)
    dead = [await world.service_account("owner") for _ in range(4)]
    await world.sql("UPDATE token SET revoked_at = now() WHERE hash = $1", dead[0].token_hash)
    await world.sql("UPDATE token SET expires_at = now() WHERE hash = $1", dead[1].token_hash)
    await world.sql("UPDATE token SET networks = '{10.0.0.0/8}' WHERE hash = $1", dead[2].token_hash)
    await world.sql(
        "UPDATE principal SET disabled_at = now() WHERE id = (SELECT principal_id FROM token WHERE hash = $1)", dead[3].token_hash
    )
    return callers + dead


async def random_secrets(world: World) -> list[UUID]:
    places: list[dict[str, str]] = [
        {}, {"app": "shop"}, {"app": "blog"}, {"environment": "prod"}, {"node": "n1"},
        {"app": "shop", "environment": "prod"}, {"app": "shop", "environment": "prod", "node": "n1"},
    ]  # fmt: skip
    made = [await world.secret(name, **place) for place in places for name in ("db-main", "dbXmain", "api-key")]
    await world.secrets.update(world.owner, UUID(made[0].id), SecretUpdate(value="second"), None)
    return [UUID(secret.id) for secret in made] + [uuid4()]


async def answer(call: Any) -> tuple[Any, ...]:
    """What a caller sees: the value's place, or the error's class and text."""
    try:
        released = await call
    except OverseerError as error:
        return (type(error), error.message)
    return (released.name, released.stored.secret_id, released.stored.version)


async def row_of(world: World, caller: Caller) -> tuple[Any, ...]:
    [row] = await world.audit(caller)
    return tuple(row[column] for column in COLUMNS)


@pytest.mark.parametrize("seed", range(3))
async def test_a_batch_and_the_gate_agree_on_answers_and_rows(world: World, seed: int) -> None:
    dice = random.Random(seed)  # noqa: S311  # a repeatable sample
    callers, secrets = await random_callers(world, dice), await random_secrets(world)
    asked = [(dice.choice(callers), dice.choice(secrets), dice.choice([None, None, 1, 2, 7, -1, 2**40])) for _ in range(120)]
    asked += [(caller, secrets[0], None) for caller in callers]
    world.gate._limits._burst = 10**6  # the limits are another test's subject
    batches = RevealBatches(world.database, world.gate)
    in_batch = [(world.caller(caller.token_hash), secret, version) for caller, secret, version in asked]
    alone = [(world.caller(caller.token_hash), secret, version) for caller, secret, version in asked]
    together = await asyncio.gather(*(answer(batches.release(*request)) for request in in_batch))
    one_by_one = [await answer(world.secrets._release_alone(*request)) for request in alone]
    assert together == one_by_one
    assert len({type(found[0]) for found in together}) > 1, "the sample must hold both answers and refusals"
    for (first, *_), (second, *_) in zip(in_batch, alone, strict=True):
        assert await row_of(world, first) == await row_of(world, second)


async def test_many_at_once_leave_one_row_each(world: World) -> None:
    secret = await world.secret("a", "v", app="shop")
    callers = [world.caller(world.owner.token_hash) for _ in range(300)]
    values = await asyncio.gather(*(world.secrets.reveal(caller, UUID(secret.id), ValueRequest()) for caller in callers))
    assert {text(found.value) for found in values} == {"v"}
    counts = await world.sql("SELECT request_id, count(*) AS n FROM audit WHERE action = 'secret:reveal' GROUP BY 1")
    assert {row["request_id"] for row in counts} == {caller.request_id for caller in callers}
    assert {row["n"] for row in counts} == {1}


async def test_a_revocation_and_a_new_version_hold_on_the_next_request(world: World) -> None:
    secret = await world.secret("a", "v1")
    reader = await world.service_account("developer")
    reveal = world.secrets.reveal
    assert text((await reveal(reader, UUID(secret.id), ValueRequest())).value) == "v1"
    await world.secrets.update(world.owner, UUID(secret.id), SecretUpdate(value="v2"), None)
    assert text((await reveal(world.caller(reader.token_hash), UUID(secret.id), ValueRequest())).value) == "v2"
    await world.sql("UPDATE token SET revoked_at = now() WHERE hash = $1", reader.token_hash)
    with pytest.raises(Unauthenticated, match="token_revoked"):
        await reveal(world.caller(reader.token_hash), UUID(secret.id), ValueRequest())


async def test_a_reason_lies_beside_the_row(world: World) -> None:
    secret = await world.secret("a", "v")
    caller = world.caller(world.owner.token_hash)
    await world.secrets.reveal(caller, UUID(secret.id), ValueRequest(reason="incident 7\x00"))
    [row] = await world.sql(
        "SELECT t.reason, a.text_commitment = sha256(t.salt || convert_to(t.reason, 'UTF8') || '\\x00'::bytea"
        " || convert_to(t.user_agent, 'UTF8')) AS bound"
        " FROM audit a JOIN audit_text t ON t.id = a.text_id WHERE a.request_id = $1",
        caller.request_id,
    )
    assert (row["reason"], row["bound"]) == ("incident 7\ufffd", True)


async def test_a_cancelled_request_stays_audited(world: World) -> None:
    secret = await world.secret("a", "v")
    batches = RevealBatches(world.database, world.gate)
    caller = world.caller(world.owner.token_hash)
    task = asyncio.create_task(batches.release(caller, UUID(secret.id), None))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await batches._batches.settled()
    assert [row["outcome"] for row in await world.audit(caller)] == ["allowed"]


async def test_one_bad_row_fails_alone(world: World) -> None:
    secret = await world.secret("a", "v")
    batches = RevealBatches(world.database, world.gate)
    good = [world.caller(world.owner.token_hash) for _ in range(20)]
    bad = Caller("not bytes", "bad", "192.0.2.1", "test")  # type: ignore[arg-type]
    calls = [batches.release(caller, UUID(secret.id), None) for caller in [*good[:7], bad, *good[7:]]]
    found = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(found[7], InvalidInput)
    assert all(not isinstance(one, BaseException) for one in found[:7] + found[8:])
    for caller in good:
        assert len(await world.audit(caller)) == 1


async def test_a_full_queue_is_told_to_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = await world.secret("a", "v")
    batches = RevealBatches(world.database, world.gate)
    monkeypatch.setattr(batches._batches, "_most_waiting", 5)
    calls = [batches.release(world.caller(world.owner.token_hash), UUID(secret.id), None) for _ in range(40)]
    found = await asyncio.gather(*calls, return_exceptions=True)
    refused = [one for one in found if isinstance(one, NotReady)]
    assert refused
    assert all(one.retry_after == 1 for one in refused)
    assert len(found) - len(refused) == len([1 for row in await world.audit() if row["action"] == "secret:reveal"])


async def test_a_lost_connection_is_an_error_and_the_next_batch_works(world: World) -> None:
    secret = await world.secret("a", "v")
    batches = RevealBatches(world.database, world.gate)
    async with world.connection() as other:
        await other.execute("BEGIN; LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")
        waiting = [
            asyncio.create_task(batches.release(world.caller(world.owner.token_hash), UUID(secret.id), None)) for _ in range(5)
        ]
        found = await world.cut_off(*waiting)
        await other.execute("ROLLBACK")
    assert all(isinstance(one, NotReady) for one in found)
    assert await batches.release(world.caller(world.owner.token_hash), UUID(secret.id), None) is not None


async def test_a_flood_of_denials_is_counted_and_not_written_in_full(world: World) -> None:
    secret = await world.secret("a", "v")
    nobody = await world.service_account()
    for _ in range(300):
        with pytest.raises(OverseerError):
            await world.secrets.reveal(world.caller(nobody.token_hash), UUID(secret.id), ValueRequest())
    await world.gate.flush()
    [row] = await world.sql("SELECT count(*) AS rows, sum(repeats) AS denials FROM audit WHERE action = 'secret:reveal'")
    assert row["denials"] == 300
    assert row["rows"] < 300


async def test_values_beyond_the_limit_of_a_batch_are_read_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    await world.add(Part.APP, "big")
    secrets = [await world.secret(f"s{n}", "x" * 1000, app="big") for n in range(8)]
    monkeypatch.setattr("overseer.server.storage.reveal_rows.MAX_READ_BYTES", 4500)
    callers = [world.caller(world.owner.token_hash) for _ in secrets]
    calls = [
        world.secrets.reveal(caller, UUID(secret.id), ValueRequest()) for caller, secret in zip(callers, secrets, strict=True)
    ]
    assert len(await asyncio.gather(*calls)) == 8
    for caller in callers:
        assert [row["outcome"] for row in await world.audit(caller)] == ["allowed"]
