"""Resolves in one statement, one round trip and one commit: every name decided, audited, and its envelope.

Guarantee: a request gets the envelopes of all of its names, with an ``allowed`` row for each that is committed, or nothing at all
(None) and no row: then something of it is not to be had, and the gate is to be asked, which says what and audits it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from overseer.core.approvals import GUARD_BITS, GuardedAction
from overseer.core.audit_events import MAX_FREE_TEXT
from overseer.core.errors import AuditUnavailable, InvalidInput, StoreUnavailable
from overseer.core.permissions import Permission, to_bits
from overseer.core.principals import Caller
from overseer.core.scopes import Scope
from overseer.server.storage.audit_rows import MAX_NAME, commitment, storable
from overseer.server.storage.database import Session
from overseer.server.storage.version_rows import MAX_READ_BYTES, StoredVersion

_GUARDS_REVEAL: Final = GUARD_BITS[GuardedAction.REVEAL]
_REVEAL: Final = to_bits({Permission.SECRET_REVEAL})


@dataclass(frozen=True, slots=True)
class ResolveBits:
    """With which permissions somebody knows of an app, an environment, a node."""

    app: int
    environment: int
    node: int


@dataclass(frozen=True, slots=True)
class ResolveWanted:
    """``names`` are valid and each once; ``caller.peer`` is '' or a valid address."""

    caller: Caller
    place: Scope[str]
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ResolvedName:
    """One name's winner; ``scope_names`` are those of its own scope."""

    name: str
    scope_names: Scope[str]
    stored: StoredVersion = field(repr=False)


@dataclass(frozen=True, slots=True)
class Resolved:
    """A whole request that was let through, in the order of its names."""

    principal_id: UUID
    principal_name: str
    principal_kind: str
    token_id: UUID
    now: datetime
    names: tuple[ResolvedName, ...]


async def resolve_batch(session: Session, requests: Sequence[ResolveWanted], bits: ResolveBits) -> list[Resolved | None]:
    """The outcomes in the order of ``requests``. The session must not be in a transaction: the statement is its own."""
    columns: list[list[Any]] = [[] for _ in range(9)]
    wanted: list[list[Any]] = [[] for _ in range(5)]
    for number, request in enumerate(requests, 1):
        caller = request.caller
        reason = storable(caller.reason, MAX_FREE_TEXT)
        agent = storable(caller.user_agent, MAX_FREE_TEXT) if caller.client == "other" else ""
        place = (request.place.app, request.place.environment, request.place.node)
        texts = (storable(caller.request_id, MAX_NAME), storable(caller.client, MAX_NAME), reason, agent)
        for column, value in zip(columns, (caller.token_hash, caller.peer, *place, *texts), strict=True):
            column.append(value)
        for column, values in zip(wanted, zip(*_names(number, request.names, reason, agent), strict=True), strict=True):
            column.extend(values)
    limits = (_REVEAL, bits.app, bits.environment, bits.node, MAX_READ_BYTES, _GUARDS_REVEAL)
    try:
        rows = await session.fetch("resolve_batch", *columns, *wanted, *limits)
    except asyncpg.DataError:
        raise InvalidInput("the request holds something that cannot be stored") from None
    except StoreUnavailable:
        # All that the statement writes is the log, so a lock, a full disk or a missing right that stopped it stopped that.
        raise AuditUnavailable("the audit log cannot be written, so nothing was released; try again") from None
    of_request: dict[int, list[Any]] = {}
    for row in rows:
        of_request.setdefault(row["request"], []).append(row)
    return [_resolved(request, of_request.get(number)) for number, request in enumerate(requests, 1)]


def _names(number: int, names: Sequence[str], reason: str, agent: str) -> list[tuple[Any, ...]]:
    """A row of parameters for each name. Each has free text of its own, so that it can be erased without the others."""
    if not reason and not agent:
        return [(number, name, None, None, None) for name in names]
    salts = [secrets.token_bytes(16) for _ in names]
    return [(number, name, uuid4(), commitment(salt, reason, agent), salt) for name, salt in zip(names, salts, strict=True)]


def _resolved(request: ResolveWanted, rows: Sequence[Any] | None) -> Resolved | None:
    if not rows:
        return None
    first, place = rows[0], request.place
    names = tuple(
        ResolvedName(
            row["name"],
            Scope(
                place.app if row["of_app"] else None,
                place.environment if row["of_environment"] else None,
                place.node if row["of_node"] else None,
            ),
            StoredVersion(
                row["id"],
                row["active_version"],
                row["version_id"],
                row["scope_id"],
                row["format"],
                row["kek_term"],
                row["wrapped_dek"],
                row["ciphertext"],
            ),
        )
        for row in rows
    )
    fields = (first["principal_id"], first["principal_name"], first["kind"], first["token_id"], first["now"])
    return Resolved(*fields, names)
