"""The bounds of granting and taking away: nobody reaches beyond what they hold themselves."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final
from uuid import UUID

from overseer.core.access import Allowed, Binding, Resource, contains, decide
from overseer.core.errors import Conflict, InvalidInput, Problem
from overseer.core.permissions import Permission, from_bits
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.storage import principal_rows as rows

MAX_NETWORKS: Final = 64


def read_scope(binding: Binding) -> Scope[UUID]:
    """The scope that a change of this binding concerns: the ids that its selector names."""
    return Scope(binding.app.id, binding.environment.id, binding.node.id)


def held_with(entry: Entry, permission: Permission) -> list[Binding]:
    """The caller's live bindings that hold ``permission``."""
    return _live(entry, entry.actor.bindings, permission)


def require_reach(entry: Entry, permission: Permission, targets: list[rows.BindingRow]) -> None:
    """Refuse to act against more than the caller holds itself: each target lies in one of its bindings with ``permission``.

    Deciding by the scope alone will not do: a selector's ``any`` and ``unset`` name the same scope and mean opposite things.
    """
    # For how long something is granted does not matter to whoever takes it away.
    own = [replace(binding, expires_at=None) for binding in held_with(entry, permission)]
    if not all(any(contains(mine, row.binding) for mine in own) for row in targets):
        entry.deny("beyond_own_rights", "you cannot take away what you do not hold: no binding of yours contains it")


def require_grant(entry: Entry, permission: Permission, gains: Iterable[rows.BindingRow], message: str) -> None:
    """Refuse to give more than the caller holds: each gain, with all its time, lies in one binding of theirs with ``permission``.

    A binding that has ended gives nothing and is asked for all the same: whoever extends it later may not know of this gain.
    """
    if not _all_lie_in(held_with(entry, permission), gains):
        entry.deny("beyond_own_rights", message)


async def may_act_as(entry: Entry, maker: UUID | None, user: Resource, permission: Permission) -> bool:
    """Whether ``maker`` could at this moment let somebody act as the user: it has ``permission`` and all that the user has.

    For what it began when both had other rights, and somebody ends now. ``user`` has its id.
    """
    found = None if maker is None else await rows.principal_by_id(entry.session, maker)
    if found is None or found.disabled_at is not None:
        return False
    held = await rows.all_bindings(entry.session, await rows.subjects_of(entry.session, found.id))
    own = _live(entry, [row.binding for row in held], permission)
    assert user.id is not None  # noqa: S101  # see above
    theirs = await rows.all_bindings(entry.session, await rows.subjects_of(entry.session, user.id))
    return isinstance(decide(own, permission, user, entry.now), Allowed) and _all_lie_in(own, theirs)


def _live(entry: Entry, bindings: Iterable[Binding], permission: Permission) -> list[Binding]:
    return [
        one
        for one in bindings
        if permission in from_bits(one.permissions) and (one.expires_at is None or one.expires_at > entry.now)
    ]


def _all_lie_in(own: list[Binding], gains: Iterable[rows.BindingRow]) -> bool:
    return all(any(contains(mine, row.at_most) for mine in own) for row in gains)


async def keep_an_owner(entry: Entry) -> None:
    """After a change that takes rights away: refuse it where nobody is left who may do everything without limits and without end.

    Nobody could ever make another one. It is asked of the state after the change, so it holds for whatever way an owner goes:
    a binding, a group, a membership, a principal. Raises :class:`Conflict`, which undoes the change.
    """
    if not await rows.owner_is_left(entry.session):
        raise Conflict("this is the last owner without limits; make another one first")


def read_networks(networks: list[str] | None) -> list[str] | None:
    """Networks in their normal form; an empty list is refused, since it could be read as 'any' and as 'none'."""
    if networks is None:
        return None
    found: list[IPv4Network | IPv6Network] = []
    rule = f"networks is null for any, or 1 to {MAX_NETWORKS} networks such as 10.0.0.0/8 without host bits"
    try:
        # A zone id (fe80::%1) is of one machine; PostgreSQL has no type for it.
        found = [ip_network(text) for text in networks if "%" not in text]
    except ValueError:
        raise InvalidInput(rule, problems=[Problem("body.networks", rule, "bad_network")]) from None
    if not 1 <= len(found) == len(networks) <= MAX_NETWORKS:
        raise InvalidInput(rule, problems=[Problem("body.networks", rule, "bad_network")])
    return [str(network) for network in found]


def is_inside(inner: str, outer: str) -> bool:
    """True where the network ``inner`` lies in ``outer``; an IPv4 network lies in no IPv6 one."""
    one, other = ip_network(inner), ip_network(outer)
    if isinstance(one, IPv4Network) and isinstance(other, IPv4Network):
        return one.subnet_of(other)
    return isinstance(one, IPv6Network) and isinstance(other, IPv6Network) and one.subnet_of(other)
