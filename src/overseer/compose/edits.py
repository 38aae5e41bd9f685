"""Edits of a text: what to replace, and replacing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

#: (start, end, new text): ``text[start:end]`` is replaced.
Edit = tuple[int, int, str]


def replaced(text: str, edits: Iterable[Edit], literal: Callable[[str], str] = str) -> str:
    """``text`` with sorted, disjoint edits made; ``literal`` encodes what stays."""
    parts: list[str] = []
    cursor = 0
    for start, end, new in edits:
        parts += (literal(text[cursor:start]), new)
        cursor = end
    parts.append(literal(text[cursor:]))
    return "".join(parts)
