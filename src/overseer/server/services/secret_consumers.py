"""What stands in the way of taking a secret away: deployments that use it, and secrets that it shadows."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from overseer.core.errors import InUse, Problem
from overseer.core.permissions import Permission
from overseer.core.scopes import Scope
from overseer.server.services.gate import Entry
from overseer.server.services.usage_views import visible_consumer
from overseer.server.storage import secret_rows, usage_rows
from overseer.server.storage.secret_rows import SecretRow


async def used(entry: Entry, secret_ids: Collection[UUID]) -> set[UUID]:
    """Those that something refers to that is deployed or about to be."""
    return await usage_rows.wanted(entry.session, list(secret_ids))


async def refusal_of_use(entry: Entry, secret_id: UUID) -> InUse:
    """The error for a secret that is used: each consumer that the caller may see, and that there are others."""
    consumers = await usage_rows.consumers_of(entry.session, [secret_id])
    seen = [one for one in consumers if visible_consumer(entry, one)]
    problems = []
    for one in seen:
        place = str(Scope(one.app, one.environment, one.node))
        problems.append(Problem(place, f"{one.reference} of {', '.join(one.services) or one.project}", "in_use"))
    more = "" if seen and len(seen) == len(consumers) else "; others are about to run, or you may not see them"
    message = f"{len(seen)} references of what is deployed use this secret{more}: undeploy them, or force it"
    return InUse(message, problems=problems)


async def check_unused(entry: Entry, secret_id: UUID) -> None:
    """Raise :class:`InUse` where something that is deployed, or about to be, refers to the secret."""
    if await used(entry, [secret_id]):
        raise await refusal_of_use(entry, secret_id)


async def overlapping(entry: Entry, name: str, scope: Scope[UUID], but: UUID) -> list[SecretRow]:
    """Secrets of ``name`` that the caller may list and that apply at some place where one at ``scope`` applies, too."""
    rows = await secret_rows.secrets_by_name(entry.session, name)
    return [
        row
        for row in rows
        if row.id != but and _overlap(row.scope, scope) and entry.permits(Permission.SECRET_LIST, row.resource())
    ]


async def shadowed_by(entry: Entry, row: SecretRow) -> list[SecretRow]:
    """Those that consumers get instead where ``row`` is gone."""
    return [one for one in await overlapping(entry, row.name, row.scope, row.id) if one.scope.rank < row.scope.rank]


def _overlap(one: Scope[UUID], other: Scope[UUID]) -> bool:
    pairs = ((one.app, other.app), (one.environment, other.environment), (one.node, other.node))
    return all(a is None or b is None or a == b for a, b in pairs)
