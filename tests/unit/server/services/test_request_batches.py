"""Batches of requests: nobody's many requests for one thing keep others from theirs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

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
