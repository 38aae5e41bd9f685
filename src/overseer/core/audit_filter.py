"""Which rows of the audit log are wanted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFilter:
    """What a row has to be, every field that is given; in the order of the statement ``audit_scan``.

    ``actor`` and ``on_behalf_of`` are names or ids, ``action_prefix`` is the beginning of an action, ``text`` stands somewhere in
    the reason, in any case of letters.
    """

    actor: str | None = None
    on_behalf_of: str | None = None
    action: str | None = None
    action_prefix: str | None = None
    outcome: str | None = None
    code: str | None = None
    resource_kind: str | None = None
    resource: str | None = None
    resource_id: UUID | None = None
    app: str | None = None
    environment: str | None = None
    node: str | None = None
    peer: str | None = None
    request_id: str | None = None
    token_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
