"""Who may do what with secrets, as rows: for many secrets in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from overseer.server.storage.database import Session


@dataclass(frozen=True, slots=True)
class AccessRow:
    """What one principal may do with one secret, as bits: now, and once an emergency binding is activated.

    ``bindings``, ``roles`` and ``groups`` belong together, one of each for a binding; a group is None where it is the
    principal's own.
    """

    secret_id: UUID
    principal_id: UUID
    principal: str
    kind: str
    bits: int
    dormant_bits: int
    bindings: list[UUID]
    roles: list[str]
    groups: list[str | None]


async def access_of(
    session: Session,
    secrets: Sequence[UUID],
    bits: int,
    principal: str | None,
    after: tuple[UUID, str, UUID] | None,
    limit: int,
) -> list[AccessRow]:
    """By name of the secret and of the principal; ``after`` leaves out, of one secret, the principals up to a name and an id."""
    secret, name, principal_id = after or (None, None, None)
    rows = await session.fetch("access_of_secrets", list(secrets), bits, principal, name, principal_id, secret, limit)
    return [AccessRow(**dict(row)) for row in rows]
