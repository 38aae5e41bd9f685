"""Batches of requests: nobody's many requests for one thing keep others from theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from overseer.core.errors import NotReady
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


async def _all_at_once(queue: RequestBatches[str, str], asked: Sequence[str], going: asyncio.Event) -> list[object]:
    tasks = [asyncio.create_task(queue.ask(request)) for request in asked]
    await asyncio.sleep(0)
    going.set()
    return list(await asyncio.gather(*tasks, return_exceptions=True))
