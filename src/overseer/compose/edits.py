"""Edits of a text: what to replace, and replacing it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

#: (start, end, new text): ``text[start:end]`` is replaced.
Edit = tuple[int, int, str]


def braced(text: str, bares: Iterable[tuple[int, int]]) -> list[Edit]:
    """Edits that write ``$NAME`` as ``${NAME}``."""
    return [(start, end, f"${{{text[start + 1 : end]}}}") for start, end in bares]


def replaced(text: str, edits: Iterable[Edit], literal: Callable[[str], str] = str) -> str:
    """``text`` with sorted, disjoint edits made; ``literal`` encodes what stays."""
    parts: list[str] = []
    cursor = 0
    for start, end, new in edits:
        parts += (literal(text[cursor:start]), new)
        cursor = end
    parts.append(literal(text[cursor:]))
    return "".join(parts)
