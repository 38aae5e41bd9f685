"""Users and what they sign in with, as rows. Nothing here is a plaintext: hashes, and envelopes that the keyring opens."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from overseer.crypto.envelope import EncryptedValue
from overseer.server.storage.database import Record, Session


@dataclass(frozen=True, slots=True)
class UserRow:
    """A user as lists show it; ``identities`` are (issuer, subject) pairs of providers."""

    id: UUID
    name: str
    description: str
    disabled_at: datetime | None
    created_at: datetime
    has_password: bool
    has_second_factor: bool
    last_sign_in_at: datetime | None
    identities: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, repr=False)
class Credentials:
    """What a sign-in is checked against; ``phc`` is None where the user has no password."""

    id: UUID
    name: str
    disabled: bool
    phc: str | None
    has_second_factor: bool


@dataclass(frozen=True, slots=True)
class TotpRow:
    """A second factor; in force when ``confirmed``. ``last_step`` is the newest step whose code was used."""

    id: UUID
    encrypted: EncryptedValue
    last_step: int
    confirmed: bool


async def all_users(session: Session, *, name: str | None = None, user_id: UUID | None = None) -> list[UserRow]:
    """Users by name; of one name (without regard to case) or one id."""
    return [_user(row) for row in await session.fetch("user_all", name, user_id)]


async def user_by_id(session: Session, user_id: UUID) -> UserRow | None:
    """One user, None where there is none."""
    found = await all_users(session, user_id=user_id)
    return found[0] if found else None


async def lock_user(session: Session, user_id: UUID) -> bool:
    """Let nobody else change or sign in this user until the transaction ends; False where there is none."""
    return await session.fetchval("user_lock", user_id) is not None


async def describe_user(session: Session, user_id: UUID, description: str) -> None:
    """Replace the description."""
    await session.execute("user_describe", user_id, description)


async def enable_user(session: Session, user_id: UUID) -> None:
    """Let it sign in again; tokens that ended stay ended."""
    await session.execute("user_enable", user_id)


async def credentials_of(session: Session, name: str) -> Credentials | None:
    """Of a name, without regard to case; None where there is no such user."""
    row = await session.fetchrow("user_credentials", name)
    return Credentials(**dict(row)) if row else None


async def password_of(session: Session, user_id: UUID) -> str | None:
    """The stored PHC string."""
    phc: str | None = await session.fetchval("password_get", user_id)
    return phc


async def set_password(session: Session, user_id: UUID, phc: str) -> None:
    """Store a new password's hash."""
    await session.execute("password_set", user_id, phc)


async def rehash_password(session: Session, user_id: UUID, old: str, new: str) -> None:
    """Store another hash of the same password where ``old`` is still the stored one."""
    await session.execute("password_rehash", user_id, old, new)


async def drop_password(session: Session, user_id: UUID) -> None:
    """The user can sign in with no password until it sets one."""
    await session.execute("password_drop", user_id)


async def totp_of(session: Session, user_id: UUID) -> TotpRow | None:
    """The second factor, locked until the transaction ends."""
    row = await session.fetchrow("totp_get", user_id)
    if row is None:
        return None
    encrypted = EncryptedValue(row["format"], row["kek_term"], row["wrapped_dek"], row["ciphertext"])
    return TotpRow(row["id"], encrypted, row["last_step"], row["confirmed"])


async def replace_totp(session: Session, user_id: UUID, totp_id: UUID, encrypted: EncryptedValue) -> bool:
    """Store one that is not confirmed yet; False where a confirmed one is in force."""
    fields = (encrypted.format, encrypted.term, encrypted.wrapped_dek, encrypted.ciphertext)
    return await session.execute("totp_replace", user_id, totp_id, *fields) == 1


async def use_step(session: Session, user_id: UUID, step: int) -> bool:
    """Spend the code of a step (and confirm the factor); False where that or a later one was spent, on whichever replica."""
    return await session.execute("totp_use_step", user_id, step) == 1


async def drop_second_factor(session: Session, user_id: UUID) -> None:
    """Take away the second factor and its recovery codes."""
    await session.execute("totp_drop", user_id)
    await session.execute("recovery_drop", user_id)


async def replace_recovery_codes(session: Session, user_id: UUID, hashes: list[bytes]) -> None:
    """The former ones are worth nothing any more."""
    await session.execute("recovery_replace", user_id, hashes)


async def use_recovery_code_of(session: Session, name: str, code_hash: bytes) -> bool:
    """Spend a recovery code of the user of that name; False where it is unknown or spent."""
    return await session.execute("recovery_use_of", name, code_hash) == 1


async def use_recovery_code(session: Session, user_id: UUID, code_hash: bytes) -> bool:
    """Spend it; False where it is unknown or spent."""
    return await session.execute("recovery_use", user_id, code_hash) == 1


async def recovery_codes_left(session: Session, user_id: UUID) -> int:
    """How many are unused."""
    return int(await session.fetchval("recovery_left", user_id))


async def insert_invitation(
    session: Session, digest: bytes, invitation_id: UUID, user_id: UUID, expires_at: datetime, created_by: UUID
) -> None:
    """Store an invitation's hash; the user's former ones go."""
    await session.execute("invitation_drop", user_id)
    await session.execute("invitation_insert", digest, invitation_id, user_id, expires_at, created_by)


async def find_invitation(session: Session, digest: bytes) -> tuple[UUID, str] | None:
    """Whose live invitation it is (id and name), without using it."""
    row = await session.fetchrow("invitation_find", digest)
    return (row["principal_id"], row["name"]) if row else None


async def use_invitation(session: Session, digest: bytes) -> tuple[UUID, str, UUID | None] | None:
    """Use a live invitation up; whose it was (id and name) and who made it, None for any other."""
    row = await session.fetchrow("invitation_use", digest)
    return (row["principal_id"], row["name"], row["created_by"]) if row else None


async def drop_invitations(session: Session, user_id: UUID) -> None:
    """They open nothing any more."""
    await session.execute("invitation_drop", user_id)


async def forget_people(session: Session) -> None:
    """Delete what ran out long enough ago."""
    await session.execute("sign_in_try_forget")
    await session.execute("people_forget")


def _user(row: Record) -> UserRow:
    fields = dict(row)
    identities = tuple(zip(fields.pop("issuers"), fields.pop("subjects"), strict=True))
    return UserRow(**fields, identities=identities)
