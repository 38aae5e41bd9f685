"""What goes to the terminal and what goes to programs: stdout is data, stderr is talk.

Text from a server is made printable before it reaches a terminal, so that nobody can move the cursor or hide a line by a name or
a description. Colour is only used on a terminal, and never where ``NO_COLOR`` is set (no-color.org) or ``TERM`` is ``dumb``.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from typing import IO, Any, Final

import click

from overseer.core.errors import OverseerError

_COLOURS: Final = {"red": "31", "green": "32", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_NARROWEST: Final = 12
#: Ids, which the next command takes, and times: half of one is worth nothing.
_WHOLE: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9-]{10} [0-9:]{8}Z|-")
#: Stands in the context's ``meta`` once a table had no rows.
NOTHING_SHOWN: Final = "overseer.nothing_shown"
#: What this program itself writes into a line: colours, an empty line before or after it, and "this line anew".
_OURS: Final = re.compile(r"(\x1b\[(?:0|1|2|31|32|33|36)m|\A\n|\n\Z|\A\r\x1b\[K)")


def paint(text: str, colour: str, stream: IO[str]) -> str:
    """``text`` in a colour (or ``bold``, ``dim``) where ``stream`` is a terminal that shows one."""
    if not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb":
        return text
    return f"\x1b[{_COLOURS[colour]}m{text}\x1b[0m"


def printable(text: str) -> str:
    """``text`` with every character that is not printable written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def people(count: int, which: str = "") -> str:
    """A number of people in words: ``1 person``, ``2 other people``."""
    return f"{count} {which}{' ' if which else ''}{'person' if count == 1 else 'people'}"


def number(count: int, thing: str) -> str:
    """A number of things in words: ``1 binding``, ``2 bindings``, ``no bindings``."""
    return f"{count or 'no'} {thing}{'s' * (count != 1)}"


def one_line(text: str) -> str:
    """A text of several lines as one, for a place that has one: an agent tells what failed and what came back on lines."""
    return "; ".join(line for line in text.splitlines() if line.strip())


def moment(time: datetime | None) -> str:
    """A time as people read it: UTC, to the second."""
    return "-" if time is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"


def shown(text: str) -> str:
    """A line of which some words may be a server's: only what this program itself writes goes to the terminal as it is."""
    return "".join(part if _OURS.fullmatch(part) else printable(part) for part in _OURS.split(text))


def say(text: str) -> None:
    """One line of talk, on stderr. Every character that is not printable is written as an escape."""
    sys.stderr.write(shown(text) + "\n")
    sys.stderr.flush()


def print_json(value: Any) -> None:
    """A message, or a list of messages, as indented JSON with a newline: times in RFC 3339, bytes in base64."""
    import msgspec

    content = msgspec.json.format(msgspec.json.encode(value), indent=2)
    print_bytes(content + b"\n")


def print_bytes(content: bytes) -> None:
    """Exactly these bytes on stdout."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def print_line(text: str) -> None:
    """One line of data, written as :func:`say` writes it."""
    sys.stdout.write(shown(text) + "\n")


def print_own(text: str) -> None:
    """Lines of this program's own, as they are."""
    sys.stdout.write(text + "\n")


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """Names and values below each other, aligned."""
    rows = [(name, printable(value)) for name, value in fields]
    widest = max((len(name) for name, _ in rows), default=0)
    for name, value in rows:
        print_line(f"{paint(name.ljust(widest), 'dim', sys.stdout)}  {value or '-'}")


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, empty: str = "nothing to show") -> None:
    """Rows under titles. On a terminal the widest columns are cut to its width, but no ids and times; in a pipe nothing is cut.

    Where there are no rows, ``empty`` is said on stderr and stdout stays empty.
    """
    cells = [[printable(one_line(cell)) or "-" for cell in row] for row in rows]
    if not cells:
        say(empty)
        if (ctx := click.get_current_context(silent=True)) is not None:
            ctx.meta[NOTHING_SHOWN] = True
        return
    widths = [max(len(row[column]) for row in [list(titles), *cells]) for column in range(len(titles))]
    if sys.stdout.isatty():
        whole = {column for column in range(len(titles)) if all(_WHOLE.fullmatch(row[column]) for row in cells)}
        widths = fit(widths, shutil.get_terminal_size().columns, whole)
    print_line(paint(_row(titles, widths), "bold", sys.stdout))
    for row in cells:
        print_line(_row(row, widths))


def fit(widths: Sequence[int], room: int, whole: Collection[int] = ()) -> list[int]:
    """Column widths that fit into ``room`` with two blanks between them, taken from the widest, none below a readable rest.

    The columns ``whole`` keep their width; where they leave no room the lines are longer than ``room``.
    """
    fitted = list(widths)
    cut = [column for column in range(len(fitted)) if column not in whole]
    while cut and sum(fitted) + 2 * (len(fitted) - 1) > room:
        widest = max(cut, key=fitted.__getitem__)
        if fitted[widest] <= _NARROWEST:
            break
        fitted[widest] -= 1
    return fitted


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    shown = (cell if len(cell) <= width else cell[: width - 1] + "…" for cell, width in zip(cells, widths, strict=True))
    return "  ".join(cell.ljust(width) for cell, width in zip(shown, widths, strict=True)).rstrip()


class Hint(str):
    """A note of an error that people get to read whoever is at fault: what was perhaps meant."""

    __slots__ = ()


def report(error: OverseerError) -> None:
    """One line for the error, one line for each of its problems and hints; the request's id where the server is at fault."""
    say(f"overseer: {paint('error:', 'red', sys.stderr)} {printable(one_line(error.message))}")
    for problem in error.problems:
        if error.message not in (str(problem), problem.rule):  # the same again, with the field of a request, helps nobody
            say(printable(str(problem)))
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, Hint):
            say(printable(note))
        elif error.status >= 500:
            say(f"  ({printable(note)})")
