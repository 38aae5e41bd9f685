"""Limits on refusals: they tell nothing, bound the log, and lose no count."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from overseer.core.errors import NotReady, OverseerError, RateLimited, Unavailable
from overseer.core.principals import Caller
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.gate import MAX_REFUSAL_ROWS
from overseer.wire.secrets import ResolveRequest
from tests.integration.services.delivery import Delivery
from tests.integration.services.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


@pytest.fixture
def tight(world: World) -> World:
    """Few refusals are allowed, and none comes back while the test runs."""
    world.gate._limits = DenialLimits(burst=5, rate=0)
    return world


async def refused(world: World, caller: Caller, secret_id: UUID) -> type[OverseerError]:
    with pytest.raises(OverseerError) as caught:
        await world.secrets.get(world.caller(caller.token_hash), secret_id)
    return caught.type


async def test_hidden_and_missing_run_out_alike(tight: World) -> None:
    hidden = UUID((await tight.secret("a", "v", app="shop")).id)
    one, other = await tight.service_account(), await tight.service_account()
    seen_hidden = [await refused(tight, one, hidden) for _ in range(8)]
    seen_missing = [await refused(tight, other, uuid4()) for _ in range(8)]
    assert seen_hidden == seen_missing == [Unavailable] * 5 + [RateLimited] * 3


async def test_an_empty_bucket_is_no_oracle(tight: World) -> None:
    hidden = UUID((await tight.secret("a", "v", app="shop")).id)
    nobody = await tight.service_account()
    for _ in range(6):
        await refused(tight, nobody, uuid4())
    assert await refused(tight, nobody, hidden) == await refused(tight, nobody, uuid4()) == RateLimited


async def test_a_request_for_many_leaves_a_bounded_number_of_rows_and_counts_the_rest(world: World) -> None:
    nobody = await world.service_account()
    names = [f"name-{number}" for number in range(500)]
    with pytest.raises(OverseerError):
        await world.resolver.resolve(nobody, ResolveRequest(names=names))
    rows = await world.audit(nobody)
    assert len(rows) == MAX_REFUSAL_ROWS
    assert sum(row["repeats"] for row in rows) == 500


async def test_counted_refusals_survive_a_log_that_cannot_be_written(tight: World) -> None:
    nobody = await tight.service_account()
    for _ in range(12):
        await refused(tight, nobody, uuid4())
    async with tight.connection() as other:
        await other.execute("BEGIN; LOCK TABLE audit IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(NotReady):
            await tight.gate.flush()
        await other.execute("ROLLBACK")
    await tight.gate.flush()
    [row] = await tight.sql("SELECT sum(repeats) AS n FROM audit WHERE action = 'secret:read'")
    assert row["n"] == 12


async def test_apps_nodes_and_deployments_run_out_alike(tight: World) -> None:
    delivery = Delivery(tight)
    for real, ghost in (("shop", "ghost"), ("blog", "spectre")):
        seen = []
        for name in (real, ghost):
            nobody = await tight.service_account()
            for _ in range(7):
                with pytest.raises(OverseerError) as caught:
                    await delivery.scopes.delete_app(tight.caller(nobody.token_hash), name)
                seen.append(caught.type)
        assert seen[:7] == seen[7:]
