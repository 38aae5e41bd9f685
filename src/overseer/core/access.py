"""The decision: may this actor do this to that? Deny by default.

A binding gives a set of permissions to a principal or a group over a *selector*, one match for each part of the scope,
and a name pattern. All three parts are always written and have no default: ``unset`` never means everything.
The same decision exists once more in SQL (``sql/queries``) for batches; the two are tested against each other.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from overseer.core.permissions import PERMISSION_BITS, Permission
from overseer.core.scopes import GLOBAL_IDS, GLOBAL_NAMES, Scope


class Match(StrEnum):
    """How a selector looks at one part of a scope: anything, only nothing, or exactly one id."""

    ANY = "any"
    UNSET = "unset"
    IS = "is"


@dataclass(frozen=True, slots=True)
class PartSelector:
    """One part of a selector; ``id`` is set exactly when ``match`` is ``is``."""

    match: Match
    id: UUID | None = None

    def accepts(self, part: UUID | None) -> bool:
        if self.match is Match.ANY:
            return True
        if self.match is Match.UNSET:
            return part is None
        return part is not None and part == self.id


@dataclass(frozen=True, slots=True)
class NamePattern:
    """An exact name, or a prefix where ``is_prefix``. Compared by code point, never as a regular expression."""

    name: str
    is_prefix: bool

    @classmethod
    def parse(cls, text: str) -> NamePattern:
        """``db-*`` is a prefix, ``*`` is every name, anything else is exact."""
        return cls(text[:-1], True) if text.endswith("*") else cls(text, False)

    def accepts(self, name: str) -> bool:
        return name.startswith(self.name) if self.is_prefix else name == self.name

    def __str__(self) -> str:
        return self.name + "*" * self.is_prefix


@dataclass(frozen=True, slots=True)
class Binding:
    """A grant as the gate sees it: of the actor's own subject (principal or one of its groups)."""

    id: UUID
    permissions: int
    app: PartSelector
    environment: PartSelector
    node: PartSelector
    pattern: NamePattern
    expires_at: datetime | None = None
    emergency: bool = False
    """One that was made for an emergency; live only while somebody has activated it."""


@dataclass(frozen=True, slots=True)
class Resource:
    """What is acted upon: a scope by ids, a name (of a secret, an app, a token …), and what the audit row calls it."""

    kind: str
    name: str = ""
    scope: Scope[UUID] = GLOBAL_IDS
    id: UUID | None = None
    scope_names: Scope[str] = GLOBAL_NAMES
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Allowed:
    """The binding that allowed it."""

    binding: UUID


@dataclass(frozen=True, slots=True)
class Refused:
    """Why not: ``no_binding`` (nothing grants the permission there) or ``expired_binding``."""

    reason: str


Decision = Allowed | Refused


def decide(bindings: Iterable[Binding], permission: Permission, resource: Resource, now: datetime) -> Decision:
    """The first live binding that grants ``permission`` over ``resource``, else why there is none."""
    bit = 1 << PERMISSION_BITS[permission]
    expired = False
    for binding in bindings:
        if not binding.permissions & bit:
            continue
        scope = resource.scope
        if not (
            binding.app.accepts(scope.app)
            and binding.environment.accepts(scope.environment)
            and binding.node.accepts(scope.node)
            and binding.pattern.accepts(resource.name)
        ):
            continue
        if binding.expires_at is not None and binding.expires_at <= now:
            expired = True
            continue
        return Allowed(binding.id)
    return Refused("expired_binding" if expired else "no_binding")


def holds_anywhere(bindings: Iterable[Binding], permission: Permission, now: datetime) -> bool:
    """True where some live binding grants ``permission`` over some resource: the test for lists, which are then filtered."""
    bit = 1 << PERMISSION_BITS[permission]
    return any(b.permissions & bit and (b.expires_at is None or b.expires_at > now) for b in bindings)


def contains(outer: Binding, inner: Binding) -> bool:
    """True where everything that ``inner`` grants is granted by ``outer`` for at least as long."""

    def part(a: PartSelector, b: PartSelector) -> bool:
        return a.match is Match.ANY or (a.match is b.match and a.id == b.id)

    if outer.pattern.is_prefix:
        names = inner.pattern.name.startswith(outer.pattern.name)
    else:
        names = not inner.pattern.is_prefix and inner.pattern.name == outer.pattern.name
    lives = outer.expires_at is None or (inner.expires_at is not None and inner.expires_at <= outer.expires_at)
    return (
        inner.permissions & ~outer.permissions == 0
        and part(outer.app, inner.app)
        and part(outer.environment, inner.environment)
        and part(outer.node, inner.node)
        and names
        and lives
    )


def sees_part(bindings: Iterable[Binding], permission: Permission, part: str, part_id: UUID, now: datetime) -> bool:
    """True where a live binding that grants ``permission`` selects the app, environment or node ``part_id``.

    For lists of the parts themselves: the other two parts of the selector and the name pattern speak of secrets and do not count.
    ``part`` is ``app``, ``environment`` or ``node``.
    """
    bit = 1 << PERMISSION_BITS[permission]
    return any(
        binding.permissions & bit
        and (binding.expires_at is None or binding.expires_at > now)
        and {"app": binding.app, "environment": binding.environment, "node": binding.node}[part].accepts(part_id)
        for binding in bindings
    )
