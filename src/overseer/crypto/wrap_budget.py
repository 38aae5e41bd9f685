"""How often a key-encryption key may still be used: the bound of NIST SP 800-38D, counted durably.

The bound: with random 96-bit nonces, "the total number of invocations of the authenticated encryption function shall not
exceed 2^32, including all IV lengths and all instances of the authenticated encryption function with the given key" (SP
800-38D section 8.3). It holds over all processes and replicas, so it is counted in the database; in blocks of 2^20, so that
no row is contended. A process that dies loses the rest of its block, which counts as used: the count errs on the safe side
only.

Guarantee: ``take`` never allows a wrap that is not covered by a block which was durably reserved below the bound.
What it will not do: rotate the key. At half of the bound (or earlier, by a setting) ``services/key_rotation.py`` does, so a term
never comes near it: what is left then is enough for 2^31 writes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from overseer.core.errors import KeyProblem

MAX_WRAPS: Final = 1 << 32
ROTATE_AT: Final = MAX_WRAPS >> 1
BLOCK: Final = 1 << 20

#: ``await reserve(term, count)`` adds ``count`` to the term's durable counter in a committed transaction of its own and returns
#: the new total of the term. The store implements it; it may raise, and then nothing was granted.
Reserve = Callable[[int, int], Awaitable[int]]


class WrapBudget:
    """The wraps that this process may still make with one KEK term. One event loop uses it; a new term gets a new budget."""

    __slots__ = ("__left", "__reserve", "term")

    def __init__(self, term: int, reserve: Reserve) -> None:
        self.term = term
        self.__reserve = reserve
        self.__left = 0

    def take(self, count: int = 1) -> bool:
        """Use up ``count`` wraps of the current block, all or none. False: ``await refill()`` and ask again."""
        if count < 1:
            raise ValueError("at least one wrap is taken")
        if count > self.__left:
            return False
        self.__left -= count
        return True

    async def refill(self, at_least: int = 1) -> None:
        """Reserve a block (or ``at_least``, if that is more). :class:`KeyProblem` where the term would pass the bound."""
        count = max(BLOCK, at_least)
        total = await self.__reserve(self.term, count)
        if total > MAX_WRAPS:
            # The count stays above the bound, so every later try ends here too: the term encrypts no more.
            raise KeyProblem(f"key-encryption key term {self.term} is used up: run `overseer key rotate`")
        self.__left += count

    async def spend(self, count: int = 1) -> None:
        """Take ``count`` wraps, reserving what is missing. :class:`KeyProblem` where the term is used up."""
        while not self.take(count):
            await self.refill(count)

    def covers(self, count: int = 1) -> bool:
        """True where ``take(count)`` would succeed."""
        return count <= self.__left
