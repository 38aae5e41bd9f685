"""What ends with a restore: credentials, and what was under way when the backup was made."""

from __future__ import annotations

from typing import Final

from overseer.server.storage.database import Session

RESTORED: Final = "the instance was restored from a backup"


async def revoke_credentials(session: Session) -> tuple[int, int, int]:
    """How many tokens and sessions, keys of nodes, enrolment tokens and invitations ended. Nodes wait for their agents again;
    approvals and emergencies that were on are over, and rotators wait until somebody lets them go on."""
    tokens = await session.execute("restore_revoke_tokens")
    keys = await session.execute("restore_revoke_node_keys")
    await session.execute("restore_expect_nodes")
    invitations = await session.execute("restore_drop_enrolment_tokens") + await session.execute("restore_drop_invitations")
    for query in ("restore_end_approvals", "restore_end_emergencies", "restore_pause_rotators"):
        await session.execute(query)
    return tokens, keys, invitations


async def end_what_ran(session: Session) -> None:
    """Deployments, rollouts, rotations and backups that nobody carries out any more."""
    await session.execute("restore_fail_deployments", RESTORED)
    await session.execute("restore_withdraw_rollouts", RESTORED)
    await session.execute("restore_fail_rotations", RESTORED)
    await session.execute("restore_end_backups")
