"""What the server does by itself goes on while whoever set it up may still do it: the gate's decision, asked again at each time.

A job has no caller and no token, so it is decided from the principal's own bindings and those of its groups, as they are in this
transaction. Guarantees: who was disabled, deleted or lost a right stops what they set up at its next time; the refusal is a row
``denied`` on their behalf each time, and one alarm when it begins. What it will not do: ask for approvals (they guard what people
do), or look at tokens, which come and go while the work is the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final
from uuid import UUID

from overseer.core.access import Allowed, Resource, decide
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.permissions import Permission
from overseer.server.storage.database import Session
from overseer.server.storage.principal_rows import all_bindings, principal_by_id, subjects_of

NO_SETTER: Final = "no_setter"
DISABLED: Final = "principal_disabled"

Wanted = Sequence[tuple[Permission, Resource]]


async def standing_refusal(session: Session, principal_id: UUID | None, wanted: Wanted) -> str:
    """'' where the principal may do all of ``wanted`` now, else a stable word: ``no_setter`` (nobody is known any more),
    ``principal_disabled``, or the decision's own."""
    principal = None if principal_id is None else await principal_by_id(session, principal_id)
    if principal is None:
        return NO_SETTER
    if principal.disabled_at is not None:
        return DISABLED
    held = [one.binding for one in await all_bindings(session, await subjects_of(session, principal.id))]
    now = await session.fetchval("database_clock")
    for permission, resource in wanted:
        decision = decide(held, permission, resource, now)
        if not isinstance(decision, Allowed):
            return decision.reason
    return ""


def stopped_events(denied: AuditEvent, setter: UUID | None, code: str, *, first: bool) -> list[AuditEvent]:
    """The rows of a job that was refused: ``denied`` is the row that it would have written; ``first``: an alarm as well."""
    row = replace(denied, outcome=Outcome.DENIED, code=code, on_behalf_of=setter)
    return [row, replace(row, action=AuditAction.ALARM_JOB_STOPPED, outcome=Outcome.FAILED)] if first else [row]
