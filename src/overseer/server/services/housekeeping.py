"""What a server does by itself every few seconds: it ends deployments of agents that went silent and lets rollouts go on.

The leader does it (``server/scheduler.py``); doing it twice changes nothing, for the locks of the rows decide who comes first.
"""

from __future__ import annotations

from typing import Final

from overseer.server.services.gate import Gate
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.storage import deployment_rows

SILENT_AGENT: Final = "the agent took this deployment and went silent"
REQUEST_ID: Final = "housekeeping"


class Housekeeping:
    """See the module's text. Called by the process itself, never by an edge."""

    def __init__(self, gate: Gate, rollouts: RolloutDriver) -> None:
        self._gate = gate
        self._rollouts = rollouts

    async def run(self) -> None:
        """One round. Raises :class:`StoreUnavailable` and :class:`AuditUnavailable`."""
        async with self._gate.own_work() as (session, _):
            await deployment_rows.expire(session, SILENT_AGENT)
        await self._rollouts.advance(REQUEST_ID)
