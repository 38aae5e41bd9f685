"""Whether a rotation may begin: whoever asked for it or set the schedule, and whoever set the rotator up, still may.

A run that has begun is not stopped: in the middle of it the source knows another credential than the consumers, or both.
"""

from __future__ import annotations

from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.services.standing_rights import Wanted, standing_refusal
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rotation_rows import RotationRow, RunRow
from overseer.server.storage.secret_rows import SecretRow, secret_by_id


async def run_refusal(
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
