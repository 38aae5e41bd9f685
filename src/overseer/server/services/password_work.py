"""Argon2id beside the event loop: in a thread, few at a time, with a bounded line.

Guarantee: a check for a name that nobody has costs what a check of a stored hash costs, because a hash of random text takes its
place; at most two hashes are computed at once in a process, so sign-ins never take all of its cores or memory.

Per process. What it will not do: count tries.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import Final, TypeVar

from overseer.core.errors import InvalidInput, NotReady, Problem
from overseer.core.secret_value import SecretValue
from overseer.crypto.passwords import hash_password, needs_rehash, password_matches

AT_ONCE: Final = 2
MOST_WAITING: Final = 32
MAX_SENT: Final = 1024

Result = TypeVar("Result")


class PasswordWork:
    """One instance a server process."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._in_line = 0
        self._nobodys: str | None = None

    async def matches(self, password: SecretValue, stored: str | None) -> bool:
        """Whether it is the password of ``stored``; False, after as long, where there is none.

        Raises :class:`NotReady` where too many wait, :class:`KeyProblem` for a damaged hash.
        """
        if self._nobodys is None:
            self._nobodys = await self.hashed(SecretValue(secrets.token_bytes(32)))
        right = await self._run(lambda: password_matches(password, stored or self._nobodys or ""))
        return right and stored is not None

    async def hashed(self, password: SecretValue) -> str:
        """The PHC string under today's parameters."""
        return await self._run(lambda: hash_password(password))

    async def renewed(self, password: SecretValue, stored: str) -> str | None:
        """Another hash of the same password where ``stored`` was made with other parameters than today's."""
        return await self.hashed(password) if needs_rehash(stored) else None

    async def _run(self, work: Callable[[], Result]) -> Result:
        if self._in_line >= MOST_WAITING:
            raise NotReady("too many sign in at this moment; try again", retry_after=1)
        self._in_line += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(work)
        finally:
            self._in_line -= 1


def read_password(text: str, place: str) -> SecretValue:
    """A password as it was sent. Raises :class:`InvalidInput` for what no password can be, never with the text."""
    try:
        if len(text) <= MAX_SENT:
            return SecretValue(text)
    except UnicodeEncodeError:
        pass
    rule = f"a password is text of at most {MAX_SENT} characters"
    raise InvalidInput(rule, problems=[Problem(place, rule, "bad_password")])
