"""Offsets of a text as line and column, quickly for many; the order of places."""

from __future__ import annotations

import re
from bisect import bisect_right


class Lines:
    """Where the lines of a text begin."""

    __slots__ = ("starts",)

    def __init__(self, text: str) -> None:
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of ``offset``, counted from one."""
        line = bisect_right(self.starts, offset)
        return line, offset - self.starts[line - 1] + 1


def by_place(place: str) -> tuple[str, int, int]:
    """The key that sorts places ``file:line:column`` as people read them: by file, then from the top to the bottom."""
    file, _, rest = place.partition(":")
    line, _, column = rest.partition(":")
    return file, int(line) if line.isdigit() else 0, int(column) if column.isdigit() else 0
