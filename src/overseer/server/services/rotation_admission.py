"""What a run of a rotation finds before a step that changes the world: whether it may do it, and where it goes instead.

Asked in the transaction of the step, or in the one that marks the call, under the lock of the secret. Guarantees: from that
transaction until the call at the source is noted nobody makes a version the active one (``calling``), so a call never kills what
came into force after it was decided; who lost the right that the run stands on (``rotation_rights``) is not served by one more
change, and no working credential is lost by it:

- a new credential that nobody got is taken back, with the administrator's credential if the source may know it already;
- one that is in force, or on its way to be, is made to work to the end, but the old one is not killed any more.

Each of these ends is an alarm.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from overseer.core.audit_events import AuditAction, AuditEvent
from overseer.server.services.rotation_events import run_event
from overseer.server.services.rotation_rights import refused_now
from overseer.server.storage import rollout_rows
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rotation_rows import RunRow
from overseer.server.storage.secret_rows import SecretRow

LOOK_SECONDS: Final = 5.0
MEANWHILE: Final = "another version became the active one meanwhile"
BACK_BY_HAND: Final = "the version before was made the active one by hand"
NOT_RETIRED: Final = "the new credential is in force, and the old one was not ended at its source"


@dataclass(frozen=True, slots=True)
class Turn:
    """Where the run goes instead of the step; ``wait``: seconds until then."""

    state: str
    error: str = ""
    ends: bool = False
    wait: float = 0.0


async def before_apply(session: Session, events: list[AuditEvent], secret: SecretRow, run: RunRow) -> Turn | None:
    """Before the new credential is made to work, and before that is tried. None: go on."""
    if await taken_by_hand(session, secret, run):
        return None
    return await before_publish(session, events, secret, run)


async def before_publish(session: Session, events: list[AuditEvent], secret: SecretRow, run: RunRow) -> Turn | None:
    """Before the new credential is given out, where nobody else does so (:func:`taken_by_hand`)."""
    changed = secret.active_version != run.previous_version
    error = MEANWHILE if changed else await refused_now(session, events, secret, run)
    if not error or run.touched:
        return Turn("reverting", error) if error else None
    events.append(run_event(AuditAction.ALARM_ROTATION_FAILED, secret, run, run.candidate_version, "reverted"))
    return Turn("reverted", error, ends=True)


async def before_retire(session: Session, events: list[AuditEvent], secret: SecretRow, run: RunRow) -> Turn | None:
    """Before the old credential is killed: not where it is in force again, and only if the new one is."""
    rollout = await rollout_rows.running_rollout(session, secret.id)
    if run.previous_version in (secret.active_version, None if rollout is None else rollout.candidate_version):
        return Turn("reverting", BACK_BY_HAND)
    if rollout is not None:
        return Turn("acknowledged", wait=LOOK_SECONDS)
    changed = secret.active_version != run.candidate_version
    error = MEANWHILE if changed else await refused_now(session, events, secret, run)
    if not error:
        return None
    events.append(run_event(AuditAction.ALARM_ROTATION_FAILED, secret, run, run.candidate_version, "not_retired"))
    return Turn("failed", f"{NOT_RETIRED}: {error}", ends=True)


async def before_revert(session: Session, _: list[AuditEvent], secret: SecretRow, run: RunRow) -> Turn | None:
    """Before the new credential is killed: not where it is in force. The source may not have it yet, so from the beginning."""
    if await taken_by_hand(session, secret, run):
        return Turn("prepared", run.error, wait=LOOK_SECONDS)
    return None


async def taken_by_hand(session: Session, secret: SecretRow, run: RunRow) -> bool:
    """Whether somebody made the new version the active one while the run had not, or is doing so by a rollout."""
    rollout = await rollout_rows.running_rollout(session, secret.id)
    return run.candidate_version in (secret.active_version, None if rollout is None else rollout.candidate_version)
