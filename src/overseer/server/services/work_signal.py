"""Wakes waiting polls of this process when a deployment was made, so that an agent hears of it at once.

Only a hint: polls look again every second, which also covers deployments made through another process or replica.
"""

from __future__ import annotations

import asyncio


class WorkSignal:
    """Listen before looking, then wait: what happens between is not missed."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def listen(self) -> asyncio.Event:
        """The event of the next deployment from now on."""
        return self._event

    async def wait(self, heard: asyncio.Event, seconds: float) -> None:
        """Until that event, at most ``seconds``."""
        try:
            await asyncio.wait_for(heard.wait(), seconds)
        except TimeoutError:
            return

    def notify(self) -> None:
        """A deployment was committed."""
        self._event.set()
        self._event = asyncio.Event()
