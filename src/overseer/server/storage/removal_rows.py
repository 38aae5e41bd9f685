"""What belongs to an app, an environment or a node, and the deletion of it, as rows."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from overseer.core.scopes import Scope
from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class DeployedRow:
    """Something that runs at the part, or is about to."""

    id: UUID
    app_id: UUID
    app: str
    environment_id: UUID | None
    environment: str | None
    node_id: UUID
    node: str
    project: str
    state: str

    @property
    def scope(self) -> Scope[UUID]:
        return Scope(self.app_id, self.environment_id, self.node_id)


async def bindings_of(session: Session, scope: Scope[UUID]) -> list[UUID]:
    """Bindings that select the part by its id; ``scope`` has exactly that part."""
    return [row["id"] for row in await session.fetch("part_bindings", *_parts(scope))]


async def deployed_at(session: Session, scope: Scope[UUID]) -> list[DeployedRow]:
    """What runs there, or is about to."""
    return [DeployedRow(**dict(row)) for row in await session.fetch("part_deployed", *_parts(scope))]


async def counts(session: Session, scope: Scope[UUID]) -> tuple[int, int]:
    """How many deployments, past ones too, and bundles."""
    row = await session.fetchrow("part_counts", *_parts(scope))
    assert row is not None  # noqa: S101  # a SELECT without FROM has one row
    return row["deployments"], row["bundles"]


async def delete_own_bindings(session: Session, principal_id: UUID) -> None:
    """What a node itself holds: it names the node, so it goes before the node does."""
    await session.execute("binding_delete_of_subject", principal_id)


async def delete_history(session: Session, scope: Scope[UUID]) -> None:
    """Deployments with their references and groups, then the bundles that only they named."""
    await session.execute("part_deployments_delete", *_parts(scope))
    if scope.app is not None:
        await session.execute("part_bundles_delete", scope.app)
    if scope.node is not None:
        await session.execute("part_rollout_nodes_delete", scope.node)


def _parts(scope: Scope[UUID]) -> tuple[UUID | None, UUID | None, UUID | None]:
    return scope.app, scope.environment, scope.node
