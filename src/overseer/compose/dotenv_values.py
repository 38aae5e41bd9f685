"""What the assignments of a dotenv file mean: escapes undone, variables of the same file put in, as Compose does it.

Guarantees: nothing is taken from the environment of this process; a value that needs a variable which no earlier line of the file
sets is a fault that names the key, never an empty text in its place. The result was held against ``docker compose config``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from overseer.compose.dotenv import DotenvFault, Entry

MAX_DEPTH: Final = 16
MAX_CHARACTERS: Final = 4 * 1024 * 1024  # of all values together: a line may name earlier ones many times
_ESCAPE: Final = re.compile(r"\\(?:[abcfnrtv$\"\\]|0[0-9]{0,3})")
_LETTERS: Final = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", '"': '"', "\\": "\\", "$": "$$"}
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATOR: Final = re.compile(r":?[-+?]")
#: The name is not quoted: what looks like a variable may be a part of a password.
_MEANT: Final = "write a dollar that is part of the value as $$, or put the value in single quotes"


def values(entries: list[Entry]) -> dict[str, str]:
    """Each key with its value, the last assignment of a key counting. Raises :class:`DotenvFault`."""
    found: dict[str, str] = {}
    room = MAX_CHARACTERS
    for entry in entries:
        value = value_of(entry, found)
        room -= len(value)
        if room < 0:
            raise DotenvFault(entry.start, "the values of this file expand to too much")
        found[entry.key] = value
    return found


def value_of(entry: Entry, known: Mapping[str, str]) -> str:
    """The value of one assignment; ``known`` are those before it. Raises :class:`DotenvFault`."""
    if entry.quote == "'":
        return entry.text
    text = _ESCAPE.sub(_unescaped, entry.text) if entry.quote else entry.text
    return _expanded(text, known, entry, 0) if "$" in text else text


def _unescaped(found: re.Match[str]) -> str:
    body = found.group()[1:]
    if body[0] != "0":
        return _LETTERS.get(body, found.group())
    digits = body[1:]
    return chr(int(digits, 8)) if re.fullmatch(r"[0-3][0-7]{2}", digits) else found.group()


def _expanded(text: str, known: Mapping[str, str], entry: Entry, depth: int) -> str:
    if depth > MAX_DEPTH:
        raise DotenvFault(entry.start, "variables are nested too deeply")
    parts: list[str] = []
    cursor = 0
    while (at := text.find("$", cursor)) >= 0:
        parts.append(text[cursor:at])
        if text.startswith("$$", at):
            parts.append("$")
            cursor = at + 2
        elif text.startswith("${", at):
            end = _closing(text, at + 2, entry)
            parts.append(_braced(text[at + 2 : end], known, entry, depth))
            cursor = end + 1
        elif name := _NAME.match(text, at + 1):
            parts.append(_known(name.group(), known, entry))
            cursor = name.end()
        else:
            raise DotenvFault(entry.start, f"the value of {entry.key} holds a dollar that begins no variable; write it as $$")
    return "".join(parts) + text[cursor:]


def _closing(text: str, start: int, entry: Entry) -> int:
    depth = 1
    for at in range(start, len(text)):
        if text[at] == "{" and text[at - 1] == "$":
            depth += 1
        elif text[at] == "}":
            depth -= 1
            if depth == 0:
                return at
    raise DotenvFault(entry.start, f'the value of {entry.key} holds a "${{" that is never closed')


def _braced(inner: str, known: Mapping[str, str], entry: Entry, depth: int) -> str:
    name = _NAME.match(inner)
    if name is None:
        raise DotenvFault(entry.start, f"the value of {entry.key} holds what is no variable")
    rest = inner[name.end() :]
    if not rest:
        return _known(name.group(), known, entry)
    operator = _OPERATOR.match(rest)
    if operator is None:
        raise DotenvFault(entry.start, f"the value of {entry.key} holds what is no variable")
    there = name.group() in known and (":" not in operator.group() or known[name.group()] != "")
    other = rest[operator.end() :]
    if operator.group().endswith("+"):
        return _expanded(other, known, entry, depth + 1) if there else ""
    if there:
        return known[name.group()]
    if operator.group().endswith("?"):
        raise DotenvFault(entry.start, f"the value of {entry.key} needs a variable that no line before it sets")
    return _expanded(other, known, entry, depth + 1)


def _known(name: str, known: Mapping[str, str], entry: Entry) -> str:
    if name not in known:
        raise DotenvFault(entry.start, f"the value of {entry.key} needs a variable that no line before it sets; {_MEANT}")
    return known[name]
