"""A cancellation reaches the scheduler wherever it is: a process that stops must not wait for one that goes on."""

from __future__ import annotations

import asyncio

import pytest

from overseer.server.scheduler import Scheduler
from overseer.server.storage.database import Database

pytestmark = pytest.mark.anyio
NOBODY = Database({"host": "/nonexistent", "database": "none", "user": "nobody"})


@pytest.mark.parametrize("turns", range(12))
async def test_a_cancelled_scheduler_ends_at_every_turn_of_the_loop(turns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sealed, it only waits; with no pause at all, so that each of its turns is met within the first few."""
    monkeypatch.setattr("overseer.server.scheduler.TRY_SECONDS", 0.0)
    task = asyncio.create_task(Scheduler(NOBODY, [], sealed=lambda: True).run())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    done, _ = await asyncio.wait([task], timeout=90)
    while not task.done():  # for the tests after this one; at another turn it does get through
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.wait([task], timeout=0.001)
    assert done
    assert task.cancelled()
