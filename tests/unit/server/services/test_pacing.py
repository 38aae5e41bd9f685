"""Pacing: where others work in the process it is noticed within a few rounds, and where they stop, too."""

from __future__ import annotations

import asyncio
import time

import pytest

from overseer.server.services.pacing import LOOK_SECONDS, PATIENCE, ROUNDS_BETWEEN_LOOKS, Pacing

pytestmark = pytest.mark.anyio


async def _others() -> None:
    """Requests that keep the process busy."""
    while True:
        until = time.process_time() + 0.002
        while time.process_time() < until:
            pass
        await asyncio.sleep(0.0005)


def _is_busy(pacing: Pacing) -> bool:
    """Asked anew: a checker of types would take the first answer for the last."""
    return pacing.busy


async def test_it_gives_way_only_while_others_work() -> None:
    pacing = Pacing()
    for _ in range(2 * ROUNDS_BETWEEN_LOOKS):
        await pacing.rest(0.01)
    assert not _is_busy(pacing)
    others = asyncio.create_task(_others())
    ends = time.monotonic() + 90  # a look of milliseconds sees nothing where the machine gave this process no time
    while not _is_busy(pacing) and time.monotonic() < ends:
        for _ in range(ROUNDS_BETWEEN_LOOKS + 1):
            await pacing.rest(0.01)
            if _is_busy(pacing):
                break
    assert _is_busy(pacing)
    began = time.monotonic()
    await pacing.rest(0.01)
    assert time.monotonic() - began >= 0.01 * PATIENCE
    others.cancel()
    await asyncio.gather(others, return_exceptions=True)
    await pacing.rest(10 * LOOK_SECONDS)
    await pacing.rest(10 * LOOK_SECONDS)
    assert not _is_busy(pacing)
