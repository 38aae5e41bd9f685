"""Backends and the sources of secrets as rows. Credentials lie in an envelope; nothing here opens it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from overseer.core.errors import Conflict
from overseer.crypto.envelope import BackendContext, EncryptedValue
from overseer.server.storage.database import Record, Session


@dataclass(frozen=True, slots=True)
class BackendRow:
    """One backend. Times in seconds; ``secrets`` come from it, ``failing`` of them had a last try that went wrong."""

    id: UUID
    name: str
    kind: str
    description: str
    settings: dict[str, str]
    ttl: int
    stale_if_error: int
    max_age: int
    timeout: int
    credential_id: UUID
    credentials: EncryptedValue = field(repr=False)
    revision: int = 1
    created_at: datetime | None = None
    updated_at: datetime | None = None
    secrets: int = 0
    failing: int = 0
    last_success: datetime | None = None

    def context(self, instance_id: UUID) -> BackendContext:
        """What its credentials are bound to."""
        return BackendContext(instance_id, self.id, self.credential_id, canonical(self.kind, self.settings))


@dataclass(frozen=True, slots=True)
class SourceRow:
    """Where one secret's value comes from, how the last try went, and what its backend says about age (seconds)."""

    secret_id: UUID
    backend_id: UUID
    backend: str
    ref: str
    field: str
    mode: str
    fetched_at: datetime
    tried_at: datetime
    failure: str
    created_by: UUID | None
    ttl: int
    stale_if_error: int
    max_age: int
    revision: int
    setter: str | None
    stopped: str
    active_version: int


def canonical(kind: str, settings: Mapping[str, str]) -> bytes:
    """The one text of kind and settings that credentials are bound to. Evolution rule: it never changes for stored rows."""
    return json.dumps([kind, dict(settings)], sort_keys=True, ensure_ascii=True, separators=(",", ":")).encode("ascii")


def backend_context(instance_id: UUID, row: Mapping[str, Any]) -> BackendContext:
    """The place of the envelope in a row."""
    return BackendContext(instance_id, row["id"], row["credential_id"], canonical(row["kind"], json.loads(row["settings"])))


async def insert_backend(session: Session, row: BackendRow, created_by: UUID) -> bool:
    """False where the name is taken."""
    return await session.fetchrow("backend_insert", row.id, row.name, row.kind, *_changing(row), created_by) is not None


async def update_backend(session: Session, row: BackendRow) -> None:
    """Everything but id, name and kind; the caller holds the lock."""
    await session.execute("backend_update", row.id, *_changing(row))


async def delete_backend(session: Session, backend_id: UUID) -> None:
    """Raises :class:`Conflict` where secrets come from it."""
    try:
        await session.execute("backend_delete", backend_id)
    except Conflict:
        raise Conflict("secrets come from this backend: give them values of their own first, or delete them") from None


async def backend_by_id(session: Session, backend_id: UUID, *, lock: bool = False) -> BackendRow | None:
    """A backend by id."""
    row = await session.fetchrow("backend_by_id_locked" if lock else "backend_by_id", backend_id)
    return _backend(row) if row else None


async def backends_by_id(session: Session, backend_ids: Sequence[UUID]) -> dict[UUID, BackendRow]:
    """Those of the backends that exist."""
    return {row["id"]: _backend(row) for row in await session.fetch("backends_by_id", list(backend_ids))}


async def backend_by_name(session: Session, name: str) -> BackendRow | None:
    """A backend by name."""
    row = await session.fetchrow("backend_by_name", name)
    return _backend(row) if row else None


async def backend_page(session: Session, after: str | None, limit: int) -> list[BackendRow]:
    """The first ``limit`` backends after a name."""
    return [_backend(row) for row in await session.fetch("backend_page", after, limit)]


async def sources_of(session: Session, secret_ids: Sequence[UUID]) -> dict[UUID, SourceRow]:
    """The sources of those of the secrets that have one."""
    rows = await session.fetch("sources_of", list(secret_ids))
    return {row["secret_id"]: SourceRow(**dict(row)) for row in rows}


async def source_page(session: Session, backend_id: UUID, after: UUID | None, limit: int) -> list[SourceRow]:
    """The first ``limit`` sources of a backend after that of a secret."""
    rows = await session.fetch("source_page", backend_id, after, limit)
    return [SourceRow(**dict(row)) for row in rows]


async def sources_to_sync(session: Session, at_least: int, limit: int) -> list[SourceRow]:
    """Sources of the mode sync whose time has come."""
    return [SourceRow(**dict(row)) for row in await session.fetch("sources_to_sync", at_least, limit)]


async def put_source(
    session: Session, secret_id: UUID, backend: BackendRow, ref: str, field: str, mode: str, created_by: UUID
) -> None:
    """Tie a secret to a reference whose value was stored in the same transaction."""
    await session.execute("source_put", secret_id, backend.id, ref, field, mode, created_by)
    shown = {"backend": backend.name, "ref": ref, "field": field, "mode": mode}
    await session.execute("secret_set_source", secret_id, json.dumps(shown))


async def stop_source(session: Session, secret_id: UUID, code: str) -> None:
    """It was not asked for, and why; the next look comes after the same time."""
    await session.execute("source_stopped", secret_id, code)


async def delete_source(session: Session, secret_id: UUID) -> None:
    """Untie a secret; its versions stay."""
    await session.execute("source_delete", secret_id)
    await session.execute("secret_set_source", secret_id, None)


async def note_try(session: Session, secret_id: UUID, failure: str, began: datetime) -> None:
    """How a try that began then went; '' is well."""
    await session.execute("source_tried", secret_id, failure, began)


def _changing(row: BackendRow) -> tuple[Any, ...]:
    sealed = row.credentials
    times = (row.ttl, row.stale_if_error, row.max_age, row.timeout)
    envelope = (row.credential_id, sealed.format, sealed.term, sealed.wrapped_dek, sealed.ciphertext)
    return (row.description, json.dumps(row.settings), *times, *envelope)


def _backend(row: Record) -> BackendRow:
    sealed = EncryptedValue(row["format"], row["kek_term"], row["wrapped_dek"], row["ciphertext"])
    plain = ("id", "name", "kind", "description", "ttl", "stale_if_error", "max_age", "timeout", "credential_id", "revision")
    shown = ("created_at", "updated_at", "secrets", "failing", "last_success")
    return BackendRow(
        **{name: row[name] for name in (*plain, *shown)}, settings=json.loads(row["settings"]), credentials=sealed
    )
