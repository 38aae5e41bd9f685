"""Whether a rotation may begin, and go on: whoever asked for it or set the schedule, and whoever set the rotator up, still may.

It is asked again in the transaction of each step that changes the world; what becomes of a run in its middle is said by the steps
(``rotation_steps``), for there the source knows another credential than the consumers, or both.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

from overseer.core.audit_events import AuditAction, AuditEvent
from overseer.core.permissions import Permission
from overseer.server.services.rotation_events import run_event
from overseer.server.services.standing_rights import Wanted, standing_refusal, stopped_events
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rotation_rows import RotationRow, RunRow, note_stopped, rotation_of
from overseer.server.storage.secret_rows import SecretRow, secret_by_id

STOPPED: Final = "whoever set it up may not do it any more: set it again"


async def refused_now(session: Session, events: list[AuditEvent], secret: SecretRow, run: RunRow) -> str:
    """Why the run may not go on, '' where it may. It is noted at the schedule; a refusal is a row, and an alarm when it begins.
    The caller holds the run, and ends it or turns it back in this transaction."""
    present = await rotation_of(session, secret.id)
    setter, code = await _refusal(session, secret, run, present)
    before = "" if present is None else present.stopped
    if code != before:
        await note_stopped(session, secret.id, code)
    if not code:
        return ""
    denied = run_event(AuditAction.ROTATION_RUN, secret, run, secret.active_version, code)
    events.extend(stopped_events(denied, setter, code, first=not before))
    return f"{STOPPED} ({code})"


async def _refusal(
    session: Session, secret: SecretRow, run: RunRow, present: RotationRow | None
) -> tuple[UUID | None, str]:
    """Who is refused, and the word why; the word is '' where the run may begin."""
    if run.cause == "schedule":
        asked_by, wanted = None if present is None else present.policy_by, Permission.SECRET_WRITE
    else:
        asked_by, wanted = run.created_by, Permission.SECRET_ROTATE
    code = await standing_refusal(session, asked_by, [(wanted, secret.resource())])
    if code or run.rotator is None:
        return asked_by, code
    set_by = None if present is None else present.set_by
    return set_by, await standing_refusal(session, set_by, await _of_rotator(session, secret, run))


async def _of_rotator(session: Session, secret: SecretRow, run: RunRow) -> Wanted:
    """What setting a rotator up needs; an administrator's secret that is gone is the step's own problem."""
    admin = await secret_by_id(session, UUID((run.rotator or {})["admin"]))
    wanted = [(Permission.ROTATOR_WRITE, secret.resource()), (Permission.SECRET_REVEAL, secret.resource())]
    if admin is not None:
        wanted += [(Permission.SECRET_USE, admin.resource()), (Permission.SECRET_REVEAL, admin.resource())]
    return wanted
