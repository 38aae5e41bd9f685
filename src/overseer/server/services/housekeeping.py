"""What a server does by itself every few seconds: it ends deployments of agents that went silent, lets rollouts go on, and erases
what an import made for a time only.

The leader does it (``server/scheduler.py``); doing it twice changes nothing, for the locks of the rows decide who comes first.
"""

from __future__ import annotations

from typing import Final

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.server.services.gate import Gate
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.storage import deployment_rows, import_rows
from overseer.server.storage.import_rows import ErasedSecret

SILENT_AGENT: Final = "the agent took this deployment and went silent"
REQUEST_ID: Final = "housekeeping"
TIME_OVER: Final = "time_over"
AT_ONCE: Final = 100


class Housekeeping:
    """See the module's text. Called by the process itself, never by an edge."""

    def __init__(self, gate: Gate, rollouts: RolloutDriver) -> None:
        self._gate = gate
        self._rollouts = rollouts

    async def run(self) -> None:
        """One round. Raises :class:`StoreUnavailable` and :class:`AuditUnavailable`."""
        async with self._gate.own_work() as (session, _):
            await deployment_rows.expire(session, SILENT_AGENT)
        async with self._gate.own_work() as (session, events):
            events += [_erased(one) for one in await import_rows.erase_due(session, AT_ONCE)]
        await self._rollouts.advance(REQUEST_ID)


def _erased(one: ErasedSecret) -> AuditEvent:
    """On behalf of whoever imported it and said when it ends."""
    names = one.scope_names
    return AuditEvent(
        action=AuditAction.SECRET_DELETE,
        outcome=Outcome.ALLOWED,
        request_id=REQUEST_ID,
        on_behalf_of=one.created_by,
        resource_kind="secret",
        resource_id=one.secret_id,
        resource_name=one.name,
        app=names.app,
        environment=names.environment,
        node=names.node,
        code=TIME_OVER,
    )
