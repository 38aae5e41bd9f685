"""Which of a target's backups stay: the last so many, and the newest of each of the last so many days and weeks that have one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class Retention:
    """How many of each; days and weeks (ISO 8601, from Monday) are UTC's. Without any number everything stays."""

    last: int = 0
    daily: int = 0
    weekly: int = 0

    def to_remove(self, made: Sequence[datetime]) -> list[int]:
        """Indexes into ``made`` of what goes. The newest backup always stays."""
        if not (self.last or self.daily or self.weekly):
            return []
        order = sorted(range(len(made)), key=lambda index: made[index], reverse=True)
        kept = {*order[:1], *order[: self.last]}
        kept |= _newest_of_each(order, made, lambda at: at.date(), self.daily)
        kept |= _newest_of_each(order, made, lambda at: at.isocalendar()[:2], self.weekly)
        return [index for index in range(len(made)) if index not in kept]


def _newest_of_each(order: list[int], made: Sequence[datetime], period: Callable[[datetime], Any], most: int) -> set[int]:
    found: dict[Any, int] = {}
    for index in order:
        found.setdefault(period(made[index].astimezone(UTC)), index)
    return set(list(found.values())[:most])
