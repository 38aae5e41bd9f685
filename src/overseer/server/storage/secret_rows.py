"""Secrets as rows: metadata with the names of their scope, never a value."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.permissions import PERMISSION_BITS, Permission
from overseer.core.scopes import Scope
from overseer.server.storage.database import Record, Session


@dataclass(frozen=True, slots=True)
class SecretRow:
    """A secret. ``scope`` by ids and ``scope_names`` by names are the same scope; ``revision`` counts every change.

    ``rollout`` is the running one, if there is one.
    """

    id: UUID
    name: str
    scope_id: UUID
    scope: Scope[UUID]
    scope_names: Scope[str]
    latest_version: int
    active_version: int
    revision: int
    description: str
    labels: dict[str, str]
    owner: str
    expires_at: datetime | None
    generator: str | None
    rotation: dict[str, Any] | None
    source: dict[str, Any] | None
    created_at: datetime
    updated_at: datetime
    rollout: UUID | None = None

    def resource(self, version: int | None = None) -> Resource:
        """What the gate decides about."""
        return Resource("secret", self.name, self.scope, self.id, self.scope_names, version)


@dataclass(frozen=True, slots=True)
class NewSecret:
    """A secret to insert, with version 1 as the active one."""

    id: UUID
    scope_id: UUID
    name: str
    description: str
    labels: dict[str, str]
    owner: str
    expires_at: datetime | None
    generator: str | None
    rotation: dict[str, Any] | None
    created_by: UUID


@dataclass(frozen=True, slots=True)
class SecretFilter:
    """Filters of a list; None is no filter. ``scope_rank`` as in :class:`Scope`."""

    app: str | None = None
    environment: str | None = None
    node: str | None = None
    scope_rank: int | None = None
    name: str | None = None
    name_is_prefix: bool = False
    label_key: str | None = None
    label_value: str | None = None
    text: str | None = None


async def secret_by_id(session: Session, secret_id: UUID) -> SecretRow | None:
    """A secret by id."""
    row = await session.fetchrow("secret_by_id", secret_id)
    return secret_of(row) if row else None


async def secrets_by_id(session: Session, secret_ids: Sequence[UUID]) -> list[SecretRow]:
    """Those of the secrets that exist, by name."""
    return [secret_of(row) for row in await session.fetch("secret_by_ids", list(secret_ids))]


async def lock_secrets(session: Session, secret_ids: Sequence[UUID]) -> dict[UUID, SecretRow]:
    """Those of the secrets that exist, locked in order of their ids, which keeps two batches from waiting for each other."""
    return {row["id"]: secret_of(row) for row in await session.fetch("secret_by_ids_locked", list(secret_ids))}


async def secrets_by_name(session: Session, name: str) -> list[SecretRow]:
    """Every secret of a name, at whatever scope."""
    return [secret_of(row) for row in await session.fetch("secret_by_name", name)]


async def secrets_at(session: Session, scope: Scope[UUID], name: str | None = None) -> list[SecretRow]:
    """The secrets (of ``name``) at exactly a scope."""
    rows = await session.fetch("secret_at_scope", scope.app, scope.environment, scope.node, name)
    return [secret_of(row) for row in rows]


async def secrets_of_part(session: Session, part: Scope[UUID]) -> list[SecretRow]:
    """The secrets at every scope that has the one part which is set in ``part``."""
    return [secret_of(row) for row in await session.fetch("part_secrets", part.app, part.environment, part.node)]


async def relocate_secret(session: Session, secret_id: UUID, scope_id: UUID, name: str) -> None:
    """Give a secret another scope and name; :class:`AlreadyExists` where that is taken. The caller holds the lock, and replaces
    the envelopes of its versions in the same transaction."""
    await session.execute("secret_relocate", secret_id, scope_id, name)


async def lock_secret(session: Session, secret_id: UUID) -> SecretRow | None:
    """The secret as it is under a row lock that lasts until the transaction ends."""
    row = await session.fetchrow("secret_by_id_locked", secret_id)
    return secret_of(row) if row else None


async def lock_free_secrets(session: Session, secret_ids: Sequence[UUID]) -> dict[UUID, SecretRow]:
    """Those of the secrets that nobody has locked, as they are under locks that last until the transaction ends."""
    return {row["id"]: secret_of(row) for row in await session.fetch("write_lock", list(secret_ids))}


async def candidates(session: Session, names: Sequence[str], place: Scope[UUID]) -> list[SecretRow]:
    """Every secret of ``names`` that applies at ``place``, in one query; ``core.scope_selection`` picks the winners."""
    rows = await session.fetch("secret_candidates_by_name", list(names), place.app, place.environment, place.node)
    return [secret_of(row) for row in rows]


async def all_candidates(session: Session, place: Scope[UUID], limit: int) -> list[SecretRow]:
    """The first ``limit`` secrets that apply at ``place``, by name."""
    rows = await session.fetch("secret_candidates_all", place.app, place.environment, place.node, limit)
    return [secret_of(row) for row in rows]


#: So many secrets are sooner sorted than looked for in the order of all names.
FEW_SECRETS: int = 1000


async def visible_page(
    session: Session,
    principal_id: UUID,
    permission: Permission,
    now: datetime,
    wanted: SecretFilter,
    after: tuple[str, UUID] | None,
    limit: int,
) -> list[SecretRow]:
    """The first ``limit`` secrets after ``after`` (name, id) over which the principal holds ``permission``, by name."""
    rows = await session.fetch(
        "secret_page",
        principal_id,
        1 << PERMISSION_BITS[permission],
        now,
        wanted.app,
        wanted.environment,
        wanted.node,
        wanted.scope_rank,
        wanted.name,
        wanted.name_is_prefix,
        wanted.label_key,
        wanted.label_value,
        wanted.text,
        *(after or (None, None)),
        limit,
        FEW_SECRETS,
    )
    return [secret_of(row) for row in rows]


async def insert_secret(session: Session, new: NewSecret) -> bool:
    """False where the scope has a secret of that name. Version 1 must follow in the same transaction."""
    labels, rotation = json.dumps(new.labels), _json(new.rotation)
    fields = (new.description, labels, new.owner, new.expires_at, new.generator, rotation, new.created_by)
    return await session.fetchrow("secret_insert", new.id, new.scope_id, new.name, *fields) is not None


async def add_version(session: Session, secret_id: UUID, version: int, activate: bool, generator: str | None) -> None:
    """Count a version that was inserted; the caller holds the lock."""
    await session.execute("secret_add_version", secret_id, version, activate, generator)


async def activate_version(session: Session, secret_id: UUID, version: int) -> None:
    """Make ``version`` the active one; the caller holds the lock."""
    await session.execute("secret_activate", secret_id, version)


async def touch_secret(session: Session, secret_id: UUID) -> None:
    """Count a change that is not in the secret's own row (a rollout that began or was withdrawn); the caller holds the lock."""
    await session.execute("secret_touch", secret_id)


async def patch_secret(
    session: Session,
    secret_id: UUID,
    description: str,
    labels: dict[str, str],
    owner: str,
    expires_at: datetime | None,
    rotation: dict[str, Any] | None,
    by: UUID,
) -> None:
    """Replace the metadata; the caller holds the lock. ``by`` stands for the policy from now on where it is another one."""
    await session.execute("secret_patch", secret_id, description, json.dumps(labels), owner, expires_at, _json(rotation), by)


async def delete_secret(session: Session, secret_id: UUID) -> None:
    """The secret with all of its versions and rollouts."""
    await session.execute("secret_delete", secret_id)


def _json(value: dict[str, Any] | None) -> str | None:
    return None if value is None else json.dumps(value)


def _read(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def secret_of(row: Record) -> SecretRow:
    """The secret in a row of the columns that every query of secrets gives."""
    return SecretRow(
        id=row["id"],
        name=row["name"],
        scope_id=row["scope_id"],
        scope=Scope(row["app_id"], row["environment_id"], row["node_id"]),
        scope_names=Scope(row["app"], row["environment"], row["node"]),
        latest_version=row["latest_version"],
        active_version=row["active_version"],
        revision=row["revision"],
        description=row["description"],
        labels=_read(row["labels"]),
        owner=row["owner"],
        expires_at=row["expires_at"],
        generator=row["generator"],
        rotation=_read(row["rotation"]),
        source=_read(row["source"]),
        created_at=row["created_at"],
        updated_at=row["updated_at"],
        rollout=row["rollout"],
    )
