"""Principals, tokens and bindings as rows, and the built-in roles by name."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from overseer.core.access import Binding, Match, NamePattern, PartSelector
from overseer.core.principals import PrincipalKind
from overseer.server.storage.account_hand_rows import Act, note_hand
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
    revision: int = 1


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
    is_session: bool = False
    of_machine: bool = False


@dataclass(frozen=True, slots=True)
class RoleRow:
    """A set of permissions with a name."""

    id: UUID
    name: str
    permissions: int
    built_in: bool


@dataclass(frozen=True, slots=True)
class BindingRow:
    """A binding with the names that people know its parts by; a part's name is set where its match is ``is``.

    ``active_seconds`` is set for an emergency binding: ``binding.expires_at`` is in the past until somebody activates it, and
    ``available_until`` says until when that can be.
    """

    binding: Binding
    subject_id: UUID
    subject: str
    role: str
    app: str | None
    environment: str | None
    node: str | None
    created_at: datetime
    subject_kind: str
    role_id: UUID
    active_seconds: int | None = None
    available_until: datetime | None = None

    @property
    def at_most(self) -> Binding:
        """What it can come to: an emergency binding as if it were active for as long as it can be activated."""
        return self.binding if self.active_seconds is None else replace(self.binding, expires_at=self.available_until)


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
    if created_by is not None and kind is not PrincipalKind.NODE:
        await note_hand(session, principal_id, created_by, Act.MADE)
    return principal_row(row)


async def all_principals(
    session: Session, kind: PrincipalKind | None, after: tuple[str, UUID] | None = None, limit: int | None = None
) -> list[PrincipalRow]:
    """Principals (of one kind) by name and id, those behind ``after``."""
    rows = await session.fetch("principal_all", kind.value if kind else None, *(after or (None, None)), limit)
    return [principal_row(row) for row in rows]


async def principal_by_id(session: Session, principal_id: UUID) -> PrincipalRow | None:
    """A principal by id."""
    row = await session.fetchrow("principal_by_id", principal_id)
    return principal_row(row) if row else None


async def principal_by_name(session: Session, kind: PrincipalKind, name: str) -> PrincipalRow | None:
    """A principal by kind and name."""
    row = await session.fetchrow("principal_by_name", kind.value, name)
    return principal_row(row) if row else None


async def delete_principal(session: Session, principal_id: UUID) -> None:
    """A principal, its tokens (by cascade) and its bindings (which have no foreign key), in the caller's transaction."""
    await session.execute("binding_delete_of_subject", principal_id)
    await session.execute("principal_delete", principal_id)


async def disable_principal(session: Session, principal_id: UUID) -> None:
    """Its tokens are refused from the next request on."""
    await session.execute("principal_disable", principal_id)
    await session.execute("token_revoke_all", principal_id)


async def switch_principal(session: Session, principal_id: UUID, *, disabled: bool) -> None:
    """Disable or enable it; its tokens stay and are refused while it is disabled."""
    await session.execute("principal_switch", principal_id, disabled)


async def describe_principal(session: Session, principal_id: UUID, description: str) -> None:
    """Change its description."""
    await session.execute("principal_describe", principal_id, description)


async def lock_principal(session: Session, principal_id: UUID) -> int | None:
    """Its revision, which stays so until the transaction ends; None where it is gone."""
    revision: int | None = await session.fetchval("principal_touch", principal_id)
    return revision


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


async def all_tokens(
    session: Session,
    principal: str | None = None,
    token_id: UUID | None = None,
    after: UUID | None = None,
    limit: int | None = None,
) -> list[TokenRow]:
    """Tokens of people and service accounts, oldest first, those behind ``after``."""
    rows = await session.fetch("token_all", principal, token_id, after, limit)
    return [TokenRow(**{field: row[field] for field in TokenRow.__slots__}) for row in rows]


async def token_expiry(session: Session, token_id: UUID) -> datetime:
    """When the token ends."""
    expiry: datetime = await session.fetchval("token_expiry", token_id)
    return expiry


async def shorten_token(session: Session, token_id: UUID, seconds: int) -> None:
    """It lives for at most so many seconds more."""
    await session.execute("token_shorten", token_id, seconds)


async def revoke_token(session: Session, token_id: UUID) -> None:
    """Refused from the next request on; revoking twice changes nothing."""
    await session.execute("token_revoke", token_id)


async def revoke_tokens_of(session: Session, principal_id: UUID) -> None:
    """All of them are refused from the next request on."""
    await session.execute("token_revoke_all", principal_id)


async def drop_expired_tokens(session: Session, principal_id: UUID) -> None:
    """Forget a node's short tokens that have run out."""
    await session.execute("token_delete_expired", principal_id)


async def role_by_name(session: Session, name: str) -> RoleRow | None:
    """A role by name."""
    row = await session.fetchrow("role_by_name", name)
    return RoleRow(**dict(row)) if row else None


async def insert_binding(
    session: Session,
    binding: Binding,
    subject_id: UUID,
    role_id: UUID,
    created_by: UUID | None,
    *,
    subject_kind: str = "principal",
    active_seconds: int | None = None,
    available_until: datetime | None = None,
) -> None:
    """A role given to a principal or a group, its bits copied. An emergency binding's ``expires_at`` must be in the past."""
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
        subject_kind,
        active_seconds,
        available_until,
    )


async def all_bindings(
    session: Session,
    subjects: list[UUID] | None = None,
    binding_id: UUID | None = None,
    *,
    role: str | None = None,
    principal: str | None = None,
    group: str | None = None,
    emergency: bool | None = None,
    after: UUID | None = None,
    limit: int | None = None,
    role_id: UUID | None = None,
) -> list[BindingRow]:
    """Bindings by id, those behind ``after``; of some subjects, of a role, a principal or a group by name, or all."""
    rows = await session.fetch(
        "binding_all", subjects, binding_id, role, principal, group, emergency, after, limit, role_id
    )
    return [_binding(row) for row in rows]


async def subjects_of(session: Session, principal_id: UUID) -> list[UUID]:
    """A principal and the groups it is in."""
    return list(await session.fetchval("subjects_of", principal_id))


async def activate_binding(session: Session, binding_id: UUID) -> datetime | None:
    """Let an emergency binding live from now on: until when. None where it lives already, is none, or its time is over."""
    until: datetime | None = await session.fetchval("binding_activate", binding_id)
    return until


async def deactivate_binding(session: Session, binding_id: UUID) -> bool:
    """End an activation; False where there is none."""
    return await session.execute("binding_deactivate", binding_id) == 1


async def delete_binding(session: Session, binding_id: UUID) -> None:
    """Take a role away."""
    await session.execute("binding_delete", binding_id)


async def owner_is_left(session: Session) -> bool:
    """Whether somebody live still holds the owner role without limits; waits for others who may be taking one away."""
    await session.fetchval("owner_lock")
    return bool(await session.fetchval("owner_lives"))


def principal_row(row: Record) -> PrincipalRow:
    """A principal out of a row with its columns."""
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
        row["subject_kind"],
        row["role_id"],
        row["active_seconds"],
        row["available_until"],
    )
