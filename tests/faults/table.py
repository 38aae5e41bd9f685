"""The table of faults: what is done, what has to happen, what happened."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.faults.stage import Stage

FAULTS: list[Fault] = []


@dataclass(frozen=True)
class Fault:
    """``show`` breaks something and returns what was seen; it raises where that is not what has to be."""

    name: str
    expected: str
    show: Callable[[Stage], str]


@dataclass(frozen=True)
class Seen:
    """One row of the table."""

    fault: Fault
    seen: str
    ok: bool
    seconds: float


def fault(name: str, expected: str) -> Callable[[Callable[[Stage], str]], Callable[[Stage], str]]:
    """Put a function into the table; the order of the definitions is that of the rows."""

    def register(show: Callable[[Stage], str]) -> Callable[[Stage], str]:
        FAULTS.append(Fault(name, expected, show))
        return show

    return register


def show_all(faults: Iterable[Fault], stage: Stage, told: Callable[[Seen], None]) -> list[Seen]:
    """Show each; whatever one does, the next finds a server that runs."""
    rows = []
    for one in faults:
        began = time.monotonic()
        try:
            stage.ensure_serving()
            seen, ok = one.show(stage), True
        except Exception as error:  # noqa: BLE001  # a fault that shows itself otherwise is a row that failed, never the end
            said = " ".join(str(error).split()) or "no text"
            seen, ok = f"{type(error).__name__}: {said[:300]}", False
        rows.append(Seen(one, seen, ok, time.monotonic() - began))
        told(rows[-1])
    return rows


def as_text(rows: list[Seen]) -> str:
    """``row | expected | seen | ok`` with columns of equal width."""
    cells = [("row", "expected", "seen", "ok"), ("", "", "", "")]
    cells += [(one.fault.name, one.fault.expected, one.seen, "yes" if one.ok else "NO") for one in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    lines = []
    for row in cells:
        if row[0]:
            lines.append(" | ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]))
        else:
            lines.append("-+-".join([*("-" * width for width in widths), "---"]))
    return "\n".join(lines)


def require(holds: object, what: str) -> None:
    """Like ``assert``, and not switched off by -O: ``what`` was not as it has to be."""
    if not holds:
        raise NotAsExpected(what)


class NotAsExpected(Exception):
    """What was seen instead."""
