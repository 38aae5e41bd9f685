"""A circuit breaker: what has failed several times in a row is left alone for a while, then tried once.

Guarantees: while it is open nobody waits for what will not answer; after the pause exactly one caller tries, and its outcome
closes the circuit or opens it again. It counts in its process: each replica finds out for itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

FAILURES: Final = 3
PAUSE_SECONDS: Final = 10.0


class Circuit:
    """One thing that may fail. ``clock`` gives seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._closed_from = 0.0

    def admits(self) -> bool:
        """True where a call may be made now; the one that is let through after a pause holds the others off until it ends."""
        if self._failures < FAILURES:
            return True
        if self._clock() < self._closed_from:
            return False
        self._closed_from = self._clock() + PAUSE_SECONDS
        return True

    @property
    def open(self) -> bool:
        """True while calls are held off, or will be but for one that tries."""
        return self._failures >= FAILURES

    def note(self, *, well: bool) -> None:
        """How the call went."""
        self._failures = 0 if well else self._failures + 1
        if self._failures >= FAILURES:
            self._closed_from = self._clock() + PAUSE_SECONDS
