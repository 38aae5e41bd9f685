"""The floors that ``make bench`` compares with do what they say, on the present schema and with the present statements.

How quickly is no matter here; whether they still work, and leave a row of the log and a version for each request, is.
"""

from __future__ import annotations

from uuid import UUID

import pytest

from benchmarks import batch_floor, naive_loop
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

KINDS = {"reveal": ("secret:reveal", 1), "resolve": ("secret:resolve", 2), "write": ("secret:update", 1)}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_batch_floor_works_and_is_audited(world: World, kind: str) -> None:
    made = [await world.secret(name) for name in ("one", "two", "three", "four")]
    caller = world.caller(world.owner.token_hash)
    names, before = ("one", "two"), len(await world.audit())
    given = batch_floor.Given(world.database, caller, [UUID(one.id) for one in made], names)
    action, rows_each = KINDS[kind]
    done = await batch_floor.BATCHES[kind](given, 0, 2)
    rows = (await world.audit())[before:]
    assert done == 2
    assert [row["action"] for row in rows] == [action] * done * rows_each
    assert {row["outcome"] for row in rows} == {"allowed"}
    if kind == "write":
        assert [row[0] for row in await world.sql("SELECT latest_version FROM secret ORDER BY id")] == [2, 2, 1, 1]


@pytest.mark.parametrize(("kind", "action"), [("reveal", "secret:reveal"), ("write", "secret:update")])
async def test_the_naive_loop_works_and_is_audited(world: World, kind: str, action: str) -> None:
    made = await world.secret("one")
    before = len(await world.audit())
    digest = world.owner.token_hash
    assert digest is not None
    async with world.connection() as connection:
        await naive_loop.STEPS[kind](connection, digest, UUID(made.id))
    (row,) = (await world.audit())[before:]
    assert (row["action"], row["outcome"], row["resource_id"]) == (action, "allowed", UUID(made.id))
    assert (await world.sql("SELECT latest_version FROM secret"))[0][0] == (2 if kind == "write" else 1)
