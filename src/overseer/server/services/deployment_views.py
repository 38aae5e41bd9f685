"""Deployments as people read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from overseer.core.access import Resource
from overseer.server.storage.deployment_rows import OPEN_STATES, DeploymentRow, DeploymentSecretRow
from overseer.server.storage.group_rows import GroupRow
from overseer.wire.deployments import (
    DeploymentGroupView,
    DeploymentReference,
    DeploymentView,
    ServiceState,
    VerificationView,
    VerifiedReference,
)

_RESULTS: Final = {True: "matches", False: "differs", None: "unknown"}


def deployment_resource(row: DeploymentRow) -> Resource:
    """What the gate decides about."""
    return Resource("deployment", row.app, row.scope, row.id, row.scope_names)


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
        group=None if row.group_id is None else str(row.group_id),
        plan=row.options.get("plan"),
        rollback_of=row.options.get("rollback_of"),
        rollout=row.options.get("rollout"),
        target=row.options.get("target", "compose"),
    )


def group_view(group: GroupRow, deployments: Sequence[DeploymentView]) -> DeploymentGroupView:
    """A group: failed as soon as nothing of it is open and one did not succeed."""
    states = {one.state for one in deployments}
    state = "running" if states & OPEN_STATES else "succeeded" if states == {"succeeded"} else "failed"
    return DeploymentGroupView(
        id=str(group.id), state=state, parallel=group.parallel, created_at=group.created_at, deployments=list(deployments)
    )


def verification_view(row: DeploymentRow, secrets: Sequence[DeploymentSecretRow], *, current: bool) -> VerificationView:
    """What the agent last said about each reference."""
    references = [
        VerifiedReference(
            reference=one.reference,
            name=one.secret_name,
            version=one.version,
            services=one.services,
            result=_RESULTS[one.matches],
            checked_at=one.checked_at,
        )
        for one in secrets
    ]
    results = {one.result for one in references}
    return VerificationView(
        deployment=str(row.id),
        app=row.app,
        environment=row.environment,
        node=row.node,
        state=row.state,
        current=current,
        result=next((word for word in ("differs", "unknown") if word in results), "matches"),
        checked_at=row.checked_at or max((one.checked_at for one in references if one.checked_at), default=None),
        references=references,
    )
