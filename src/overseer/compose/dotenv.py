"""The grammar of ``env_file`` files and of a bundle's ``.env``, as Compose reads them.

``KEY=value`` or ``KEY: value``, an optional ``export``; unquoted values end at the line or at `` #``; double quotes know
escapes and expansion, single quotes take everything literally; a quoted value may span lines. Guarantees that an edit touches
only the value's own characters. It does not expand variables: that is Compose's job.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_BLANK: Final = " \t\v\f\r\x85\xa0"
_SKIP: Final = re.compile(r"(?:\s+|#[^\n]*)+")
_EXPORT: Final = re.compile(r"export[ \t\v\f\r]+")
_KEY_END: Final = re.compile(r"[=:\n]")
_KEY_CHARACTERS: Final = re.compile(r"[\w.\[\] \t\v\f\r\x85\xa0-]*")


class DotenvFault(Exception):
    """The file breaks the grammar at ``offset``; ``rule`` never quotes the file."""

    def __init__(self, offset: int, rule: str) -> None:
        super().__init__(rule)
        self.offset, self.rule = offset, rule


@dataclass(frozen=True, slots=True)
class Entry:
    """One assignment. ``text`` is what Compose expands; ``origin[i]`` is where its character i stands in the file.

    ``quote`` is ``'``, ``"`` or empty; the raw value with its quotes is ``file[start:end]``.
    """

    key: str
    text: str
    origin: range | tuple[int, ...]
    quote: str
    start: int
    end: int

    def raw_span(self, start: int, end: int) -> tuple[int, int]:
        """The place in the file of ``text[start:end]`` (not empty)."""
        return self.origin[start], self.origin[end - 1] + 1


def entries(text: str) -> list[Entry]:
    """All assignments of the file; keys without a value (inherited) are left out. Raises :class:`DotenvFault`."""
    found: list[Entry] = []
    cursor = 1 if text.startswith("\ufeff") else 0
    while True:
        if skipped := _SKIP.match(text, cursor):
            cursor = skipped.end()
        if cursor >= len(text):
            return found
        if exported := _EXPORT.match(text, cursor):
            cursor = exported.end()
        ended = _KEY_END.search(text, cursor)
        key_end = ended.start() if ended else len(text)
        name = text[cursor:key_end].strip(_BLANK)
        if not _KEY_CHARACTERS.fullmatch(text, cursor, key_end):
            raise DotenvFault(cursor, "a variable's name holds letters, digits, '_', '.' and '-' only")
        if " " in name:
            raise DotenvFault(cursor, "a variable's name cannot hold a blank")
        if key_end >= len(text):
            return found
        cursor = key_end + 1
        if text[key_end] == "\n":
            continue
        while cursor < len(text) and text[cursor] in _BLANK:
            cursor += 1
        entry, cursor = _value(text, cursor, name)
        found.append(entry)


def _value(text: str, start: int, key: str) -> tuple[Entry, int]:
    quote = text[start : start + 1]
    if quote not in {'"', "'"}:
        line_end = text.find("\n", start)
        after = len(text) if line_end < 0 else line_end + 1
        end = len(text) if line_end < 0 else line_end
        comment = text.find(" #", start, end)
        end = end if comment < 0 else comment
        value = text[start:end].rstrip()
        return Entry(key, value, range(start, start + len(value)), "", start, start + len(value)), after
    characters: list[str] = []
    origin: list[int] = []
    cursor = start + 1
    while cursor < len(text):
        character = text[cursor]
        if character == quote:
            return Entry(key, "".join(characters), tuple(origin), quote, start, cursor + 1), cursor + 1
        following = text[cursor + 1 : cursor + 2]
        if character == "\\" and following == quote:
            character = quote
        elif character == "\\" and following == "$" and quote == '"':
            character = "$$"
        elif character == "\\" and following and following != "\\":
            character = "\\" + following
        elif character == "\\" and following == "\\":
            character = "\\\\"
        width = 2 if character in {"$$", quote} and text[cursor] == "\\" else len(character)
        characters.append(character)
        origin += [cursor + min(step, width - 1) for step in range(len(character))]
        cursor += width
    raise DotenvFault(start, "the quoted value is never closed")


_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}


def escaped(text: str) -> str:
    """``text`` as it stands between double quotes. Dollars are left: they are doubled where they belong to a value."""
    return "".join(_ESCAPES.get(character, character) for character in text)
