"""Consumers of secrets as people read them."""

from __future__ import annotations

import msgspec

from overseer.core.access import Resource
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.storage.usage_rows import ConsumerRow
from overseer.wire.deployments import ServiceState
from overseer.wire.usage import ConsumerView


def visible_consumer(entry: Entry, row: ConsumerRow) -> bool:
    """True where the caller may list the deployment."""
    names = Scope(row.app, row.environment, row.node)
    resource = Resource("deployment", row.app, row.scope, row.deployment_id, names)
    return entry.permits(Permission.DEPLOYMENT_LIST, resource)


def consumer_view(row: ConsumerRow) -> ConsumerView:
    """One reference of what runs."""
    seen = msgspec.convert(row.reported if row.held is None else row.held, list[ServiceState])
    return ConsumerView(
        deployment_id=str(row.deployment_id),
        app=row.app,
        environment=row.environment,
        node=row.node,
        node_state=row.node_state,
        project=row.project,
        reference=row.reference,
        version=row.version,
        pinned=row.pinned,
        persists=row.persists,
        matches=row.matches,
        checked_at=row.checked_at,
        services=row.services,
        containers=[one for one in seen if one.service in row.services],
    )
