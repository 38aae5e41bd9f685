"""What the batch statements decide in SQL is what the gate decides in Python, whoever asks for whatever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from overseer.core.errors import OverseerError
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.services.resolve_batches import ResolveBatches
from overseer.server.services.reveal_batches import RevealBatches
from overseer.server.services.write_batches import WriteBatches
from overseer.wire.secrets import ResolveRequest, SecretCreate, SecretUpdate
from tests.integration.services.access_at_random import NAMES, PLACES, Person, again, make_all, people, secrets_everywhere
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

COLUMNS = (
    "actor_id", "actor_name", "actor_kind", "token_id", "action", "outcome", "code", "resource_kind", "resource_id",
    "resource_name", "app", "environment", "node", "peer", "client", "repeats",
)  # fmt: skip
several = st.lists(people, min_size=16, max_size=16)
# One world for all examples: each draws people of its own, and who they are is all that matters.
# Not shrunk: that would take minutes, and the people that are left say no more.
in_one_world = settings(
    max_examples=8,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(autouse=True)
def _no_limits(world: World) -> None:
    world.gate._limits._burst = 10**6  # refusals beyond a limit are another test's subject


class Log:
    """The audit rows of an example's requests, read at once."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    @classmethod
    async def read(cls, world: World, callers: Iterable[Caller]) -> Log:
        asked = [caller.request_id for caller in callers]
        return cls(await world.sql("SELECT * FROM audit WHERE request_id = ANY ($1) ORDER BY xact, id", asked))

    def of(self, caller: Caller, *, without: str = "") -> list[tuple[Any, ...]]:
        columns = [column for column in COLUMNS if column != without]
        return [tuple(row[one] for one in columns) for row in self._rows if row["request_id"] == caller.request_id]


async def answer(call: Awaitable[Any]) -> Any:
    try:
        return await call
    except OverseerError as error:
        return (type(error), error.message)


@given(drawn=several, dice=st.randoms(use_true_random=True))
@in_one_world
async def test_reveals(world: World, drawn: list[Person], dice: random.Random) -> None:
    secrets = [row["id"] for row in await world.sql("SELECT id FROM secret")] or await secrets_everywhere(world)
    batches = RevealBatches(world.database, world.gate)
    callers = await make_all(world, drawn)
    asked = [(again(world, caller), dice.choice(secrets)) for caller in callers for _ in range(3)]
    twice = [again(world, caller) for caller, _ in asked]
    together = await asyncio.gather(*(answer(batches.release(caller, secret, None)) for caller, secret in asked))
    alone = [
        await answer(world.secrets._release_alone(caller, secret, None))
        for caller, (_, secret) in zip(twice, asked, strict=True)
    ]
    log = await Log.read(world, [caller for caller, _ in asked] + twice)
    for one, other, (caller, _), second in zip(together, alone, asked, twice, strict=True):
        assert (one if isinstance(one, tuple) else one.stored) == (other if isinstance(other, tuple) else other.stored)
        # The statement writes the address as the database understands it, which is how the edge gives it.
        assert log.of(caller, without="peer") == log.of(second, without="peer")


@given(drawn=several, dice=st.randoms(use_true_random=True))
@in_one_world
async def test_resolves(world: World, drawn: list[Person], dice: random.Random) -> None:
    if not await world.sql("SELECT FROM secret LIMIT 1"):
        await secrets_everywhere(world)
    batches = ResolveBatches(world.database, world.gate)
    asked = []
    for caller in await make_all(world, drawn):
        for _ in range(2):
            place = {**dice.choice(PLACES), **dice.choice(PLACES)}
            names = dice.sample((*NAMES, "nothing"), dice.choice((1, 1, 1, 2, 3)))
            asked.append((again(world, caller), ResolveRequest(names=names, **place)))
    twice = [again(world, caller) for caller, _ in asked]
    calls = [batches.release(caller, Scope(body.app, body.environment, body.node), body.names or []) for caller, body in asked]
    together = await asyncio.gather(*(answer(call) for call in calls))
    one_by_one = [
        await answer(world.resolver._release_alone(second, body)) for second, (_, body) in zip(twice, asked, strict=True)
    ]
    log = await Log.read(world, [caller for caller, _ in asked] + twice)
    for found, alone, (caller, _), second in zip(together, one_by_one, asked, twice, strict=True):
        if found is None:
            assert isinstance(alone, tuple), "the statement refuses what the gate lets through"
            assert log.of(caller) == []
        else:
            assert not isinstance(alone, tuple), "the statement lets through what the gate refuses"
            assert [one.stored for one in found] == [one.stored for one in alone]
            assert log.of(caller, without="peer") == log.of(second, without="peer")


@given(drawn=several, dice=st.randoms(use_true_random=True))
@in_one_world
async def test_new_versions(world: World, drawn: list[Person], dice: random.Random) -> None:
    secrets = [row["id"] for row in await world.sql("SELECT id FROM secret")] or await secrets_everywhere(world)
    batches = WriteBatches(world.gate, world.keys, world.idempotency)
    chosen = dice.sample(secrets, len(drawn))
    asked = list(zip(await make_all(world, drawn), chosen, strict=True))
    body = SecretUpdate(value="new")
    together = await asyncio.gather(*(batches.update(caller, secret, body, None, None) for caller, secret in asked))
    twice = [again(world, caller) for caller, _ in asked]
    one_by_one = [
        await answer(world.secrets._update_alone(second, secret, body, None, None, None))
        for second, (_, secret) in zip(twice, asked, strict=True)
    ]
    await agree(world, together, one_by_one, [caller for caller, _ in asked], twice)


@given(drawn=several, dice=st.randoms(use_true_random=True))
@in_one_world
async def test_new_secrets(world: World, drawn: list[Person], dice: random.Random) -> None:
    if not await world.sql("SELECT FROM secret LIMIT 1"):
        await secrets_everywhere(world)  # and with them the rows of their scopes, without which a create is never plain
    batches = WriteBatches(world.gate, world.keys, world.idempotency)
    asked = []
    for number, caller in enumerate(await make_all(world, drawn)):
        name = f"{dice.choice(('db-', 'db_', 'DB-', 'x'))}{number}"
        place = dice.choice((*PLACES, {"app": "nowhere"}))
        asked.append((caller, SecretCreate(name=name, value="v", **place)))
    together = await asyncio.gather(*(batches.create(caller, body, None) for caller, body in asked))
    names = [body.name for _, body in asked]
    await world.sql("DELETE FROM secret WHERE name = ANY ($1)", names)
    twice = [again(world, caller) for caller, _ in asked]
    one_by_one = [
        await answer(world.secrets._create_alone(second, body, None, None))
        for second, (_, body) in zip(twice, asked, strict=True)
    ]
    await world.sql("DELETE FROM secret WHERE name = ANY ($1)", names)
    await agree(world, together, one_by_one, [caller for caller, _ in asked], twice)


async def agree(world: World, together: list[Any], one_by_one: list[Any], first: list[Caller], second: list[Caller]) -> None:
    """A batch wrote what the gate lets through, with the same row, and left out what it refuses, without one."""
    log = await Log.read(world, first + second)
    changing = ("id", "version", "active_version", "created_at", "updated_at")
    for found, alone, caller, other in zip(together, one_by_one, first, second, strict=True):
        if found is None:
            assert isinstance(alone, tuple), "the batch leaves out what the gate lets through"
            assert log.of(caller) == []
            continue
        assert not isinstance(alone, tuple), "the batch let through what the gate refuses"
        shown = [{k: getattr(one.view, k) for k in one.view.__struct_fields__ if k not in changing} for one in (found, alone)]
        assert shown[0] == shown[1]
        assert log.of(caller, without="resource_id") == log.of(other, without="resource_id")
