"""Reading what was pasted beside the event loop: one at a time in a process, for Python runs one of them at a time anyway.

Guarantees: a visitor has two in line at most, all together have sixteen; who has more is told to come back (503), so a hundred
pastes of the largest kind keep nobody else waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

from overseer.core.errors import NotReady

MOST_OF_ONE: Final = 2
MOST_WAITING: Final = 16

Result = TypeVar("Result")
_THREAD: Final = ThreadPoolExecutor(1, thread_name_prefix="pasted-file")


class FileReading:
    """One line of visitors. ``principal`` is the visitor's id."""

    def __init__(self) -> None:
        self._in_line: Counter[str] = Counter()

    async def run(self, principal: str, work: Callable[[], Result]) -> Result:
        """What ``work`` returns or raises. Raises :class:`NotReady` where too much is in line."""
        if self._in_line[principal] >= MOST_OF_ONE or self._in_line.total() >= MOST_WAITING:
            raise NotReady("too many files are being read at this moment; try again", retry_after=5)
        self._in_line[principal] += 1
        reading = asyncio.get_running_loop().run_in_executor(_THREAD, work)
        reading.add_done_callback(lambda _: self._left(principal))  # a request that is cancelled leaves its work in line
        return await asyncio.shield(reading)

    def _left(self, principal: str) -> None:
        self._in_line[principal] -= 1
        if not self._in_line[principal]:
            del self._in_line[principal]
