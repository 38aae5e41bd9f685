"""What reading and writing a secret by id have in common: found, authorised, and hidden from those who may not know of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.errors import Conflict, Unavailable
from overseer.core.permissions import Permission
from overseer.core.scope_selection import covering_scopes
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.storage.secret_rows import SecretRow, lock_secret, secret_by_id

MOVED: Final = "the secret was moved or renamed meanwhile; try again"


def may_be_told_missing(entry: Entry, resource: Resource) -> bool:
    """Whether the caller may hear that no secret of the name of ``resource`` applies at its scope, where that is so.

    It says something about every scope that covers the place, so it is told to those alone who may list the name at each of them.
    """
    everywhere = (replace(resource, scope=scope) for scope in covering_scopes(resource.scope))
    return all(entry.permits(Permission.SECRET_LIST, one) for one in everywhere)


async def known_secret(entry: Entry, secret_id: UUID, permission: Permission) -> SecretRow:
    """The secret, authorised for ``permission``.

    Raises :class:`Unavailable` with one text where it does not exist and where the caller may not know that it does, and
    :class:`Denied` where the caller may list it and no more.
    """
    row = await secret_by_id(entry.session, secret_id)
    if row is None:
        entry.missing(Resource("secret", id=secret_id))
    entry.authorise(permission, row.resource(), hide_without=Permission.SECRET_LIST)
    return row


async def locked_secret(entry: Entry, secret_id: UUID, permission: Permission) -> SecretRow:
    """As :func:`known_secret`, then locked until the transaction ends, as it is under the lock.

    Authorised first: somebody who may not write a secret must not make its writers wait.
    """
    return await lock_as_seen(entry, await known_secret(entry, secret_id, permission))


async def lock_as_seen(entry: Entry, seen: SecretRow) -> SecretRow:
    """The secret that was authorised as ``seen``, locked until the transaction ends, as it is under the lock.

    Raises :class:`Conflict` where it has another name or scope by then (it was not authorised there), :class:`Unavailable` where
    it is gone.
    """
    row = await lock_secret(entry.session, seen.id)
    if row is None:
        raise Unavailable("the secret was deleted meanwhile")
    if not stands_as_seen(seen, row):
        raise Conflict(MOVED)
    return row


def stands_as_seen(seen: SecretRow, row: SecretRow) -> bool:
    """Whether a decision about ``seen`` is one about ``row``: the same name at the same scope."""
    return (seen.scope_id, seen.name) == (row.scope_id, row.name)


def refuse_own_values(row: SecretRow) -> None:
    """Raise :class:`Conflict` where a secret takes its values, and with them its place, from a backend."""
    if row.source is not None:
        raise Conflict("this secret comes from a backend: change it there, or untie it first ('overseer secret untie')")


def is_known_at(entry: Entry, row: SecretRow, scope: Scope[UUID], name: str) -> bool:
    """Whether somebody who was authorised for ``name`` at ``scope`` may be shown ``row``: it stands there, or they may list it.

    What a request made may have been moved since, and a replay finds it by its id.
    """
    return (row.scope, row.name) == (scope, name) or entry.permits(Permission.SECRET_LIST, row.resource())


def no_such_version() -> Unavailable:
    """The error for a version that a secret does not have; told only to those who may use the secret."""
    return Unavailable("the secret has no such version; list its versions and name one of them")
