"""Principals, tokens, roles and bindings as rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.core.access import Binding, Match, NamePattern, PartSelector
from overseer.core.principals import PrincipalKind
from overseer.server.storage.database import Record, Session


@dataclass(frozen=True, slots=True)
class PrincipalRow:
    """A user, a service account or a node as principal."""

    id: UUID
    kind: PrincipalKind
    name: str
    description: str
    disabled_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class TokenRow:
    """A token without its text, which nobody has but its holder."""

    id: UUID
    principal_id: UUID
    principal: str
    description: str
    expires_at: datetime
    networks: list[str] | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class RoleRow:
    """A set of permissions with a name."""

    id: UUID
    name: str
    permissions: int
    built_in: bool


@dataclass(frozen=True, slots=True)
class BindingRow:
    """A binding with the names that people know its parts by; a part's name is set where its match is ``is``."""

    binding: Binding
    subject_id: UUID
    subject: str
    role: str
    app: str | None
    environment: str | None
    node: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class NewToken:
    """What is stored of a token: ``hash`` is the SHA-256 of its text."""

    hash: bytes
    id: UUID
    principal_id: UUID
    description: str
    expires_at: datetime
    networks: list[str] | None
    created_by: UUID | None


async def insert_principal(
    session: Session, principal_id: UUID, kind: PrincipalKind, name: str, description: str, created_by: UUID | None
) -> PrincipalRow:
    """A new principal; :class:`AlreadyExists` where the kind has that name already."""
    row = await session.fetchrow("principal_insert", principal_id, kind.value, name, description, created_by)
    assert row is not None  # noqa: S101  # INSERT … RETURNING gives its row
    return _principal(row)


async def all_principals(session: Session, kind: PrincipalKind | None) -> list[PrincipalRow]:
    """Every principal (of one kind), by kind and name."""
    return [_principal(row) for row in await session.fetch("principal_all", kind.value if kind else None)]


async def principal_by_id(session: Session, principal_id: UUID) -> PrincipalRow | None:
    """A principal by id."""
    row = await session.fetchrow("principal_by_id", principal_id)
    return _principal(row) if row else None


async def principal_by_name(session: Session, kind: PrincipalKind, name: str) -> PrincipalRow | None:
    """A principal by kind and name."""
    row = await session.fetchrow("principal_by_name", kind.value, name)
    return _principal(row) if row else None


async def delete_principal(session: Session, principal_id: UUID) -> None:
    """A principal, its tokens (by cascade) and its bindings (which have no foreign key), in the caller's transaction."""
    await session.execute("binding_delete_of_subject", principal_id)
    await session.execute("principal_delete", principal_id)


async def disable_principal(session: Session, principal_id: UUID) -> None:
    """Its tokens are refused from the next request on."""
    await session.execute("principal_disable", principal_id)
    await session.execute("token_revoke_all", principal_id)


async def insert_token(session: Session, token: NewToken) -> None:
    """Store a token's hash."""
    await session.execute(
        "token_insert",
        token.hash,
        token.id,
        token.principal_id,
        token.description,
        token.expires_at,
        token.networks,
        token.created_by,
    )


async def all_tokens(session: Session, principal: str | None = None, token_id: UUID | None = None) -> list[TokenRow]:
    """Tokens of people and service accounts, oldest first."""
    rows = await session.fetch("token_all", principal, token_id)
    return [TokenRow(**{field: row[field] for field in TokenRow.__slots__}) for row in rows]


async def token_expiry(session: Session, token_id: UUID) -> datetime:
    """When the token ends."""
    expiry: datetime = await session.fetchval("token_expiry", token_id)
    return expiry


async def revoke_token(session: Session, token_id: UUID) -> None:
    """Refused from the next request on; revoking twice changes nothing."""
    await session.execute("token_revoke", token_id)


async def revoke_tokens_of(session: Session, principal_id: UUID) -> None:
    """All of them are refused from the next request on."""
    await session.execute("token_revoke_all", principal_id)


async def drop_expired_tokens(session: Session, principal_id: UUID) -> None:
    """Forget a node's short tokens that have run out."""
    await session.execute("token_delete_expired", principal_id)


async def all_roles(session: Session) -> list[RoleRow]:
    """Every role, by name."""
    return [RoleRow(**dict(row)) for row in await session.fetch("role_all")]


async def role_by_name(session: Session, name: str) -> RoleRow | None:
    """A role by name."""
    row = await session.fetchrow("role_by_name", name)
    return RoleRow(**dict(row)) if row else None


async def insert_binding(session: Session, binding: Binding, subject_id: UUID, role_id: UUID, created_by: UUID | None) -> None:
    """A role given to a principal, its bits copied."""
    await session.execute(
        "binding_insert",
        binding.id,
        subject_id,
        role_id,
        binding.permissions,
        binding.app.match.value,
        binding.app.id,
        binding.environment.match.value,
        binding.environment.id,
        binding.node.match.value,
        binding.node.id,
        binding.pattern.name,
        binding.pattern.is_prefix,
        binding.expires_at,
        created_by,
    )


async def all_bindings(
    session: Session, subjects: list[UUID] | None = None, binding_id: UUID | None = None
) -> list[BindingRow]:
    """Bindings of some subjects, or all."""
    return [_binding(row) for row in await session.fetch("binding_all", subjects, binding_id)]


async def subjects_of(session: Session, principal_id: UUID) -> list[UUID]:
    """A principal and the groups it is in."""
    return list(await session.fetchval("subjects_of", principal_id))


async def delete_binding(session: Session, binding_id: UUID) -> None:
    """Take a role away."""
    await session.execute("binding_delete", binding_id)


async def owners_without(session: Session, bindings: list[UUID]) -> int:
    """How many unlimited owner bindings of live principals are left without these; locks them."""
    return int(await session.fetchval("owners_left", bindings))


def _principal(row: Record) -> PrincipalRow:
    fields = {**dict(row), "kind": PrincipalKind(row["kind"])}
    return PrincipalRow(**fields)


def _binding(row: Record) -> BindingRow:
    binding = Binding(
        id=row["id"],
        permissions=row["permissions"],
        app=PartSelector(Match(row["app_match"]), row["app_id"]),
        environment=PartSelector(Match(row["environment_match"]), row["environment_id"]),
        node=PartSelector(Match(row["node_match"]), row["node_id"]),
        pattern=NamePattern(row["pattern"], row["name_is_prefix"]),
        expires_at=row["expires_at"],
    )
    return BindingRow(
        binding,
        row["subject_id"],
        row["subject"] or "",
        row["role"],
        row["app"],
        row["environment"],
        row["node"],
        row["created_at"],
    )
