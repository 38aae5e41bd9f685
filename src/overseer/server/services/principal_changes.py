"""What is the same for users and service accounts: disabling, enabling and deleting one, in the caller's transaction.

The caller's method has entered the gate and authorised the change on the principal. Here is the rest of the rule: nobody takes
away what they do not hold, nobody gives back what they do not hold, and somebody stays who may do everything.
"""

from __future__ import annotations

from overseer.core.errors import Conflict
from overseer.core.permissions import Permission
from overseer.core.principals import PrincipalKind
from overseer.server.services.gate import Entry
from overseer.server.services.granted_rights import keep_an_owner, require_grant, require_reach
from overseer.server.storage import principal_rows as rows


async def disable_principal(entry: Entry, row: rows.PrincipalRow) -> None:
    """Refuse its credentials from the next request on; what it holds stays, for the day when it is enabled.

    Raises :class:`Denied` where it holds more than the caller, and :class:`Conflict` for the last owner without limits.
    """
    require_reach(entry, Permission.PRINCIPAL_WRITE, await held_by(entry, row))
    await rows.switch_principal(entry.session, row.id, disabled=True)
    await keep_an_owner(entry)


async def enable_principal(entry: Entry, row: rows.PrincipalRow) -> None:
    """Let it act again. That gives it all that it holds, so the caller must hold all of that: else :class:`Denied`."""
    require_grant(
        entry, Permission.PRINCIPAL_WRITE, await held_by(entry, row), "you cannot enable a principal that may do more than you"
    )
    await rows.switch_principal(entry.session, row.id, disabled=False)


async def delete_principal(entry: Entry, row: rows.PrincipalRow) -> None:
    """The principal with its tokens, sessions, memberships and bindings. Raises as :func:`disable_principal`."""
    require_reach(entry, Permission.PRINCIPAL_WRITE, await held_by(entry, row))
    await rows.delete_principal(entry.session, row.id)
    await keep_an_owner(entry)


async def held_by(entry: Entry, row: rows.PrincipalRow) -> list[rows.BindingRow]:
    """Every binding of a principal and of its groups. Raises :class:`Conflict` for a node: its rights go with the node."""
    if row.kind is PrincipalKind.NODE:
        raise Conflict("this is a node: revoke the node instead")
    return await rows.all_bindings(entry.session, await rows.subjects_of(entry.session, row.id))
