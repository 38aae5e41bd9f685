"""Approvals: what a second person must agree to, and what exactly they agreed to. Pure.

A :class:`Policy` guards actions at a selector, as a binding grants at one. What somebody asks for is :class:`Asked`; its digest
covers all of it, so that an approval is good for that and nothing else: another version, another place, another plan, or the same
after the secret changed has another digest. The same decision, whether something is guarded, is made once more in SQL
(``sql/queries/decisions.sql``); the two are tested against each other.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

from overseer.core.access import NamePattern, PartSelector, Resource
from overseer.core.scopes import GLOBAL_IDS, Scope

CONTENT_FORMAT: Final = 1
"""Of :attr:`Asked.content`. Approvals live for days at most, so a release that changes the form raises the number: what was
approved before is then stale and has to be asked for again."""


class GuardedAction(StrEnum):
    """What a policy can guard; in alphabetical order."""

    ACTIVATE = "activate"
    DELETE = "delete"
    DEPLOY = "deploy"
    REVEAL = "reveal"


#: Stored in ``approval_policy.actions``; append only.
GUARD_BITS: Final[dict[GuardedAction, int]] = {
    GuardedAction.REVEAL: 1,
    GuardedAction.ACTIVATE: 2,
    GuardedAction.DELETE: 4,
    GuardedAction.DEPLOY: 8,
}


class Operation(StrEnum):
    """What can be asked for; in alphabetical order."""

    ACTIVATE = "activate"
    CREATE = "create"
    DELETE = "delete"
    DEPLOY = "deploy"
    MOVE = "move"
    REVEAL = "reveal"
    ROLLBACK = "rollback"
    UNDEPLOY = "undeploy"


#: Which guarded actions an operation comes to. A new secret is one whose version 1 becomes active. A move takes a secret out of
#: its place, shows it to others and may take it out of a policy's reach; what it does to the new place is in ``ARRIVAL``.
GUARDS: Final[dict[Operation, frozenset[GuardedAction]]] = {
    Operation.ACTIVATE: frozenset({GuardedAction.ACTIVATE}),
    Operation.CREATE: frozenset({GuardedAction.ACTIVATE}),
    Operation.DELETE: frozenset({GuardedAction.DELETE}),
    Operation.DEPLOY: frozenset({GuardedAction.DEPLOY}),
    Operation.MOVE: frozenset({GuardedAction.ACTIVATE, GuardedAction.DELETE, GuardedAction.REVEAL}),
    Operation.REVEAL: frozenset({GuardedAction.REVEAL}),
    Operation.ROLLBACK: frozenset({GuardedAction.DEPLOY}),
    Operation.UNDEPLOY: frozenset({GuardedAction.DEPLOY}),
}
ARRIVAL: Final = frozenset({GuardedAction.ACTIVATE})


@dataclass(frozen=True, slots=True)
class Policy:
    """Who must be asked for what. ``approvers``: by how many; ``waits``: how long a request may wait; ``lives``: how long what
    was approved can be used. ``label`` (key, value) guards only the secrets that have it. ``distance``: how many days
    whoever asks may not have had their hands on who approves.
    """

    id: UUID
    title: str
    actions: frozenset[GuardedAction]
    app: PartSelector
    environment: PartSelector
    node: PartSelector
    pattern: NamePattern
    label: tuple[str, str] | None
    approvers: int
    waits: timedelta
    lives: timedelta
    distance: int = 0

    def selects(self, resource: Resource, labels: Mapping[str, str] | None) -> bool:
        """Whether it speaks of ``resource``, whatever is done with it; labels that are not known yet (None) may be any."""
        scope = resource.scope
        return (
            self.app.accepts(scope.app)
            and self.environment.accepts(scope.environment)
            and self.node.accepts(scope.node)
            and self.pattern.accepts(resource.name)
            and (self.label is None or labels is None or labels.get(self.label[0]) == self.label[1])
        )


@dataclass(frozen=True, slots=True)
class Guarded:
    """A place that an operation touches, and what it comes to there."""

    actions: frozenset[GuardedAction]
    resource: Resource
    labels: Mapping[str, str] | None


@dataclass(frozen=True, slots=True)
class Requirement:
    """What all policies over something ask for together: the most approvers, the shortest times, the longest distance."""

    approvers: int
    waits: timedelta
    lives: timedelta
    titles: tuple[str, ...]
    distance: int


def requirement(policies: Iterable[Policy], places: Iterable[Guarded]) -> Requirement | None:
    """What is needed for something that touches ``places``; None where no policy guards it."""
    touched = list(places)
    found = [
        policy
        for policy in policies
        if any(policy.actions & one.actions and policy.selects(one.resource, one.labels) for one in touched)
    ]
    if not found:
        return None
    return Requirement(
        max(policy.approvers for policy in found),
        min(policy.waits for policy in found),
        min(policy.lives for policy in found),
        tuple(sorted(policy.title for policy in found)),
        max(policy.distance for policy in found),
    )


@dataclass(frozen=True, slots=True)
class Asked:
    """Exactly what somebody asks for. ``name`` is the secret's, or the app's of a deployment; ``scope`` is its place.

    ``version``: the one that is to be seen or used; ``active_version`` as it is now; ``latest_version`` is set where the version
    is yet to be made, so that nobody else can make it first. ``target`` and ``target_name`` are where a move goes. ``plan`` is
    the digest of a deployment's plan, ``deployment`` the one that is to be repeated or taken down, ``runtime`` what it runs on.
    """

    principal: UUID
    operation: Operation
    name: str
    scope: Scope[UUID] = GLOBAL_IDS
    secret: UUID | None = None
    version: int | None = None
    active_version: int | None = None
    latest_version: int | None = None
    target: Scope[UUID] | None = None
    target_name: str | None = None
    plan: str | None = None
    deployment: UUID | None = None
    runtime: str | None = None

    @property
    def content(self) -> dict[str, Any]:
        """All of it, in the form that is stored and whose digest binds an approval."""
        return {
            "format": CONTENT_FORMAT,
            "principal": str(self.principal),
            "operation": self.operation.value,
            "name": self.name,
            "scope": _ids(self.scope),
            "secret": _id(self.secret),
            "version": self.version,
            "active_version": self.active_version,
            "latest_version": self.latest_version,
            "target": None if self.target is None else _ids(self.target),
            "target_name": self.target_name,
            "plan": self.plan,
            "deployment": _id(self.deployment),
            "runtime": self.runtime,
        }

    @property
    def digest(self) -> bytes:
        """SHA-256 of the content as canonical JSON: sorted keys, no blanks, ASCII."""
        text = json.dumps(self.content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode("ascii")).digest()

    @classmethod
    def read(cls, content: Mapping[str, Any]) -> Asked:
        """The request of a stored content."""
        return cls(
            principal=UUID(content["principal"]),
            operation=Operation(content["operation"]),
            name=content["name"],
            scope=_scope(content["scope"]),
            secret=_uuid(content["secret"]),
            version=content["version"],
            active_version=content["active_version"],
            latest_version=content["latest_version"],
            target=None if content["target"] is None else _scope(content["target"]),
            target_name=content["target_name"],
            plan=content["plan"],
            deployment=_uuid(content["deployment"]),
            runtime=content["runtime"],
        )


def to_guard_bits(actions: Iterable[GuardedAction]) -> int:
    """The stored form of a set of actions."""
    return sum(GUARD_BITS[action] for action in set(actions))


def from_guard_bits(bits: int) -> frozenset[GuardedAction]:
    """The actions of a stored set."""
    return frozenset(action for action, bit in GUARD_BITS.items() if bits & bit)


def _ids(scope: Scope[UUID]) -> list[str | None]:
    return [_id(scope.app), _id(scope.environment), _id(scope.node)]


def _scope(ids: list[str | None]) -> Scope[UUID]:
    return Scope(*(_uuid(one) for one in ids))


def _id(one: UUID | None) -> str | None:
    return None if one is None else str(one)


def _uuid(text: str | None) -> UUID | None:
    return None if text is None else UUID(text)
