"""Long work beside requests: at full speed where nobody else works in this process, out of the way where somebody does.

How it knows: while the work pauses, the processor time that the process uses is that of the others. So a pause is also a
measurement; where nothing else runs, only every few rounds have one, and it is short.
What it will not do: see the load of other processes, or of the database.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

#: In a busy process the work rests this many times as long as it worked.
PATIENCE: Final = 3.0
#: The share of a pause that others must have used for the process to count as busy.
BUSY_SHARE: Final = 0.1
ROUNDS_BETWEEN_LOOKS: Final = 8
LOOK_SECONDS: Final = 0.003


class Pacing:
    """One for each piece of work; used from its event loop."""

    def __init__(self) -> None:
        self._rounds = 0
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether somebody else worked in the last pause."""
        return self._busy

    async def rest(self, worked: float) -> None:
        """After a round that took ``worked`` seconds: let others go first."""
        self._rounds += 1
        if self._busy:
            pause = max(LOOK_SECONDS, worked * PATIENCE)
        elif self._rounds % ROUNDS_BETWEEN_LOOKS == 1:
            pause = LOOK_SECONDS
        else:
            await asyncio.sleep(0)
            return
        used, began = time.process_time(), time.monotonic()
        await asyncio.sleep(pause)
        self._busy = time.process_time() - used > BUSY_SHARE * (time.monotonic() - began)
