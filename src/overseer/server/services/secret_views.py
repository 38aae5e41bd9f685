"""Secrets as the wire shows them: metadata and an entity tag, never a value."""

from __future__ import annotations

from overseer.server.services.tagged import Tagged, entity_tag
from overseer.server.storage.secret_rows import SecretRow
from overseer.wire.secrets import ScopeView, SecretView


def secret_view(row: SecretRow) -> SecretView:
    """The metadata of one secret."""
    return SecretView(
        id=str(row.id),
        name=row.name,
        scope=ScopeView(app=row.scope_names.app, environment=row.scope_names.environment, node=row.scope_names.node),
        version=row.latest_version,
        active_version=row.active_version,
        description=row.description,
        labels=row.labels,
        owner=row.owner,
        expires_at=row.expires_at,
        rotation=row.rotation,
        source=row.source,
        created_at=row.created_at,
        updated_at=row.updated_at,
        rollout=None if row.rollout is None else str(row.rollout),
    )


def tagged_view(row: SecretRow) -> Tagged[SecretView]:
    """The metadata of one secret with its entity tag."""
    return Tagged(secret_view(row), entity_tag(row.latest_version, row.revision))
