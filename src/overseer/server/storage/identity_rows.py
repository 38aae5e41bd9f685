"""The actor behind a token, read afresh in the transaction of each request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from overseer.core.access import Binding, Match, NamePattern, PartSelector
from overseer.core.principals import Actor, PrincipalKind
from overseer.server.storage.database import Session

ENROLLING: Final = "second_factor_unset"
# In the order in which batched reveals look (queries/reveals.sql).
_REFUSALS: Final = (
    ("token_revoked", "token_revoked"),
    ("token_expired", "token_expired"),
    ("session_idle", "session_idle"),
    ("disabled", "principal_disabled"),
    ("foreign_network", "foreign_network"),
    ("enrolling", ENROLLING),
)


@dataclass(frozen=True, slots=True)
class Identified:
    """``refusal`` is empty where the credential is live, else the stable word why it is not; ``now`` is the database's clock."""

    actor: Actor
    refusal: str
    now: datetime
    token_expires_at: datetime


async def identify(session: Session, token_hash: bytes, peer: str) -> Identified | None:
    """Who holds this token; None where no such token exists. ``peer`` must be '' or a valid address."""
    rows = await session.fetch("actor_by_token", token_hash, peer)
    if not rows:
        return None
    first = rows[0]
    bindings = tuple(_binding(row) for row in rows if row["binding_id"] is not None)
    actor = Actor(
        id=first["principal_id"],
        kind=PrincipalKind(first["kind"]),
        name=first["principal_name"],
        token_id=first["token_id"],
        bindings=bindings,
        node_id=first["node_id"],
    )
    return Identified(actor, _refusal(first), first["now"], first["expires_at"])


async def mark_used(session: Session, used: Mapping[UUID, datetime]) -> None:
    """Write down when tokens were last used."""
    await session.execute("token_mark_used", list(used), list(used.values()))


def _refusal(row: Mapping[str, Any]) -> str:
    for column, code in _REFUSALS:
        if row[column]:
            return code
    return "node_not_active" if row["kind"] == PrincipalKind.NODE and row["node_state"] != "active" else ""


def _binding(row: Mapping[str, Any]) -> Binding:
    return Binding(
        id=row["binding_id"],
        permissions=row["permissions"],
        app=PartSelector(Match(row["app_match"]), row["app_id"]),
        environment=PartSelector(Match(row["environment_match"]), row["environment_id"]),
        node=PartSelector(Match(row["node_match"]), row["binding_node_id"]),
        pattern=NamePattern(row["pattern"], row["name_is_prefix"]),
        expires_at=row["binding_expires_at"],
        emergency=row["emergency"],
    )
