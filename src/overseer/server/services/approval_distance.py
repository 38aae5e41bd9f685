"""Whether somebody who decides about a request is somebody else than whoever made it: not an account of their own.

Whoever may make users, let somebody in as one, or give rights, could do so with an account that is nobody's but their own, and
approve with it. Guarantees, for as many days back as policies say, and ever since the request was made: who was made or let in
(an invitation, a reset, an identity that was linked) by whoever stands behind the request, or by somebody or some machine whom
they made or let in, does not decide; and the right to decide comes from a binding that none of these gave, whose role none of
them changed, in a group that none of them put the person into. It is asked in the transaction of the decision.

What it will not do: know two people who agree, or a second account that was made earlier than the policy looks back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from overseer.core.access import Allowed, Resource, decide
from overseer.core.permissions import Permission
from overseer.server.services.gate import Entry
from overseer.server.storage.account_hand_rows import not_given, side_of
from overseer.server.storage.approval_rows import ApprovalRow, hands_behind

TOO_CLOSE: Final = "too_close"


async def is_independent(entry: Entry, row: ApprovalRow, resources: Sequence[Resource]) -> bool:
    """Whether the caller may decide about ``row`` as far as that goes; that it may at all was decided before."""
    session, actor, since = entry.session, entry.actor, row.looks_back_to(entry.now)
    side = await side_of(session, await hands_behind(session, row.principal_id), since)
    if actor.id in side:
        return False
    own = await not_given(session, [one.id for one in actor.bindings], actor.id, side, since)
    held = [one for one in actor.bindings if one.id in own]
    return all(isinstance(decide(held, Permission.APPROVAL_DECIDE, one, entry.now), Allowed) for one in resources)


def too_close(row: ApprovalRow) -> str:
    """The refusal, and what to do."""
    return (
        "whoever asks has made your account, let you in, or given you the right to decide, since they asked or within "
        f"{row.distance} days: somebody else has to decide, or somebody else has to give you the right"
    )
