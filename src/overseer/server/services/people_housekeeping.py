"""What becomes of sign-ins, invitations and sessions that ran out: they are forgotten, by the leader, now and then."""

from __future__ import annotations

from typing import Final

from overseer.server.services.gate import Gate
from overseer.server.storage.user_rows import forget_people

EVERY_SECONDS: Final = 600.0


class PeopleHousekeeping:
    """A job of the leader. Nothing that it deletes could still let anybody in."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def run(self) -> None:
        """One round. Raises :class:`StoreUnavailable`."""
        async with self._gate.own_work() as (session, _):
            await forget_people(session)
