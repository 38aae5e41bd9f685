"""The audit log as a list."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer, Request


class AuditView(Answer, frozen=True):
    """One row. ``id`` is its cursor (incarnation.xact.id); ``code`` says why it was denied or failed."""

    id: str
    at: datetime
    request_id: str
    actor: str
    actor_id: str | None
    actor_kind: str
    on_behalf_of: str | None
    token_id: str | None
    action: str
    outcome: str
    code: str
    resource_kind: str
    resource_id: str | None
    resource_name: str
    app: str | None
    environment: str | None
    node: str | None
    version: int | None
    peer: str
    client: str
    reason: str
    repeats: int


class AuditExport(Answer, frozen=True):
    """A part of an export: ``rows`` records as text. The whole is the texts of all parts, one after the other."""

    text: str
    rows: int
    next_cursor: str | None


class AuditErase(Request, frozen=True):
    """Whose free text to erase: of all rows of ``actor`` (a name or an id), or of one ``row``; exactly one of both."""

    actor: str | None = None
    row: str | None = None


class AuditErased(Answer, frozen=True):
    """How many texts were erased."""

    erased: int
