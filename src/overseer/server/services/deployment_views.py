"""Deployments as people read them."""

from __future__ import annotations

import msgspec

from overseer.server.storage.deployment_rows import DeploymentRow, DeploymentSecretRow
from overseer.wire.deployments import DeploymentReference, DeploymentView, ServiceState


def deployment_view(row: DeploymentRow, secrets: list[DeploymentSecretRow]) -> DeploymentView:
    """One deployment with its references; never a value."""
    return DeploymentView(
        id=str(row.id),
        app=row.app,
        environment=row.environment,
        node=row.node,
        action=row.action,
        bundle=row.bundle,
        project=row.project,
        state=row.state,
        references=[
            DeploymentReference(
                reference=secret.reference,
                secret_id=str(secret.secret_id),
                name=secret.secret_name,
                version=secret.version,
                kinds=secret.kinds,
                services=secret.services,
                persists=secret.persists,
                matches=secret.matches,
            )
            for secret in secrets
        ],
        services=msgspec.convert(row.services, list[ServiceState]),
        output=row.output,
        error=row.error,
        created_by=row.creator,
        created_at=row.created_at,
        finished_at=row.finished_at,
    )
