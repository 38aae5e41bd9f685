"""Who asks (a :class:`Caller`, what the edge knows) and who that is (an :class:`Actor`, what the gate found).

A caller carries a credential and nothing that was decided earlier: token, principal, groups and bindings are read again in
the transaction of each request, so a revocation holds on the next request, on every replica.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from overseer.core.access import Binding


class PrincipalKind(StrEnum):
    """Whoever acts."""

    USER = "user"
    SERVICE_ACCOUNT = "service_account"
    NODE = "node"


@dataclass(frozen=True, slots=True)
class Caller:
    """A request as the edge saw it. ``token_hash`` is SHA-256 of the bearer token, None without one."""

    token_hash: bytes | None
    request_id: str
    peer: str = ""
    client: str = ""
    user_agent: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Actor:
    """The principal behind a live credential, with every binding of it and of its groups."""

    id: UUID
    kind: PrincipalKind
    name: str
    token_id: UUID
    bindings: tuple[Binding, ...]
    node_id: UUID | None = None
