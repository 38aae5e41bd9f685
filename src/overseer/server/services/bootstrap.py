"""`overseer server init`: from an empty database to an instance with a keyring, roles and an owner; and the upgrade of an
existing one.

Guarantees: the instance, its keys, the roles, the owner and the audit row ``server:init`` are one transaction; a second run
changes nothing, or only what a newer release brings (permissions of built-in roles and their copies in bindings, keys for new
purposes), which is audited, too. A root key that does not belong to an existing instance is found before anything is written,
before migrations as well. Several processes may run it at once.

What it will not do: replace a key file, or make a second owner. It passes no gate, since there is nobody yet: whoever has the
root key and the database's owner login may do everything anyway.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from overseer.core.access import Binding, Match, NamePattern, PartSelector
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Conflict, KeyProblem
from overseer.core.identifiers import new_id
from overseer.core.permissions import BUILT_IN_ROLES, to_bits
from overseer.core.principals import PrincipalKind
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring, WrappedKey
from overseer.crypto.keys import RootKey
from overseer.crypto.signed_manifest import instance_key
from overseer.crypto.signed_notes import VerifierKey
from overseer.crypto.tokens import TokenPrefix, new_token
from overseer.server.seals.contract import NewSeal, Seal
from overseer.server.seals.selection import make_seal
from overseer.server.services.owner_token import Delivery
from overseer.server.services.recovery_kit import recovery_kit
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.connection import login_connection, service_arguments
from overseer.server.storage.database import Database, Session
from overseer.server.storage.instance_rows import insert_instance, insert_keys, is_migrated, lock_bootstrap, refresh_roles
from overseer.server.storage.keyring_rows import InstanceRow, load_instance, load_keys, lock_keyring
from overseer.server.storage.migrator import migrate
from overseer.server.storage.principal_rows import (
    NewToken,
    insert_binding,
    insert_principal,
    insert_token,
    principal_by_name,
    role_by_name,
)
from overseer.server.storage.service_session import session_setup

OWNER: Final = "owner"
OWNER_TOKEN_LIFE: Final = timedelta(days=365)
OPERATOR: Final = "root key holder"

#: Shows the shares of a new seal, once. Called before the commit, so that there is no seal whose shares nobody has seen; what it
#: raises undoes everything.
ShareDelivery = Callable[[Sequence[SecretValue]], None]


@dataclass(frozen=True, slots=True)
class Initialised:
    """What a run did. ``created`` is False where the instance was there; ``changes`` says in words what an upgrade brought."""

    created: bool
    instance_id: UUID
    migrations: tuple[str, ...]
    changes: tuple[str, ...]
    warnings: tuple[str, ...]
    recovery_kit: str
    signer: VerifierKey
    owner_token_expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class SealSetting:
    """How the root key is come by: the setting ``OVERSEER_SEAL``, what the operator gives (the passphrase, or shares one a line),
    the environment of the process."""

    spec: str
    given: SecretValue | None = None
    environment: MutableMapping[str, str] | None = None

    def seal(self, instance: InstanceRow | None = None, new_id: UUID | None = None) -> Seal:
        """The seal, with what the database keeps for it where it was made with this kind; ``new_id`` is the id of an instance
        that is about to be made."""
        kind = self.spec.partition(":")[0]
        config = instance.seal_config if instance is not None and instance.seal_kind == kind else None
        return make_seal(self.spec, config, self.environment, instance_id=instance.id if instance else new_id)


async def initialise(
    database_url: str, setting: SealSetting, deliver: Delivery, now: datetime, deliver_shares: ShareDelivery | None = None
) -> Initialised:
    """Make the instance, or bring it up to this release. ``deliver`` gets the owner's token before the commit, and
    ``deliver_shares`` the shares of a seal that has some.

    Raises :class:`KeyProblem`, :class:`ConfigurationProblem`, :class:`InvalidInput` (a passphrase that is too short),
    :class:`Sealed` (a passphrase is needed), :class:`StoreUnavailable`; nothing is made then.
    """
    instance_id = new_id(now)
    async with login_connection(database_url) as connection:
        session = Session(connection)
        instance = await load_instance(session) if await is_migrated(session) else None
        seal = setting.seal(instance, instance_id)
        if instance is not None:
            root_key = await seal.root_key(setting.given)
            await open_keyring(session, instance, root_key)
    migrated = await migrate(database_url)
    config = b""
    if instance is None:
        made = await new_seal(seal, setting.given)
        root_key, config = made.root_key, made.config
        if made.shares:
            _deliver(made, deliver_shares)
    database = Database(service_arguments(database_url), setup=session_setup, size=1)
    try:
        async with database.work() as session:
            await lock_bootstrap(session)
            await lock_keyring(session)
            found = await load_instance(session)
            if found is None:
                row = InstanceRow(instance_id, b"", seal.kind, config or None)
                keyring = await _create(session, row, root_key, deliver, now)
                changes: tuple[str, ...] = ()
            else:
                if instance is None:  # another init was quicker: its seal counts
                    seal = setting.seal(found)
                    root_key = await seal.root_key(setting.given)
                instance_id = found.id
                keyring, changes = await _upgrade(session, found, root_key, now)
    finally:
        await database.close()
    expires_at = now + OWNER_TOKEN_LIFE if found is None else None
    signer = instance_key(instance_id, keyring.signing_key.public)
    kit = recovery_kit(instance_id, seal.kind, seal.describe(), signer)
    return Initialised(found is None, instance_id, migrated.applied, changes, migrated.warnings, kit, signer, expires_at)


async def renew_owner_token(database_url: str, setting: SealSetting, deliver: Delivery, now: datetime) -> datetime:
    """A new token for the owner, for whoever holds the root key: the way back in when the token was lost or ran out.

    Returns when it expires. The owner's other tokens stay as they are. Raises as :func:`initialise`, and :class:`Conflict` where
    there is no principal of that name any more.
    """
    database = Database(service_arguments(database_url), setup=session_setup, size=1)
    try:
        async with database.work() as session:
            instance = await load_instance(session)
            if instance is None:
                raise KeyProblem("this database holds no Overseer instance yet: run `overseer server init`")
            await open_keyring(session, instance, await setting.seal(instance).root_key(setting.given))
            owner = await principal_by_name(session, PrincipalKind.USER, OWNER)
            if owner is None:
                raise Conflict(f"there is no user {OWNER!r} any more; another owner can make tokens")
            token_id = await _give_token(session, owner.id, deliver, now)
            await _audit(session, AuditAction.TOKEN_CREATE, "token", token_id, now)
    finally:
        await database.close()
    return now + OWNER_TOKEN_LIFE


async def open_keyring(session: Session, instance: InstanceRow, root_key: RootKey) -> Keyring:
    """The stored keyring; :class:`KeyProblem` for a root key of another instance, and for rows that were changed.

    :class:`Conflict` where the seal was changed after ``instance`` was read: the rows are under the new root key then, and nobody
    should take them for damaged.
    """
    rows = [WrappedKey(row.purpose, row.term, row.wrapped) for row in await load_keys(session)]
    try:
        return Keyring.open(instance.id, root_key, rows, instance.check_value)
    except KeyProblem:
        now = await load_instance(session)
        if now is not None and now.id == instance.id and now.check_value != instance.check_value:
            raise Conflict("the seal was changed by somebody else meanwhile; nothing was changed") from None
        raise


async def new_seal(seal: Seal, given: SecretValue | None) -> NewSeal:
    """A new seal, or the key file that is there already: a run that did not come to its commit left it, or the operator
    brought it."""
    try:
        return await seal.create(given)
    except KeyProblem:
        if seal.kind != "file":
            raise
        return NewSeal(await seal.root_key(given), b"")


def _deliver(made: NewSeal, deliver_shares: ShareDelivery | None) -> None:
    if deliver_shares is None:
        raise KeyProblem("this seal is kept as shares, and there is nowhere to show them; nothing was made")
    deliver_shares(made.shares)


async def _create(session: Session, instance: InstanceRow, root_key: RootKey, deliver: Delivery, now: datetime) -> Keyring:
    keyring, rows, check_value = Keyring.create(instance.id, root_key)
    await insert_instance(session, replace(instance, check_value=check_value))
    await insert_keys(session, [(row.purpose, row.term, row.wrapped) for row in rows])
    await _refresh_roles(session, now)
    role = await role_by_name(session, OWNER)
    assert role is not None  # noqa: S101  # refreshed above
    owner = await insert_principal(session, new_id(now), PrincipalKind.USER, OWNER, "made by server init", None)
    everywhere = PartSelector(Match.ANY)
    binding = Binding(new_id(now), role.permissions, everywhere, everywhere, everywhere, NamePattern.parse("*"))
    await insert_binding(session, binding, owner.id, role.id, None)
    await _give_token(session, owner.id, deliver, now)
    await _audit(session, AuditAction.SERVER_INIT, "instance", instance.id, now)
    return keyring


async def _upgrade(
    session: Session, instance: InstanceRow, root_key: RootKey, now: datetime
) -> tuple[Keyring, tuple[str, ...]]:
    keyring = await open_keyring(session, instance, root_key)
    changes = [f"role {name}" for name in await _refresh_roles(session, now)]
    for purpose in keyring.missing_purposes():
        keyring, row = keyring.add_key(purpose)
        await insert_keys(session, [(row.purpose, row.term, row.wrapped)])
        changes.append(f"key {purpose}")
    if changes:
        await _audit(session, AuditAction.SERVER_INIT, "instance", instance.id, now)
    return keyring, tuple(changes)


async def _refresh_roles(session: Session, now: datetime) -> tuple[str, ...]:
    return await refresh_roles(session, {name: to_bits(permissions) for name, permissions in BUILT_IN_ROLES.items()}, now)


async def _give_token(session: Session, owner_id: UUID, deliver: Delivery, now: datetime) -> UUID:
    token, hashed = new_token(TokenPrefix.API)
    token_id = new_id(now)
    stored = NewToken(hashed, token_id, owner_id, "made by server init", now + OWNER_TOKEN_LIFE, None, None)
    await insert_token(session, stored)
    deliver(token)
    return token_id


async def _audit(session: Session, action: AuditAction, kind: str, resource_id: UUID, now: datetime) -> None:
    event = AuditEvent(
        action,
        Outcome.ALLOWED,
        request_id=str(new_id(now)),
        actor_name=OPERATOR,
        actor_kind="operator",
        resource_kind=kind,
        resource_id=resource_id,
        client="server init",
    )
    await insert_events(session, [event])
