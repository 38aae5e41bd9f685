"""Who may do what, and with which credential: one service of five nouns behind one gate.

Nobody grants what they do not hold, by whatever way: a binding, a membership, a change of a role, a token, enabling a principal.
Nobody takes away what they do not hold. The last owner without limits stays.
"""

from __future__ import annotations

from overseer.core.access import Resource, holds_anywhere
from overseer.core.audit_events import AuditAction
from overseer.core.permissions import Permission
from overseer.core.principals import Caller, PrincipalKind
from overseer.server.services.binding_granting import BindingGranting
from overseer.server.services.binding_selectors import binding_view
from overseer.server.services.gate import Gate
from overseer.server.services.group_editing import GroupEditing
from overseer.server.services.idempotency import IdempotencyKeeper
from overseer.server.services.role_editing import RoleEditing
from overseer.server.services.service_accounts import ServiceAccounts
from overseer.server.services.token_issuing import TokenIssuing
from overseer.server.storage import principal_rows as rows
from overseer.server.storage.user_rows import user_by_id
from overseer.wire.access import MeView


class IdentityService(ServiceAccounts, TokenIssuing, RoleEditing, GroupEditing, BindingGranting):
    """Every method takes the caller first and passes the gate."""

    def __init__(self, gate: Gate, idempotency: IdempotencyKeeper) -> None:
        self._gate = gate
        self._idempotency = idempotency

    async def me(self, caller: Caller) -> MeView:
        """Who the token speaks for and what it may do; needs a live token and no permission. A session that can only set up a
        second factor hears whose it is, and no binding."""
        async with self._gate.enter(caller, AuditAction.IDENTITY_READ, enrolling=True) as entry:
            actor = entry.actor
            entry.accept(Resource("principal", actor.name, id=actor.id))
            subjects = [] if entry.enrolling else await rows.subjects_of(entry.session, actor.id)
            bindings = await rows.all_bindings(entry.session, subjects) if subjects else []
            expiry = await rows.token_expiry(entry.session, actor.token_id)
            user = await user_by_id(entry.session, actor.id) if actor.kind is PrincipalKind.USER else None
            return MeView(
                id=str(actor.id),
                kind=actor.kind.value,
                name=actor.name,
                token_id=str(actor.token_id),
                token_expires_at=expiry,
                bindings=[binding_view(row, entry.now) for row in bindings],
                permissions=[one.value for one in sorted(Permission) if holds_anywhere(actor.bindings, one, entry.now)],
                enrolling=entry.enrolling,
                second_factor=user is not None and user.has_second_factor,
            )
