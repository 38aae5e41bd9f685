"""Nodes and their keys as rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class NodeRow:
    """A node; ``state`` is expected, active or revoked; a drained one takes no new deployments."""

    id: UUID
    name: str
    description: str
    labels: dict[str, str]
    state: str
    drained_at: datetime | None
    principal_id: UUID | None
    agent_version: str
    last_seen_at: datetime | None
    created_at: datetime
    revision: int


@dataclass(frozen=True, slots=True)
class EnrolmentRow:
    """An enrolment token under its row lock, with the keys that used it first."""

    id: UUID
    node_id: UUID
    node: str
    expired: bool
    used_by_key: UUID | None
    used_encryption_key: bytes | None
    used_signing_key: bytes | None
    used_retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A node's key pair under its row lock."""

    id: UUID
    node_id: UUID
    node: str
    principal_id: UUID | None
    challenge: bytes | None
    confirmed_at: datetime | None
    retired_at: datetime | None


@dataclass(frozen=True, slots=True)
class LiveKeys:
    """The keys of a node that count now; ``id`` and keys are None where there are none."""

    id: UUID | None
    encryption_key: bytes | None
    signing_key: bytes | None
    node: str
    state: str
    principal_id: UUID | None


async def all_nodes(
    session: Session, name: str | None = None, node_id: UUID | None = None, after: str | None = None
) -> list[NodeRow]:
    """Nodes by name; those behind the name ``after``."""
    rows = await session.fetch("node_all", name, node_id, after)
    return [NodeRow(**{**dict(row), "labels": json.loads(row["labels"])}) for row in rows]


async def insert_node(session: Session, node_id: UUID, name: str, description: str, labels: Mapping[str, str]) -> None:
    """A node that no agent has joined yet."""
    await session.execute("node_insert", node_id, name, description)
    if labels:
        await patch_node(session, node_id, None, labels, None)


async def patch_node(
    session: Session, node_id: UUID, description: str | None, labels: Mapping[str, str] | None, drained: bool | None
) -> None:
    """Change what is not None."""
    await session.execute("node_patch", node_id, description, None if labels is None else json.dumps(dict(labels)), drained)


async def revoke_node(session: Session, node_id: UUID, error: str) -> None:
    """Its keys are dead, open enrolment tokens gone, open deployments failed with ``error``."""
    await session.fetchval("node_lock", node_id)
    await session.execute("node_revoke", node_id)
    await session.execute("node_key_retire_all", node_id)
    await session.execute("enrolment_token_drop", node_id)
    await session.execute("node_deployments_fail", node_id, error)


async def activate_node(session: Session, node_id: UUID, principal_id: UUID, key_id: UUID, agent_version: str) -> None:
    """The key is the node's only one from now on."""
    await session.execute("node_key_confirm", key_id)
    await session.execute("node_key_retire_others", node_id, key_id)
    await session.execute("node_activate", node_id, principal_id, agent_version)
    await session.execute("principal_enable", principal_id)


async def node_seen(session: Session, node_id: UUID, agent_version: str) -> None:
    """Note that the node's agent spoke."""
    await session.execute("node_seen", node_id, agent_version)


async def insert_enrolment_token(
    session: Session, token_id: UUID, digest: bytes, node_id: UUID, expires_at: datetime, created_by: UUID
) -> None:
    """Store the hash of an enrolment token."""
    await session.execute("enrolment_token_insert", token_id, digest, node_id, expires_at, created_by)


async def lock_enrolment(session: Session, digest: bytes) -> EnrolmentRow | None:
    """The token's row, locked."""
    row = await session.fetchrow("enrolment_token_lock", digest)
    return EnrolmentRow(**dict(row)) if row else None


async def use_enrolment(session: Session, token_id: UUID, key_id: UUID) -> None:
    """Tie the token to the keys that used it."""
    await session.execute("enrolment_token_use", token_id, key_id)


async def insert_key(session: Session, key_id: UUID, node_id: UUID, encryption_key: bytes, signing_key: bytes) -> None:
    """Public keys of a node, not yet confirmed."""
    await session.execute("node_key_insert", key_id, node_id, encryption_key, signing_key)


async def pending_key(session: Session, key_id: UUID, node_id: UUID, encryption_key: bytes, signing_key: bytes) -> UUID:
    """The unconfirmed key of the node with these public keys, made as ``key_id`` where there is none; others go."""
    await session.fetchval("node_lock", node_id)
    found = await session.fetchval("node_key_pending", node_id, encryption_key, signing_key)
    if found is not None:
        return UUID(str(found))
    await session.execute("node_key_drop_pending", node_id)
    await insert_key(session, key_id, node_id, encryption_key, signing_key)
    return key_id


async def set_challenge(session: Session, key_id: UUID, answer_hash: bytes) -> None:
    """The SHA-256 of the challenge that is out; a new one replaces the last."""
    await session.execute("node_key_challenge", key_id, answer_hash)


async def lock_key(session: Session, key_id: UUID) -> KeyRow | None:
    """A key's row, locked together with its node's."""
    row = await session.fetchrow("node_key_lock", key_id)
    return KeyRow(**dict(row)) if row else None


async def live_keys(session: Session, node_id: UUID) -> LiveKeys | None:
    """The confirmed, unretired keys of a node; None where there is no such node."""
    row = await session.fetchrow("node_key_live", node_id)
    return LiveKeys(**dict(row)) if row else None


async def remember_assertion(session: Session, node_id: UUID, jti: str, expires_at: datetime) -> bool:
    """False where this assertion was used before."""
    await session.execute("node_assertion_purge", node_id)
    return await session.execute("node_assertion_insert", node_id, jti, expires_at) == 1
