"""Using the audit log: searching and exporting rows, erasing free text. Writing it is the gate's work; nothing changes a row.

A search goes on in steps that each look at a bounded number of rows: a page may hold fewer rows than asked for, even none, and
still have a next cursor. Only a page without one is the end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

import msgspec

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.audit_filter import AuditFilter
from overseer.core.csv_text import csv_line
from overseer.core.errors import InvalidInput, Problem
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.server.services.cursors import check_limit
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.moments import check_moment
from overseer.server.storage.audit_reading import LAST_KEY, RowKey, erase_texts, search
from overseer.server.storage.database import Record
from overseer.wire.audit import AuditErase, AuditErased, AuditExport, AuditView
from overseer.wire.messages import Page

MAX_PART: Final = 5000
FORMS: Final = ("csv", "jsonl")
_ERASED_AT_ONCE: Final = 5000
_FIELDS: Final = AuditView.__struct_fields__
_LOG: Final = Resource("audit")
ALL: Final = AuditFilter()


class AuditService:
    """See the module's text."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def list(
        self, caller: Caller, wanted: AuditFilter = ALL, *, cursor: str | None = None, limit: int = 100
    ) -> Page[AuditView]:
        """Rows that match every filter given (``action`` may end in ``*``), newest first.

        ``limit`` is 1 to 500. Needs ``audit:read``.
        """
        async with self._gate.enter(caller, AuditAction.AUDIT_LIST) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            rows, after = await _found(entry, wanted, cursor, check_limit(limit))
        return Page(items=[audit_view(row) for row in rows], next_cursor=after)

    async def export(
        self, caller: Caller, form: str = "jsonl", wanted: AuditFilter = ALL, *, cursor: str | None = None, limit: int = MAX_PART
    ) -> AuditExport:
        """The same as text, up to 5,000 rows: ``jsonl`` or ``csv`` (the first part has its header).

        Needs ``audit:read``.
        """
        async with self._gate.enter(caller, AuditAction.AUDIT_EXPORT) as entry:
            entry.authorise(Permission.AUDIT_READ, _LOG)
            if form not in FORMS:
                rule = f"format is one of {', '.join(FORMS)}"
                raise InvalidInput(rule, problems=[Problem("query.format", rule, "bad_format")])
            if not 1 <= limit <= MAX_PART:
                rule = f"limit is 1 to {MAX_PART}"
                raise InvalidInput(rule, problems=[Problem("query.limit", rule, "bad_limit")])
            rows, after = await _found(entry, wanted, cursor, limit)
        views = [audit_view(row) for row in rows]
        if form == "csv":
            text = "".join(csv_line(_cells(view)) for view in views)
            text = (csv_line(_FIELDS) if cursor is None else "") + text
        else:
            text = "".join(msgspec.json.encode(view).decode() + "\n" for view in views)
        return AuditExport(text=text, rows=len(views), next_cursor=after)

    async def erase_texts(self, caller: Caller, body: AuditErase) -> AuditErased:
        """Erase what was written as free text (reasons, user agents) beside the rows of a principal, or beside one row.

        The rows stay, and so does their commitment to the text: a verification counts it as erased. Needs ``audit:erase``.
        """
        async with self._gate.enter(caller, AuditAction.AUDIT_ERASE_TEXT) as entry:
            entry.authorise(Permission.AUDIT_ERASE, _LOG)
            if (body.actor is None) == (body.row is None):
                rule = "give exactly one of actor and row"
                raise InvalidInput(rule, problems=[Problem("body", rule, "one_of")])
            targets: list[tuple[UUID | None, RowKey | None]] = []
            if body.row is not None:
                targets = [(None, _key(body.row, "body.row", "the id of an audit row"))]
            else:
                targets = [(one, None) for one in await _actors(entry, body.actor or "")]
            count = 0
            for actor_id, row in targets:
                while erased := await erase_texts(entry.session, actor_id, row, _ERASED_AT_ONCE):
                    count += erased
            entry.amend(code=str(count), resource_id=targets[0][0] if len(targets) == 1 else None)
        return AuditErased(erased=count)


async def _found(entry: Entry, wanted: AuditFilter, cursor: str | None, limit: int) -> tuple[list[Record], str | None]:
    after = LAST_KEY if cursor is None else _key(cursor, "query.cursor", "the next_cursor of the page before")
    rows, end = await search(entry.session, _checked(wanted), after, limit)
    return rows, None if end is None else end.text


def _checked(filters: AuditFilter) -> AuditFilter:
    """The filter; an action that ends in ``*`` is a beginning. Raises :class:`InvalidInput` for what no row can hold."""
    for name in AuditFilter.__slots__:
        value = getattr(filters, name)
        if isinstance(value, str) and "\x00" in value:
            raise InvalidInput(f"{name} holds a NUL", problems=[Problem(f"query.{name}", "holds no NUL", "bad_text")])
    filters = replace(
        filters, since=check_moment(filters.since, "query.since"), until=check_moment(filters.until, "query.until")
    )
    if filters.action is not None and filters.action.endswith("*"):
        filters = replace(filters, action=None, action_prefix=filters.action[:-1])
    return filters


async def _actors(entry: Entry, text: str) -> list[UUID]:
    """The principals of a name, or the one of an id, which may be deleted by now."""
    try:
        return [UUID(text)]
    except ValueError:
        pass
    found = [row["id"] for row in await entry.session.fetch("audit_actor_ids", text)]
    if not found:
        entry.missing(_LOG)
    return found


def _key(text: str, place: str, what: str) -> RowKey:
    found = RowKey.parse(text)
    if found is None:
        rule = f"is {what}"
        raise InvalidInput(f"{place} {rule}", problems=[Problem(place, rule, "bad_cursor")])
    return found


def _cells(view: AuditView) -> list[str]:
    fields = msgspec.to_builtins(view)
    return ["" if fields[name] is None else str(fields[name]) for name in _FIELDS]


def audit_view(row: Record) -> AuditView:
    """A row as callers and sinks get it."""

    def text(value: UUID | None) -> str | None:
        return str(value) if value is not None else None

    return AuditView(
        id=RowKey.of(row).text,
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
