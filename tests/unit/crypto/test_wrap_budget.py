"""The count of wraps: durable blocks, all or none, and never past the bound of SP 800-38D."""

from __future__ import annotations

import pytest

from overseer.core.errors import KeyProblem, StoreUnavailable
from overseer.crypto.wrap_budget import BLOCK, MAX_WRAPS, WrapBudget

pytestmark = pytest.mark.anyio


class Counter:
    """The durable counter of the store, shared by budgets as by replicas."""

    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.calls: list[tuple[int, int]] = []

    async def reserve(self, term: int, count: int) -> int:
        self.calls.append((term, count))
        self.total += count
        return self.total


async def test_nothing_is_allowed_before_a_block_is_reserved() -> None:
    counter = Counter()
    budget = WrapBudget(3, counter.reserve)
    assert not budget.take()
    await budget.refill()
    assert counter.calls == [(3, BLOCK)]
    assert budget.take(BLOCK)
    assert not budget.take()


async def test_taking_is_all_or_none() -> None:
    budget = WrapBudget(1, Counter().reserve)
    await budget.refill()
    assert not budget.take(BLOCK + 1)
    assert budget.take(BLOCK)


async def test_spending_reserves_only_what_is_missing() -> None:
    counter = Counter()
    budget = WrapBudget(1, counter.reserve)
    for _ in range(1000):
        await budget.spend(10)
    assert counter.total == BLOCK
    await budget.spend(3 * BLOCK)
    assert counter.total == 4 * BLOCK


async def test_no_replica_passes_the_bound() -> None:
    counter = Counter(MAX_WRAPS - 2 * BLOCK)
    one, other = WrapBudget(1, counter.reserve), WrapBudget(1, counter.reserve)
    await one.spend(BLOCK)
    await other.spend(BLOCK)
    assert counter.total == MAX_WRAPS
    for budget in (one, other, WrapBudget(1, counter.reserve)):
        for _ in range(3):
            with pytest.raises(KeyProblem, match="used up"):
                await budget.spend()
            assert not budget.take()


async def test_a_block_that_crosses_the_bound_is_not_used() -> None:
    budget = WrapBudget(1, Counter(MAX_WRAPS - BLOCK + 1).reserve)
    with pytest.raises(KeyProblem):
        await budget.refill()
    assert not budget.take()


async def test_what_a_block_covers() -> None:
    budget = WrapBudget(1, Counter().reserve)
    assert not budget.covers()
    await budget.refill()
    assert budget.covers(BLOCK)
    assert not budget.covers(BLOCK + 1)
    assert budget.take()
    assert not budget.covers(BLOCK)


async def test_a_store_that_fails_grants_nothing() -> None:
    async def reserve(term: int, count: int) -> int:
        raise StoreUnavailable("the database is down")

    budget = WrapBudget(1, reserve)
    with pytest.raises(StoreUnavailable):
        await budget.spend()
    assert not budget.take()


@pytest.mark.parametrize("count", [0, -1])
async def test_taking_nothing_or_giving_back_is_an_error(count: int) -> None:
    budget = WrapBudget(1, Counter().reserve)
    await budget.refill()
    with pytest.raises(ValueError, match="at least one"):
        budget.take(count)
