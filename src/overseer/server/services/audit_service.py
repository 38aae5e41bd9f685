"""Reading the audit log. Writing it is the gate's work; nothing changes it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import InvalidInput, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.gate import Gate
from overseer.server.services.moments import check_moment
from overseer.wire.audit import AuditView
from overseer.wire.messages import Page

MAX_LIMIT: Final = 500


class AuditService:
    """See the module's text."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def list(
        self,
        caller: Caller,
        *,
        actor: str | None = None,
        action: str | None = None,
        outcome: str | None = None,
        request_id: str | None = None,
        resource: str | None = None,
        resource_id: UUID | None = None,
        app: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        cursor: str | None = None,
        limit: int = 100,
    ) -> Page[AuditView]:
        """Rows that match every filter given, newest first. ``resource`` is a name; ``limit`` 1 to 500."""
        async with self._gate.enter(caller, AuditAction.AUDIT_LIST) as entry:
            entry.authorise(Permission.AUDIT_READ, Resource("audit"))
            after = _read_cursor(cursor)
            if not 1 <= limit <= MAX_LIMIT:
                rule = f"limit is 1 to {MAX_LIMIT}"
                raise InvalidInput(rule, problems=[Problem("query.limit", rule, "bad_limit")])
            period = check_moment(since, "query.since"), check_moment(until, "query.until")
            filters = (actor, action, outcome, request_id, resource, app, *period)
            rows = await entry.session.fetch("audit_page", *filters, *after, limit + 1, resource_id)
        items = [_view(dict(row)) for row in rows[:limit]]
        return Page(items=items, next_cursor=items[-1].id if len(rows) > limit else None)


def _read_cursor(cursor: str | None) -> tuple[int | None, str | None, int | None]:
    """A cursor is the id of the last row seen: incarnation.xact.id."""
    if cursor is None:
        return None, None, None
    parts = cursor.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() and len(part) <= 18 for part in parts):
        rule = "cursor is the next_cursor of the page before"
        raise InvalidInput(rule, problems=[Problem("query.cursor", rule, "bad_cursor")])
    incarnation, xact, row_id = (int(part) for part in parts)
    if incarnation >= 1 << 31:
        raise InvalidInput("cursor is the next_cursor of the page before")
    return incarnation, str(xact), row_id


def _view(row: dict[str, Any]) -> AuditView:
    def text(value: UUID | None) -> str | None:
        return str(value) if value is not None else None

    return AuditView(
        id=f"{row['incarnation']}.{row['xact']}.{row['id']}",
        at=row["at"],
        request_id=row["request_id"],
        actor=row["actor_name"],
        actor_id=text(row["actor_id"]),
        actor_kind=row["actor_kind"],
        on_behalf_of=text(row["on_behalf_of"]),
        token_id=text(row["token_id"]),
        action=row["action"],
        outcome=row["outcome"],
        code=row["code"],
        resource_kind=row["resource_kind"],
        resource_id=text(row["resource_id"]),
        resource_name=row["resource_name"],
        app=row["app"],
        environment=row["environment"],
        node=row["node"],
        version=row["version"],
        peer=row["peer"],
        client=row["client"],
        reason=row["reason"],
        repeats=row["repeats"],
    )
