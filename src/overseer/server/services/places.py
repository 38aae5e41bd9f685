"""From the names of a scope in a request to ids, without telling strangers which apps, environments and nodes exist.

A part is *known* to a caller where a live binding of theirs selects it with the permission to list such parts or any permission
on secrets. Who knows every part is told which one does not exist and how to create it. For anybody else a part that does not
exist becomes an id that nothing has, so that the decision, its answer and its audit row are those of an existing
part at which the caller may do nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from overseer.core.access import Resource, sees_part
from overseer.core.errors import Problem, Unavailable
from overseer.core.identifiers import check_name
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.storage.database import Session
from overseer.server.storage.scope_rows import Part, find_scope

NO_PART: Final = UUID(int=0)
"""Stands for a part that does not exist: only the selector ``any`` accepts it."""

_LISTING: Final = {
    Part.APP: Permission.APP_LIST,
    Part.ENVIRONMENT: Permission.ENVIRONMENT_LIST,
    Part.NODE: Permission.NODE_LIST,
}
_SHORT: Final = {Part.APP: "app", Part.ENVIRONMENT: "env", Part.NODE: "node"}
_KNOWING: Final = tuple(permission for permission in Permission if permission.startswith("secret:"))


@dataclass(frozen=True, slots=True)
class Place:
    """A scope by names and by ids; ``missing`` lists the parts that do not exist, whose id is :data:`NO_PART`."""

    names: Scope[str]
    scope: Scope[UUID]
    missing: tuple[Part, ...]

    def resource(self, name: str = "") -> Resource:
        """A secret of that name here, for the gate."""
        return Resource("secret", name, self.scope, scope_names=self.names)

    def known_to(self, entry: Entry) -> bool:
        """True where the caller may know of every part of this place whether it exists."""
        ids = {Part.APP: self.scope.app, Part.ENVIRONMENT: self.scope.environment, Part.NODE: self.scope.node}
        return all(part_id is None or _knows(entry, part, part_id) for part, part_id in ids.items())

    def unknown(self) -> Unavailable:
        """The error for those who may know: each part that does not exist, and how to create it."""
        problems = [
            Problem(
                f"body.{part}",
                f"this {part} does not exist; create it with `overseer {_SHORT[part]} create NAME`, or mend the name",
                "unavailable",
            )
            for part in self.missing
        ]
        return Unavailable("; ".join(problem.rule for problem in problems), problems=problems)


async def find_place(session: Session, names: Scope[str]) -> Place:
    """The place that ``names`` name. Raises :class:`InvalidInput` where one breaks the rule of names."""
    for part, name in ((Part.APP, names.app), (Part.ENVIRONMENT, names.environment), (Part.NODE, names.node)):
        if name is not None:
            check_name(name, f"body.{part}")
    found = await find_scope(session, names)
    ids = {"app": found.scope.app, "environment": found.scope.environment, "node": found.scope.node}
    ids.update({part.value: NO_PART for part in found.missing})
    return Place(names, Scope(**ids), found.missing)


def authorise_at(entry: Entry, place: Place, permission: Permission, name: str) -> None:
    """Let the request through for a secret of ``name`` at ``place``, or raise without telling more than the caller may know."""
    resource = place.resource(name)
    if place.missing and place.known_to(entry):
        entry.refuse(resource, "unavailable")
        raise place.unknown()
    entry.authorise(permission, resource, hide_without=Permission.SECRET_LIST)
    if place.missing:
        raise place.unknown()


def knowing(part: Part) -> tuple[Permission, ...]:
    """The permissions any of which, held over a part of that kind, lets somebody know that it exists."""
    return (_LISTING[part], *_KNOWING)


def _knows(entry: Entry, part: Part, part_id: UUID) -> bool:
    bindings, now = entry.actor.bindings, entry.now
    return any(sees_part(bindings, permission, part, part_id, now) for permission in knowing(part))
