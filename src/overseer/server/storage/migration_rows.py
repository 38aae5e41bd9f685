"""Secrets that move between instances, as rows: read with everything that comes along, written with the ids that they had."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from overseer.server.storage.database import Session
from overseer.server.storage.scope_rows import Part
from overseer.server.storage.secret_rows import SecretRow, secret_of
from overseer.server.storage.version_rows import StoredVersion

_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class PartHere:
    """An app, an environment or a node."""

    part: Part
    id: UUID
    name: str
    description: str
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class VersionHere:
    """One version without its value. ``creator`` is who made it elsewhere, ``maker`` a principal's name."""

    secret_id: UUID
    version: int
    id: UUID
    created_at: datetime
    readable_until: datetime | None
    creator: str | None
    maker: str | None


@dataclass(frozen=True, slots=True)
class ArrivingSecret:
    """A secret to insert, with the number of its newest version and of the active one."""

    id: UUID
    scope_id: UUID
    name: str
    latest: int
    active: int
    description: str
    labels: dict[str, str]
    owner: str
    expires_at: datetime | None
    generator: str | None
    rotation: dict[str, Any] | None
    created_by: UUID
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ArrivingVersion:
    """A version to insert, sealed for this instance."""

    stored: StoredVersion
    readable_until: datetime | None
    created_at: datetime
    creator: str


async def secrets_of_scopes(
    session: Session, apps: Collection[UUID] | None, environment: UUID | None, node: UUID | None, *, with_global: bool
) -> list[SecretRow]:
    """Every secret whose scope has these parts (of ``apps`` one), and those of the global scope where they are asked for."""
    given = None if apps is None else list(apps)
    return [secret_of(row) for row in await session.fetch("migration_secrets", given, environment, node, with_global)]


async def parts_here(session: Session, ids: Collection[UUID], names: Collection[tuple[Part, str]]) -> list[PartHere]:
    """The apps, environments and nodes of those ids, and those of those names."""
    by_part = [[name for part, name in names if part is wanted] for wanted in Part]
    rows = await session.fetch("migration_parts", list(ids), *by_part)
    return [PartHere(Part(row["part"]), row["id"], row["name"], row["description"], json.loads(row["labels"])) for row in rows]


async def versions_here(session: Session, secret_ids: Collection[UUID], ids: Collection[UUID] = ()) -> list[VersionHere]:
    """All versions of the secrets, and those versions of whatever secret that have one of ``ids``."""
    return [VersionHere(**dict(row)) for row in await session.fetch("migration_versions", list(secret_ids), list(ids))]


async def rotator_kinds(session: Session, secret_ids: Collection[UUID]) -> dict[UUID, str]:
    """What changes the credentials of secrets at their source."""
    return {row["secret_id"]: row["kind"] for row in await session.fetch("migration_rotators", list(secret_ids))}


async def owners_here(session: Session, names: Collection[str]) -> set[str]:
    """Those of the names that a user, a service account or a group has."""
    return {row["name"] for row in await session.fetch("migration_owners", list(names))}


async def insert_arriving(session: Session, secrets: Sequence[ArrivingSecret]) -> None:
    """Secrets with the ids that they had; :class:`AlreadyExists` where an id or a name is taken. Their versions must follow."""
    rows = [
        (
            *(one.id, one.scope_id, one.name, one.latest, one.active, one.description, json.dumps(one.labels), one.owner),
            *(one.expires_at, one.generator, None if one.rotation is None else json.dumps(one.rotation)),
            *(one.created_by, one.created_at),
        )
        for one in secrets
    ]
    for first in range(0, len(rows), _AT_ONCE):
        await session.executemany("migration_secret_insert", rows[first : first + _AT_ONCE])


async def insert_versions(session: Session, versions: Sequence[ArrivingVersion]) -> None:
    """Versions with the ids that they had; :class:`AlreadyExists` where one is taken."""
    rows = [
        (
            *(one.stored.secret_id, one.stored.version, one.stored.id, one.stored.format, one.stored.kek_term),
            *(one.stored.wrapped_dek, one.stored.ciphertext, one.readable_until, one.created_at, one.creator),
        )
        for one in versions
    ]
    for first in range(0, len(rows), _AT_ONCE):
        await session.executemany("migration_version_insert", rows[first : first + _AT_ONCE])


async def advance(session: Session, secret_id: UUID, latest: int, active: int) -> None:
    """Count versions that came to a secret that is here already; the caller holds the lock."""
    await session.execute("migration_secret_advance", secret_id, latest, active)
