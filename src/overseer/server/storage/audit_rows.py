"""Audit rows into the database.

Guarantee: what stands in a row as a name can be one. A caller may send any text where a name belongs, a secret by mistake too; a
refused request is audited like any other, and its row then says only that there was no name.

Rows are inserted by one statement; where one carries free text (a reason, an unknown user agent), the text goes to the
side table ``audit_text`` and the row keeps SHA-256(salt ‖ reason ‖ 0x00 ‖ user agent), so that the text can be erased later
without touching the log. Any failure is :class:`AuditUnavailable`: who cannot audit cannot serve.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from overseer.core.audit_events import MAX_FREE_TEXT, AuditEvent
from overseer.core.backend_references import is_grant_pattern
from overseer.core.errors import AuditUnavailable, StoreUnavailable
from overseer.core.identifiers import is_name
from overseer.server.storage.database import Session

MAX_NAME = 160
"""Other short texts in rows are cut to this many characters."""

NO_NAME = "(no name)"
"""Stands in a row for a text that breaks the rule of names; no name can be equal to it."""


def commitment(salt: bytes, reason: str, user_agent: str) -> bytes:
    """The 32 bytes that bind a row to its erasable text."""
    return hashlib.sha256(salt + reason.encode() + b"\x00" + user_agent.encode()).digest()


def storable(text: str, limit: int) -> str:
    """``text`` as PostgreSQL can hold it: cut, without NUL and lone surrogates."""
    return text[:limit].replace("\x00", "\ufffd").encode("utf-8", "replace").decode("utf-8")


def recorded_name(text: str) -> str:
    """``text`` where it is a name, a reference of a backend (``corp:apps/shop/db``), a prefix of either (``db-*``) or nothing;
    else :data:`NO_NAME`."""
    plain = text.removesuffix("*")
    if not plain or is_name(plain):
        return text
    return storable(text, MAX_NAME) if is_grant_pattern(plain) else NO_NAME


async def insert_events(session: Session, events: Sequence[AuditEvent], repeats: Sequence[int] | None = None) -> None:
    """Insert ``events`` in order, inside the caller's transaction. Raises :class:`AuditUnavailable`."""
    if not events:
        return
    texts: list[tuple[UUID, bytes, str, str]] = []
    columns: list[list[Any]] = [[] for _ in range(21)]
    for position, event in enumerate(events):
        row = [*_columns(event), repeats[position] if repeats else 1, None, None]
        if event.reason or event.user_agent:
            reason, agent = storable(event.reason, MAX_FREE_TEXT), storable(event.user_agent, MAX_FREE_TEXT)
            text_id, salt = uuid4(), secrets.token_bytes(16)
            texts.append((text_id, salt, reason, agent))
            row[-2:] = [text_id, commitment(salt, reason, agent)]
        for column, field in zip(columns, row, strict=True):
            column.append(field)
    try:
        if texts:
            await session.execute("audit_text_insert", *(list(column) for column in zip(*texts, strict=True)))
        await session.execute("audit_insert", *columns)
    except (StoreUnavailable, asyncpg.PostgresError):
        raise AuditUnavailable("the audit log cannot be written, so nothing was done; try again") from None


def _columns(event: AuditEvent) -> list[Any]:
    return [
        storable(event.request_id, MAX_NAME),
        event.actor_id,
        storable(event.actor_name, MAX_NAME),
        event.actor_kind,
        event.on_behalf_of,
        event.token_id,
        event.action.value,
        event.outcome.value,
        event.code,
        event.resource_kind,
        event.resource_id,
        recorded_name(event.resource_name),
        event.app and recorded_name(event.app),
        event.environment and recorded_name(event.environment),
        event.node and recorded_name(event.node),
        event.version,
        event.peer,
        storable(event.client, MAX_NAME),
    ]
