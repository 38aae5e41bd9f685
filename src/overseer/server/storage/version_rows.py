"""Versions of secrets: an envelope each, and what a list shows of one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from overseer.core.errors import TooLarge
from overseer.server.storage.database import Session

MAX_VERSION: Final = 2**31 - 1
"""The greatest number that the column holds; a greater one in a request names no version."""
GRACE: Final = timedelta(days=7)
"""How long a version is promised to stay readable after another one took its place; nothing deletes it before."""
MAX_READ_BYTES: Final = 32 * 1024 * 1024
"""Ciphertext that one request may read: its answer is held in memory as a whole."""


@dataclass(frozen=True, slots=True)
class StoredVersion:
    """One version as it lies in the database; ``scope_id`` is its secret's."""

    secret_id: UUID
    version: int
    id: UUID
    scope_id: UUID
    format: int
    kek_term: int
    wrapped_dek: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class VersionRow:
    """One version in a list. ``created_by`` is a principal's name, None where it is gone."""

    version: int
    active: bool
    created_at: datetime
    created_by: str | None
    readable_until: datetime | None


async def insert_version(session: Session, stored: StoredVersion, created_by: UUID | None) -> None:
    """A new version; the caller holds the secret's lock or has just inserted it."""
    fields = (stored.id, stored.format, stored.kek_term, stored.wrapped_dek, stored.ciphertext, created_by)
    await session.execute("version_insert", stored.secret_id, stored.version, *fields)


async def replace_version(session: Session, old_id: UUID, stored: StoredVersion) -> None:
    """The envelope of the same version for another scope; the caller holds the secret's lock."""
    fields = (stored.format, stored.kek_term, stored.wrapped_dek, stored.ciphertext)
    await session.execute("version_replace", old_id, stored.id, *fields)


async def version_exists(session: Session, secret_id: UUID, version: int) -> bool:
    """True where the secret has that version."""
    return 1 <= version <= MAX_VERSION and await session.fetchval("version_exists", secret_id, version)


async def existing_versions(session: Session, wanted: Iterable[tuple[UUID, int]]) -> set[tuple[UUID, int]]:
    """Those of the (secret, version) that exist, in one query."""
    asked = sorted({(secret_id, version) for secret_id, version in wanted if 1 <= version <= MAX_VERSION})
    if not asked:
        return set()
    rows = await session.fetch("versions_existing", [one for one, _ in asked], [version for _, version in asked])
    return {(row["secret_id"], row["version"]) for row in rows}


async def version_page(session: Session, secret_id: UUID, before: int | None, limit: int) -> list[VersionRow]:
    """The newest ``limit`` versions below ``before``."""
    rows = await session.fetch("version_page", secret_id, before, limit)
    return [VersionRow(**dict(row)) for row in rows]


async def begin_grace(session: Session, secret_id: UUID, was_active: int, active: int) -> None:
    """Note until when the version that was active stays readable for whoever still holds it. It can be read later, too."""
    await session.execute("version_grace", secret_id, was_active, active, GRACE)


async def stored_versions(
    session: Session, wanted: Sequence[tuple[UUID, int]], most_bytes: int = MAX_READ_BYTES
) -> dict[tuple[UUID, int], StoredVersion]:
    """The stored form of each (secret, version) that exists, in one query. :class:`TooLarge` beyond ``most_bytes`` in all."""
    wanted = [(secret_id, version) for secret_id, version in wanted if 1 <= version <= MAX_VERSION]
    rows = await session.fetch("versions_stored", [one for one, _ in wanted], [version for _, version in wanted], most_bytes)
    if any(row["ciphertext"] is None for row in rows):
        raise TooLarge(f"the values of one request have at most {most_bytes} bytes in all; ask for fewer at once")
    return {
        (row["secret_id"], row["version"]): StoredVersion(
            row["secret_id"],
            row["version"],
            row["id"],
            row["scope_id"],
            row["format"],
            row["kek_term"],
            row["wrapped_dek"],
            row["ciphertext"],
        )
        for row in rows
    }
