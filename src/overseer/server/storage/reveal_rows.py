"""A batch of reveals in one statement, one round trip and one commit: decided, audited, and the envelopes of what is allowed.

Guarantee: exactly one outcome for each request and exactly one audit row, but for ``later``, which has neither a row nor an
envelope and is to be asked again by itself. An envelope is in the answer only where its ``allowed`` row was committed.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final
from uuid import UUID, uuid4

import asyncpg

from overseer.core.approvals import GUARD_BITS, GuardedAction
from overseer.core.audit_events import MAX_FREE_TEXT
from overseer.core.errors import AuditUnavailable, InvalidInput, StoreUnavailable
from overseer.core.permissions import PERMISSION_BITS, Permission
from overseer.core.principals import Caller
from overseer.server.storage.audit_rows import MAX_NAME, commitment, storable
from overseer.server.storage.database import Session
from overseer.server.storage.version_rows import MAX_READ_BYTES, MAX_VERSION, StoredVersion

_REVEALS: Final = 1 << PERMISSION_BITS[Permission.SECRET_REVEAL]
_GUARDS_REVEAL: Final = GUARD_BITS[GuardedAction.REVEAL]
_LISTS: Final = 1 << PERMISSION_BITS[Permission.SECRET_LIST]


class RevealOutcome(StrEnum):
    """What became of one request of a batch. In alphabetical order."""

    ALLOWED = "allowed"
    DENIED = "denied"
    LATER = "later"
    MISSING = "missing"
    NO_VERSION = "no_version"
    REFUSED = "refused"


# Not frozen: one of each is made for every reveal, and frozen fields cost three times as much to set.
@dataclass(slots=True)
class RevealRequest:
    """``caller.peer`` must be '' or a valid address; ``version`` None is the active one."""

    caller: Caller
    secret_id: UUID
    version: int | None


@dataclass(slots=True)
class RevealResult:
    """``code`` as in the audit row; ``lists``: the caller may list the secret; ``stored`` is there where it is allowed."""

    outcome: RevealOutcome
    code: str
    lists: bool
    now: datetime
    principal_id: UUID | None
    principal_name: str
    principal_kind: str
    token_id: UUID | None
    name: str
    app: str | None
    environment: str | None
    node: str | None
    stored: StoredVersion | None = field(repr=False)


async def reveal_batch(session: Session, requests: Sequence[RevealRequest]) -> list[RevealResult]:
    """The outcomes in the order of ``requests``. The session must not be in a transaction: the statement is its own."""
    columns: list[list[Any]] = [[] for _ in range(11)]
    for request in requests:
        for column, value in zip(columns, _row(request), strict=True):
            column.append(value)
    try:
        # DataError is PostgreSQL's, or the driver's before it sent anything: one bad row, and nothing was written for any.
        rows = await session.fetch("reveal_batch", *columns, _REVEALS, _LISTS, MAX_READ_BYTES, _GUARDS_REVEAL)
    except asyncpg.DataError:
        raise InvalidInput("the request holds something that cannot be stored") from None
    except StoreUnavailable:
        # All that the statement writes is the log, so a lock, a full disk or a missing right that stopped it stopped that.
        raise AuditUnavailable("the audit log cannot be written, so nothing was released; try again") from None
    return [_result(request, row) for request, row in zip(requests, rows, strict=True)]


def _row(request: RevealRequest) -> tuple[Any, ...]:
    caller = request.caller
    # A number that the column cannot hold names no version; 0 names none either.
    version = request.version if request.version is None or 1 <= request.version <= MAX_VERSION else 0
    head = (caller.token_hash, request.secret_id, version, storable(caller.request_id, MAX_NAME), caller.peer)
    client = storable(caller.client, MAX_NAME)
    reason = storable(caller.reason, MAX_FREE_TEXT)
    agent = storable(caller.user_agent, MAX_FREE_TEXT) if caller.client == "other" else ""
    if not reason and not agent:
        return (*head, client, None, None, None, None, None)
    salt = secrets.token_bytes(16)
    return (*head, client, uuid4(), commitment(salt, reason, agent), salt, reason, agent)


def _result(request: RevealRequest, row: Any) -> RevealResult:
    outcome = RevealOutcome(row["outcome"])
    stored = None
    if outcome is RevealOutcome.ALLOWED:
        stored = StoredVersion(
            request.secret_id,
            row["wanted"],
            row["version_id"],
            row["scope_id"],
            row["format"],
            row["kek_term"],
            row["wrapped_dek"],
            row["ciphertext"],
        )
    return RevealResult(
        outcome=outcome,
        code=row["code"],
        lists=bool(row["lists"]),
        now=row["now"],
        principal_id=row["principal_id"],
        principal_name=row["principal_name"] or "",
        principal_kind=row["kind"] or "",
        token_id=row["token_id"],
        name=row["name"] or "",
        app=row["app"],
        environment=row["environment"],
        node=row["node"],
        stored=stored,
    )
