"""Where secrets are used, from facts: what the current deployments refer to and what their agents saw.

Deployments are all that is known here: who reads a value over the API stands in the audit log. Secrets need ``secret:list``, each
consumer needs ``deployment:list`` at its place; a report about unused secrets counts every deployment, seen or not.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import msgspec

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.cursors import bad_cursor, check_limit, read_cursor, write_cursor
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.secret_access import known_secret
from overseer.server.services.secret_consumers import shadowed_by
from overseer.server.services.secret_views import secret_view
from overseer.server.services.usage_views import consumer_view, visible_consumer
from overseer.server.storage import usage_rows
from overseer.server.storage.secret_rows import SecretFilter, SecretRow, visible_page
from overseer.server.storage.usage_rows import ConsumerRow
from overseer.wire.messages import Page
from overseer.wire.secrets import ScopeView
from overseer.wire.usage import UsageView

FILTERS: Final = ("unused", "stale")
_CHUNK: Final = 200
_MAX_CHUNKS: Final = 25


class UsageService:
    """See the module's text."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def usage(self, caller: Caller, secret_id: UUID) -> UsageView:
        """What uses one secret now. Needs ``secret:list`` on it."""
        async with self._gate.enter(caller, AuditAction.SECRET_USAGE) as entry:
            row = await known_secret(entry, secret_id, Permission.SECRET_LIST)
            consumers = await usage_rows.consumers_of(entry.session, [row.id])
            [view] = await _views(entry, [row], [one for one in consumers if visible_consumer(entry, one)])
            shadows = [secret_view(one) for one in await shadowed_by(entry, row)]
        return msgspec.structs.replace(view, shadows=shadows)

    async def report(
        self, caller: Caller, filter: str, cursor: str | None = None, limit: int = 100  # noqa: A002  # the query's name
    ) -> Page[UsageView]:
        """Of the secrets that the caller may list, by name: ``unused`` (nothing that runs or is about to refers to them) or
        ``stale`` (something runs with another version than the active one; only those consumers are shown).
        """
        async with self._gate.enter(caller, AuditAction.SECRET_USAGE) as entry:
            entry.authorise_list(Permission.SECRET_LIST, Resource("secret"))
            after = None if cursor is None else _after(cursor)
            check_limit(limit)
            if filter not in FILTERS:
                rule = f"filter is one of {', '.join(FILTERS)}"
                raise InvalidInput(rule, problems=[Problem("query.filter", rule, "bad_filter")])
            found: list[UsageView] = []
            for _ in range(_MAX_CHUNKS):
                rows = await visible_page(
                    entry.session, entry.actor.id, Permission.SECRET_LIST, entry.now, SecretFilter(), after, _CHUNK
                )
                found += await (_unused if filter == "unused" else _stale)(entry, rows)
                after = (rows[-1].name, rows[-1].id) if len(rows) == _CHUNK else None
                if after is None or len(found) > limit:
                    break
        if len(found) > limit:
            after = (found[limit - 1].name, UUID(found[limit - 1].secret_id))
        return Page(items=found[:limit], next_cursor=None if after is None else write_cursor(after[0], str(after[1])))


async def _unused(entry: Entry, rows: list[SecretRow]) -> list[UsageView]:
    wanted = await usage_rows.wanted(entry.session, [row.id for row in rows])
    return await _views(entry, [row for row in rows if row.id not in wanted], [])


async def _stale(entry: Entry, rows: list[SecretRow]) -> list[UsageView]:
    by_id = {row.id: row for row in rows}
    consumers = await usage_rows.consumers_of(entry.session, list(by_id))
    behind = [one for one in consumers if visible_consumer(entry, one) and is_stale(by_id[one.secret_id], one)]
    secrets = {one.secret_id for one in behind}
    return await _views(entry, [row for row in rows if row.id in secrets], behind)


def is_stale(secret: SecretRow, consumer: ConsumerRow) -> bool:
    """Runs with another version than the active one; one that a rollout has brought ahead of it is not stale."""
    if secret.rollout is not None:
        return consumer.version < secret.active_version
    return consumer.version != secret.active_version


async def _views(entry: Entry, rows: list[SecretRow], consumers: list[ConsumerRow]) -> list[UsageView]:
    last = await usage_rows.last_releases(entry.session, [row.id for row in rows])
    return [
        UsageView(
            secret_id=str(row.id),
            name=row.name,
            scope=ScopeView(app=row.scope_names.app, environment=row.scope_names.environment, node=row.scope_names.node),
            version=row.latest_version,
            active_version=row.active_version,
            rollout=None if row.rollout is None else str(row.rollout),
            last_released_at=last.get(row.id),
            consumers=[consumer_view(one) for one in consumers if one.secret_id == row.id],
        )
        for row in rows
    ]


def _after(cursor: str) -> tuple[str, UUID]:
    name, secret_id = read_cursor(cursor, str, str)
    try:
        return name, UUID(secret_id)
    except ValueError:
        raise bad_cursor() from None
