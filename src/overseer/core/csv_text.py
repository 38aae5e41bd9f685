"""Comma-separated values after RFC 4180 that a spreadsheet does not run.

A cell that begins like a formula gets an apostrophe in front: names of secrets and reasons are other people's text, and a
spreadsheet would evaluate it. A program that reads the file takes one leading apostrophe away before ``= + - @`` and blanks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "'", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_QUOTED: Final = frozenset('",\r\n')


def csv_line(cells: Iterable[str]) -> str:
    """One record with its CRLF; quotes are doubled, and only cells that need it stand in quotes."""
    return ",".join(_cell(cell) for cell in cells) + "\r\n"


def _cell(text: str) -> str:
    if text.lstrip(" ").startswith(_FORMULA):
        text = "'" + text
    if _QUOTED.isdisjoint(text):
        return text
    return '"' + text.replace('"', '""') + '"'
