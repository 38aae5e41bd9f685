"""The line of those whose pasted files are read."""

from __future__ import annotations

import asyncio
import threading

import pytest

from overseer.core.errors import NotReady
from overseer.server.web.file_reading import MOST_OF_ONE, MOST_WAITING, FileReading

pytestmark = pytest.mark.anyio


async def test_nobody_has_more_than_two_in_line_and_others_still_come_in() -> None:
    reading, go_on = FileReading(), threading.Event()
    first = [asyncio.create_task(reading.run("ann", go_on.wait)) for _ in range(MOST_OF_ONE)]
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await reading.run("ann", go_on.wait)
    others = [asyncio.create_task(reading.run(f"user {number}", go_on.wait)) for number in range(MOST_WAITING - MOST_OF_ONE)]
    await asyncio.sleep(0)
    with pytest.raises(NotReady):
        await reading.run("bob", go_on.wait)
    go_on.set()
    assert all(await asyncio.gather(*first, *others))
    await asyncio.sleep(0)
    assert await reading.run("ann", lambda: "read") == "read"


async def test_a_request_that_is_gone_keeps_its_place_until_its_file_was_read() -> None:
    reading, go_on = FileReading(), threading.Event()
    gone = [asyncio.create_task(reading.run("ann", go_on.wait)) for _ in range(MOST_OF_ONE)]
    await asyncio.sleep(0)
    for one in gone:
        one.cancel()
    await asyncio.gather(*gone, return_exceptions=True)
    with pytest.raises(NotReady):
        await reading.run("ann", go_on.wait)
    go_on.set()
    assert await reading.run("bob", lambda: "read") == "read"
    await asyncio.sleep(0)
    assert await reading.run("ann", lambda: "read") == "read"
