"""Whether the containers that use a secret are where a step of its rotation wants them; a run that has to wait is given back.

Guarantee: each wait has an end. For the server's own work: it decides about nobody.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from overseer.server.services.rollout_decisions import OPEN_STATES
from overseer.server.services.rollout_driver import RolloutDriver
from overseer.server.services.rotation_admission import LOOK_SECONDS
from overseer.server.storage import rollout_rows
from overseer.server.storage import secret_rotation_rows as rows
from overseer.server.storage.database import Session
from overseer.server.storage.secret_rotation_rows import RunRow
from overseer.server.storage.secret_rows import SecretRow

PATIENCE: Final = timedelta(minutes=10)
"""How long a revert waits for consumers to go back where both credentials work meanwhile."""


async def still_arriving(session: Session, rollouts: RolloutDriver, secret: SecretRow, run: RunRow) -> bool:
    """Whether containers still have another version than the one that was made the active one by hand: look again later."""
    assert run.candidate_version is not None  # noqa: S101  # prepared before
    running = await rollout_rows.running_rollout(session, secret.id)
    if running is None and not await rollouts.would_start(session, secret.id, run.candidate_version):
        return False
    await rows.try_later(session, run.id, LOOK_SECONDS, None)
    return True


async def still_going_back(session: Session, run: RunRow) -> bool:
    """Whether consumers are on their way to another credential than the new one, after a rollout that was withdrawn or by one
    that somebody began; the new one works as long, but not for ever."""
    by_hand = await rollout_rows.running_rollout(session, run.secret_id)
    rollout = None if run.rollout_id is None else await rollout_rows.rollout_by_id(session, run.rollout_id)
    since = [] if by_hand is None else [by_hand.created_at]
    if rollout is not None and rollout.finished_at is not None:
        steps = await rollout_rows.steps_of(session, [rollout.id])
        since += [rollout.finished_at] if any(one.state in OPEN_STATES for one in steps) else []
    if not since or max(since) + PATIENCE < await session.fetchval("database_clock"):
        return False
    await rows.try_later(session, run.id, LOOK_SECONDS, None)
    return True
