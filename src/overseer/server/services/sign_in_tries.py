"""Counting sign-ins before they are checked, in the database, so that no replica and no concurrency is a way around.

A try is charged and committed *before* the password is looked at and given back when it was right: a failed sign-in that is
rolled back, or a client that leaves, stays counted. The name counts as it is looked up (without blanks around it, in lower
case), whether there is such a user or not, under an HMAC. The rules are in :mod:`overseer.core.sign_in_limits`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from math import ceil
from typing import Final

from overseer.core.errors import RateLimited
from overseer.core.sign_in_limits import FREE_FROM_EVERYWHERE, FREE_FROM_PEER, counted, is_known, wait_after
from overseer.crypto.keyed_digests import sign_in_name
from overseer.crypto.keyring import Purpose
from overseer.crypto.one_time_codes import is_totp_form, recovery_hash
from overseer.server.services.key_service import KeyService
from overseer.server.services.unseal_tries import peer_key
from overseer.server.storage.database import Session
from overseer.server.storage.sign_in_rows import EVERYWHERE, TryRow, lock_tries, store_tries
from overseer.server.storage.user_rows import use_recovery_code_of

#: Long enough for every name; what is longer is nobody's.
MAX_NAME: Final = 128


@dataclass(frozen=True, slots=True)
class Taken:
    """A charged try: what it was charged to, and until when it blocks the next one."""

    name_key: bytes
    peer: str
    blocks_peer: datetime | None
    blocks_everywhere: datetime | None
    charged_everywhere: bool
    recovered: bool = False
    """A recovery code was spent to be let through a wait: it is the second factor of this try, and of no other."""


class SignInTries:
    """Stateless: everything is in the database."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys

    async def take(self, session: Session, name: str, peer: str, code: str = "") -> Taken:
        """Charge a try, in the caller's transaction, which it commits before it checks anything. Raises :class:`RateLimited`."""
        key = sign_in_name(self._keys.keyring.hmac_key(Purpose.SIGN_IN), name)
        place = peer_key(peer)
        here, everywhere, now = await lock_tries(session, key, place)
        known = is_known(here.good_at, now)
        blocked = _later(here.blocked_until, None if known else everywhere.blocked_until, now)
        recovered = blocked is not None and await _recovered(session, name, code)
        if blocked is not None and not recovered:
            wait = ceil((blocked - now).total_seconds())
            raise RateLimited("too many sign-ins of this name failed; wait, or use a recovery code", retry_after=max(1, wait))
        charged = _charged(here, FREE_FROM_PEER, now)
        await store_tries(session, key, place, charged)
        blocks_everywhere = None
        if not known:
            total = _charged(everywhere, FREE_FROM_EVERYWHERE, now)
            blocks_everywhere = total.blocked_until
            await store_tries(session, key, EVERYWHERE, total)
        return Taken(key, place, charged.blocked_until, blocks_everywhere, not known, recovered)

    async def give_back(self, session: Session, taken: Taken) -> None:
        """The try was no guess, and nobody signed in: uncount it, and only it."""
        here, everywhere, _ = await lock_tries(session, taken.name_key, taken.peer)
        await store_tries(session, taken.name_key, taken.peer, _uncharged(here, taken.blocks_peer))
        if taken.charged_everywhere:
            await store_tries(session, taken.name_key, EVERYWHERE, _uncharged(everywhere, taken.blocks_everywhere))

    async def succeeded(self, session: Session, taken: Taken) -> None:
        """Somebody signed in: this peer begins anew and is known. What failed elsewhere stays counted."""
        _, everywhere, now = await lock_tries(session, taken.name_key, taken.peer)
        await store_tries(session, taken.name_key, taken.peer, TryRow(good_at=now))
        if taken.charged_everywhere:
            await store_tries(session, taken.name_key, EVERYWHERE, _uncharged(everywhere, taken.blocks_everywhere))


def normal_name(text: str) -> str:
    """The name that is looked up and counted: no blanks around it, lower case, cut where it can be nobody's."""
    return text.strip().lower()[: MAX_NAME + 1]


def _charged(row: TryRow, free: int, now: datetime) -> TryRow:
    failures = counted(row.failures, row.failed_at, now) + 1
    wait = wait_after(failures, free)
    return replace(row, failures=failures, failed_at=now, blocked_until=now + wait if wait else None)


def _uncharged(row: TryRow, blocks: datetime | None) -> TryRow:
    # A wait that another try set meanwhile stays: else a right password without a code would free wrong codes of their waits.
    blocked = None if row.blocked_until == blocks else row.blocked_until
    return replace(row, failures=max(0, row.failures - 1), blocked_until=blocked)


def _later(one: datetime | None, other: datetime | None, now: datetime) -> datetime | None:
    ahead = [moment for moment in (one, other) if moment is not None and moment > now]
    return max(ahead) if ahead else None


async def _recovered(session: Session, name: str, code: str) -> bool:
    """Spent before the password is looked at: whoever found one code must not guess passwords with it without end."""
    if not code or is_totp_form(code):
        return False
    return await use_recovery_code_of(session, name, recovery_hash(code))
