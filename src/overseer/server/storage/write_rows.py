"""The statements of a batch of writes, all in one transaction of the caller's: who may, which locks, the rows.

Guarantee: what these leave out (a caller who may not, a key that somebody else holds, a secret that is locked or being rolled
out, a name that is taken) is not touched. A row that cannot be stored is :class:`InvalidInput` and ends the transaction for all.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import asyncpg

from overseer.core.approvals import GUARD_BITS, GuardedAction
from overseer.core.errors import InvalidInput
from overseer.core.permissions import Permission, to_bits
from overseer.core.principals import Actor, PrincipalKind
from overseer.core.scopes import Scope
from overseer.server.storage.database import Record, Session
from overseer.server.storage.secret_rows import NewSecret, SecretRow
from overseer.server.storage.version_rows import GRACE, StoredVersion

_GUARDS_ACTIVATION: Final = GUARD_BITS[GuardedAction.ACTIVATE]
_WRITE: Final = to_bits({Permission.SECRET_WRITE})


@dataclass(frozen=True, slots=True)
class Permitted:
    """A request of a batch that may go on: who asks (no bindings: they were looked at) and the database's clock."""

    actor: Actor
    now: datetime


@dataclass(frozen=True, slots=True)
class PermittedUpdate(Permitted):
    """With the scope, the name and the labels that it was decided for."""

    scope_id: UUID
    name: str
    labels: dict[str, str]


@dataclass(frozen=True, slots=True)
class PermittedCreate(Permitted):
    """With the place where the new secret goes."""

    scope_id: UUID
    scope: Scope[UUID]


@dataclass(frozen=True, slots=True)
class NewVersion:
    """A version for a secret as it is under its lock; ``immediate``: at once, whatever uses the secret."""

    row: SecretRow
    stored: StoredVersion
    generator: str | None
    created_by: UUID
    activate: bool
    immediate: bool


async def decide_updates(session: Session, asked: Sequence[tuple[bytes | None, str, UUID, bool]]) -> dict[int, PermittedUpdate]:
    """Those of (token hash, peer, secret, whether it is activated) that may add a version and wait for no approval, by position.
    ``peer`` must be '' or a valid address."""
    rows = await _fetch(session, "write_decide_updates", *_columns(asked, 4), _WRITE, _GUARDS_ACTIVATION)
    return {
        row["ord"] - 1: PermittedUpdate(_actor(row), row["now"], row["scope_id"], row["name"], json.loads(row["labels"]))
        for row in rows
    }


async def decide_creates(
    session: Session, asked: Sequence[tuple[bytes | None, str, Scope[str], str, dict[str, str]]]
) -> dict[int, PermittedCreate]:
    """Those of (token hash, peer, place, name, labels) that may make that secret there and wait for no approval, by position."""
    flat = [
        (token, peer, place.app, place.environment, place.node, name, json.dumps(labels))
        for token, peer, place, name, labels in asked
    ]
    rows = await _fetch(session, "write_decide_creates", *_columns(flat, 7), _WRITE, _GUARDS_ACTIVATION)
    return {
        row["ord"] - 1: PermittedCreate(
            _actor(row), row["now"], row["scope_id"], Scope(row["app_id"], row["environment_id"], row["node_id"])
        )
        for row in rows
    }


async def add_versions(session: Session, new: Sequence[NewVersion]) -> dict[UUID, SecretRow]:
    """Add each version where that needs no rollout; the secrets as they are now. The caller holds the locks."""
    fields = [
        (
            one.row.id,
            one.stored.version,
            one.stored.id,
            one.stored.format,
            one.stored.kek_term,
            one.stored.wrapped_dek,
            one.stored.ciphertext,
            one.created_by,
            one.activate,
            one.immediate,
            one.generator,
            one.row.active_version,
        )
        for one in new
    ]
    changed = {row["id"]: dict(row) for row in await _fetch(session, "write_versions", *_columns(fields, 12), GRACE)}
    return {one.row.id: replace(one.row, **changed[one.row.id]) for one in new if one.row.id in changed}


async def add_secrets(
    session: Session, new: Sequence[tuple[NewSecret, StoredVersion]]
) -> dict[UUID, tuple[datetime, datetime]]:
    """Add each secret with its first version, unless its name is taken there; when it was created and updated."""
    fields = [
        (
            secret.id,
            secret.scope_id,
            secret.name,
            secret.description,
            json.dumps(secret.labels),
            secret.owner,
            secret.expires_at,
            secret.generator,
            None if secret.rotation is None else json.dumps(secret.rotation),
            secret.created_by,
            stored.id,
            stored.format,
            stored.kek_term,
            stored.wrapped_dek,
            stored.ciphertext,
        )
        for secret, stored in new
    ]
    rows = await _fetch(session, "write_secrets", *_columns(fields, 15))
    return {row["id"]: (row["created_at"], row["updated_at"]) for row in rows}


async def _fetch(session: Session, query: str, *arguments: Any) -> list[Record]:
    try:
        return await session.fetch(query, *arguments)
    except asyncpg.DataError:
        # PostgreSQL's, or the driver's before it sent anything: one bad row, and the whole transaction is undone.
        raise InvalidInput("the request holds something that cannot be stored") from None


def _columns(rows: Sequence[tuple[Any, ...]], count: int) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)] or [[] for _ in range(count)]


def _actor(row: Record) -> Actor:
    return Actor(row["principal_id"], PrincipalKind(row["kind"]), row["principal_name"], row["token_id"], bindings=())
