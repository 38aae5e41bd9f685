"""Deployments that a node may be given once more, because its memory has lost their files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from uuid import UUID

from overseer.server.storage.database import Session
from overseer.server.storage.deployment_rows import WorkRow


async def refillable(session: Session, node_id: UUID, deployment_ids: Sequence[UUID]) -> list[WorkRow]:
    """Those that are current on the node while nothing is under way for their project there."""
    rows = await session.fetch("refill_allowed", node_id, list(deployment_ids))
    return [WorkRow(**{**dict(row), "options": json.loads(row["options"])}) for row in rows]
