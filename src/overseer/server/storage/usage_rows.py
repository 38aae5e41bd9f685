"""Where secrets are used, what containers hold, and what somebody could have seen, as rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from overseer.core.scopes import Scope
from overseer.server.storage.audit_reading import SEEN, read_reader
from overseer.server.storage.database import Session

Services = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class ConsumerRow:
    """A reference of a current deployment. ``reported`` is what ran at its end, ``held`` at the last check."""

    secret_id: UUID
    reference: str
    version: int
    services: list[str]
    persists: bool
    matches: bool | None
    checked_at: datetime | None
    deployment_id: UUID
    app_id: UUID
    app: str
    environment_id: UUID | None
    environment: str | None
    node_id: UUID
    node: str
    node_state: str
    project: str
    reported: Services
    held: Services | None

    @property
    def scope(self) -> Scope[UUID]:
        return Scope(self.app_id, self.environment_id, self.node_id)

    @property
    def pinned(self) -> bool:
        """The reference names its version."""
        return "@" in self.reference


@dataclass(frozen=True, slots=True)
class CheckedRow:
    """A current deployment with what its agent said at the end of it (``reported``) and at the last check (``held``)."""

    id: UUID
    app_id: UUID
    app: str
    environment_id: UUID | None
    environment: str | None
    node_id: UUID
    node: str
    node_state: str
    project: str
    reported: Services
    held: Services | None
    checked_at: datetime | None
    finished_at: datetime

    @property
    def scope(self) -> Scope[UUID]:
        return Scope(self.app_id, self.environment_id, self.node_id)


@dataclass(frozen=True, slots=True)
class HeldReference:
    """A reference of a current deployment and whether containers were seen to hold it."""

    deployment_id: UUID
    reference: str
    secret_name: str
    version: int
    services: list[str]
    matches: bool | None
    checked_at: datetime | None


@dataclass(frozen=True, slots=True)
class SeenRow:
    """A version that somebody got, last ``at``; ``subject`` is an app (for a node) or an audit action (for a principal)."""

    secret_id: UUID
    version: int
    subject: str
    at: datetime


async def consumers_of(session: Session, secret_ids: Sequence[UUID]) -> list[ConsumerRow]:
    """Every reference of a current deployment to one of these secrets, by app, environment and node."""
    rows = await session.fetch("usage_consumers", list(secret_ids))
    return [
        ConsumerRow(**{**dict(row), "reported": json.loads(row["reported"]), "held": _services(row["held"])}) for row in rows
    ]


async def wanted(session: Session, secret_ids: Sequence[UUID]) -> set[UUID]:
    """Those that a current or an open deployment refers to."""
    return {row["secret_id"] for row in await session.fetch("usage_wanted", list(secret_ids))}


async def last_releases(session: Session, secret_ids: Sequence[UUID]) -> dict[UUID, datetime]:
    """When a node last got each; those that none ever got are absent."""
    return {row["secret_id"]: row["at"] for row in await session.fetch("usage_last_release", list(secret_ids))}


async def current_on_node(session: Session, node_id: UUID, deployment_ids: Sequence[UUID]) -> dict[UUID, Services | None]:
    """Those of the deployments that are current on the node, in order of id, with what ran of each at the last check; None before
    the first."""
    rows = await session.fetch("current_on_node", node_id, list(deployment_ids))
    return {row["id"]: None if row["checked_at"] is None else json.loads(row["services"]) for row in rows}


async def write_check(session: Session, deployment_id: UUID, services: Services) -> None:
    """What the agent saw running, now."""
    await session.execute("deployment_checked", deployment_id, json.dumps(services))


async def checked_page(
    session: Session, filters: tuple[str | None, str | None, str | None], before: UUID | None, limit: int
) -> list[CheckedRow]:
    """Current deployments, newest first; ``filters`` are app, environment and node."""
    rows = await session.fetch("drift_page", *filters, before, limit)
    return [
        CheckedRow(**{**dict(row), "reported": json.loads(row["reported"]), "held": _services(row["held"])}) for row in rows
    ]


async def held_references(session: Session, deployment_ids: Sequence[UUID]) -> list[HeldReference]:
    """The references of deployments, in order."""
    return [HeldReference(**dict(row)) for row in await session.fetch("drift_references", list(deployment_ids))]


async def seen_by_node(session: Session, node_id: UUID) -> list[SeenRow]:
    """Every version that was ever released to a node, by app."""
    return [SeenRow(**dict(row)) for row in await session.fetch("seen_by_node", node_id)]


async def seen_by_principal(session: Session, principal_id: UUID) -> list[SeenRow]:
    """Every version that a principal was shown or made, by audit action."""
    reader = await read_reader(session, SEEN)
    found = await session.fetch("seen_by_principal", principal_id, *reader.key.arguments)
    return [SeenRow(**dict(row)) for row in found]


def _services(text: str | None) -> Services | None:
    services: Services | None = None if text is None else json.loads(text)
    return services
