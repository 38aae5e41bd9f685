"""Steps as they happen, on stderr: a step is announced on a terminal, and told with its time when it is done."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from overseer.cli.output import paint, say

_NAME_WIDTH = 34


@dataclass
class Step:
    """One step; ``note`` is shown behind its time."""

    note: str = ""


@contextmanager
def step(name: str) -> Iterator[Step]:
    """A step with that name, done when the block ends without an error."""
    live = sys.stderr.isatty()
    if live:
        sys.stderr.write(f"  {paint('·', 'dim', sys.stderr)} {name} …")
        sys.stderr.flush()
    began, running = time.monotonic(), Step()
    try:
        yield running
    except BaseException:
        _finish(live, f"  {paint('✗', 'red', sys.stderr)} {name}")
        raise
    seconds = f"{time.monotonic() - began:5.1f} s"
    line = f"  {paint('✓', 'green', sys.stderr)} {name.ljust(_NAME_WIDTH)} {paint(seconds, 'dim', sys.stderr)}"
    _finish(live, f"{line}  {running.note}".rstrip())


def _finish(live: bool, line: str) -> None:
    say(f"\r\x1b[K{line}" if live else line)
