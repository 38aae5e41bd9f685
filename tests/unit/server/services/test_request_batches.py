"""Batches of requests: nobody's many requests for one thing keep others from theirs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from overseer.core.errors import InvalidInput, NotReady, OverseerError, StoreUnavailable
from overseer.server.services.request_batches import RequestBatches

pytestmark = pytest.mark.anyio


async def test_many_changes_of_one_thing_hold_nobody_else_up() -> None:
    """However many wait for their turn, one behind them that touches something else is in the next batch."""
    going, order = asyncio.Event(), list[str]()

    async def run(batch: Sequence[str]) -> Sequence[str]:
        await going.wait()
        order.extend(batch)
        return batch

    queue: RequestBatches[str, str] = RequestBatches(run, most_in_batch=2, touches=lambda request: [request[:3]])
    crowd = [asyncio.create_task(queue.ask("hot")) for _ in range(500)]
    await asyncio.sleep(0)  # they stand in line
    other = asyncio.create_task(queue.ask("mine"))
    await asyncio.sleep(0)
    going.set()
    await asyncio.gather(other, *crowd)
    assert order.index("mine") <= 2
    assert len(order) == 501


async def test_holders_take_turns() -> None:
    """Who has five hundred waiting puts one a turn before somebody else's, and nobody's order among their own changes."""
    going, order = asyncio.Event(), list[str]()

    async def run(batch: Sequence[str]) -> Sequence[str]:
        await going.wait()
        order.extend(batch)
        return batch

    queue: RequestBatches[str, str] = RequestBatches(run, most_in_batch=4, whose=lambda request: request[0])
    asked = [f"a{n}" for n in range(500)] + [f"b{n}" for n in range(6)] + ["c0"]
    answers = await _all_at_once(queue, asked, going)
    assert answers == asked
    assert sorted(order) == sorted(asked)
    assert order[:8] == ["a0", "b0", "c0", "a1", "b1", "a2", "b2", "a3"]
    assert [one for one in order if one[0] == "b"] == [f"b{n}" for n in range(6)]
    assert order.index("b5") < 20


async def test_a_queue_that_one_has_filled_has_room_for_another() -> None:
    """The newest of whoever has the most is sent away, never a stranger's."""
    going = asyncio.Event()

    async def run(batch: Sequence[str]) -> Sequence[str]:
        await going.wait()
        return batch

    queue: RequestBatches[str, str] = RequestBatches(run, most_waiting=10, whose=lambda request: request[0])
    asked = [f"a{n}" for n in range(12)] + ["b0", "b1", "a12"]
    answers = await _all_at_once(queue, asked, going)
    refused = [one for one, answer in zip(asked, answers, strict=True) if isinstance(answer, NotReady)]
    assert refused == ["a8", "a9", "a10", "a11", "a12"]


class Lender:
    """Lends numbers; the first ``failing`` times it cannot, with ``error``."""

    def __init__(self, failing: int = 0, error: Exception | None = None) -> None:
        self.lent, self.back, self.failing = 0, 0, failing
        self.error = error or StoreUnavailable("nothing is to be had")

    @asynccontextmanager
    async def lend(self) -> AsyncIterator[int]:
        await asyncio.sleep(0)
        if self.failing:
            self.failing -= 1
            raise self.error
        self.lent += 1
        yield self.lent
        self.back += 1


async def test_what_waits_meanwhile_is_run_with_the_same_loan() -> None:
    """Six batches of two by two tasks need two connections, which are given back; all that arrived is in the first batches."""
    lender, batches = Lender(), list[list[str]]()

    async def run(_lent: int, batch: Sequence[str]) -> Sequence[str]:
        batches.append([*batch])
        await asyncio.sleep(0)
        return batch

    queue: RequestBatches[str, str] = RequestBatches(run, lend=lender.lend, most_in_batch=2)
    asked = [f"a{n}" for n in range(12)]
    assert await asyncio.gather(*map(queue.ask, asked)) == asked
    await queue.settled()
    assert [len(batch) for batch in batches] == [2] * 6
    assert lender.lent == lender.back <= 2
    assert await queue.ask("later") == "later"


async def test_who_can_borrow_nothing_fails_those_who_wait_and_no_others() -> None:
    async def run(_lent: int, batch: Sequence[str]) -> Sequence[str]:
        return batch

    queue: RequestBatches[str, str] = RequestBatches(run, lend=Lender(failing=1).lend)
    answers = await asyncio.gather(queue.ask("a"), queue.ask("b"), return_exceptions=True)
    assert [type(one) for one in answers] == [StoreUnavailable, StoreUnavailable]
    assert await queue.ask("c") == "c"


async def test_a_defect_of_the_lender_is_an_answer_too() -> None:
    """Nobody waits while the queue tries again for ever: each who waits is told, once."""

    async def run(_lent: int, batch: Sequence[str]) -> Sequence[str]:
        return batch

    lender = Lender(failing=3, error=ValueError("of the driver"))
    queue: RequestBatches[str, str] = RequestBatches(run, lend=lender.lend)
    asked = [asyncio.create_task(queue.ask(one)) for one in ("a", "b")]
    await asyncio.sleep(0)  # they stand in line
    with pytest.raises(ValueError, match="driver"):  # it is logged as any other defect
        await queue.settled()
    answers = await asyncio.wait_for(asyncio.gather(*asked, return_exceptions=True), 60)
    assert [(type(one), str(one)) for one in answers] == [(OverseerError, "internal error")] * 2
    assert lender.failing == 2


async def test_after_a_lost_connection_another_is_borrowed() -> None:
    """A bad row alone keeps the loan and fails alone; any other error ends it, and is everybody's of that batch."""
    lender, used = Lender(), list[int]()

    async def run(lent: int, batch: Sequence[str]) -> Sequence[str]:
        used.append(lent)
        if "bad" in batch:
            raise InvalidInput("a bad row")
        if "lost" in batch:
            raise StoreUnavailable("it is gone")
        return batch

    queue: RequestBatches[str, str] = RequestBatches(run, lend=lender.lend, most_in_batch=2)
    answers = await asyncio.gather(*map(queue.ask, ["good", "bad", "x", "lost", "y"]), return_exceptions=True)
    assert answers[0] == "good"
    assert [type(one) for one in answers[1:4]] == [InvalidInput, StoreUnavailable, StoreUnavailable]
    assert answers[4] == "y"
    await queue.settled()
    assert used.count(used[0]) >= 3  # the batch and its halves
    assert lender.lent >= 2


async def _all_at_once(queue: RequestBatches[str, str], asked: Sequence[str], going: asyncio.Event) -> list[object]:
    tasks = [asyncio.create_task(queue.ask(request)) for request in asked]
    await asyncio.sleep(0)
    going.set()
    return list(await asyncio.gather(*tasks, return_exceptions=True))
