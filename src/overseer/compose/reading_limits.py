"""How much one reading of a bundle may do, whatever its files hold: each limit is a rule that people are told, once.

The limits bound what *multiplies* (services times env_files, aliases times references, includes times directories); the size of
the bundle bounds the rest. They are far above what any Compose project holds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Limit:
    """``most`` of something; ``rule`` and ``code`` of the problem that more of it is."""

    most: int
    rule: str
    code: str


DIFFERENT: Final = Limit(2_000, "a bundle names at most 2000 different references", "too_many_references")
USES: Final = Limit(50_000, "a bundle uses references at most 50000 times", "too_many_references")
DELIVERIES: Final = Limit(100_000, "uses of references times their services are at most 100000", "too_many_references")
READS: Final = Limit(2_000, "a bundle reads its Compose files from at most 2000 places", "too_many_files")
FILE_USES: Final = Limit(20_000, "a bundle uses env_files and label_files at most 20000 times", "too_many_files")
ENV_BYTES: Final = Limit(1024 * 1024, "env_files and label_files have at most 1048576 bytes together", "too_large")
EXTENSIONS: Final = Limit(100_000, "services of a bundle extend each other at most 100000 times in all", "too_many_services")


class Meter:
    """What was spent of each limit so far."""

    def __init__(self) -> None:
        self._spent: dict[Limit, int] = {}

    def spend(self, limit: Limit, amount: int, tell: Callable[[Limit], None]) -> bool:
        """Count ``amount``; False where there is too much of it, and ``tell`` is called the first time."""
        before = self._spent.get(limit, 0)
        after = self._spent[limit] = before + amount
        if before <= limit.most < after:
            tell(limit)
        return after <= limit.most
