"""Lengths of time as people read them; programs get seconds."""

from __future__ import annotations

from typing import Final

UNITS: Final = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def span(seconds: float) -> str:
    """``seconds``, to the next whole one, in the largest unit that divides them: 300 is ``5 minutes``, 90 is ``90 seconds``."""
    whole = round(seconds)
    word, size = next((unit for unit in UNITS if whole and whole % unit[1] == 0), UNITS[-1])
    count = whole // size
    return f"{count} {word}{'' if count == 1 else 's'}"
