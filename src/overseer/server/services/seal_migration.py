"""`overseer seal migrate` and `seal rekey`: another seal, with another root key, around the same keyring.

Guarantees: the old seal opens the instance until the moment of one commit, and the new one from then on; there is no moment in
which none does, wherever the process is killed. Before the commit the new seal was *opened*, as a start would open it, and
its shares were shown; inside the transaction the rows just written were opened with it. Values, data keys and
key-encryption keys stay as they are. Running replicas learn the new root key with the commit, sealed under the old one.
The audit row shares the transaction.

What it will not do: delete, overwrite or disable anything of the old seal (people do, when no backup needs it any more), or
help against somebody who has the old root key *and* an old backup: the keys in it are the same. It passes no gate: whoever
has the root key and the database may do everything anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Conflict, KeyProblem, NotReady, StoreUnavailable
from overseer.core.identifiers import new_id
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.crypto.signed_manifest import instance_key
from overseer.server.seals.contract import NewSeal, Seal
from overseer.server.seals.selection import make_seal
from overseer.server.services.bootstrap import OPERATOR, SealSetting, new_seal, open_keyring
from overseer.server.services.recovery_kit import move_statement, recovery_kit
from overseer.server.storage.audit_rows import insert_events
from overseer.server.storage.connection import service_arguments
from overseer.server.storage.database import Database, Session
from overseer.server.storage.keyring_rows import InstanceRow, load_instance, load_keys, lock_keyring, store_rewrapped
from overseer.server.storage.seal_news import send_seal_news
from overseer.server.storage.service_session import session_setup

#: Shows the shares of the new seal and gives back what an operator would give at the next start: the shares, typed again or
#: taken from where they were put. Without shares: what the new seal is opened with (the new passphrase), or None.
Proof = Callable[[Sequence[SecretValue]], SecretValue | None]


@dataclass(frozen=True, slots=True)
class Moved:
    """A change of seal that was committed. ``statement`` says what to keep, what to set and what to destroy."""

    instance_id: UUID
    old_kind: str
    new_kind: str
    recovery_kit: str
    statement: str


@dataclass(frozen=True, slots=True)
class _Target:
    """The new seal, and what opens it."""

    setting: SealSetting
    first: Seal
    made: NewSeal
    proof: SecretValue | None

    def seal(self, instance_id: UUID) -> Seal:
        """As a start makes it from what the database keeps. A seal that keeps nothing there is the same one: of a variable that
        was handed over nothing is left to make another from."""
        if not self.made.config:
            return self.first
        return make_seal(self.setting.spec, self.made.config, self.setting.environment, instance_id=instance_id, successor=True)


async def migrate_seal(database_url: str, present: SealSetting, target: SealSetting, prove: Proof, now: datetime) -> Moved:
    """Put ``target`` in the place of ``present``; ``given`` of each is what the operator brings for it.

    Raises :class:`KeyProblem`, :class:`InvalidInput`, :class:`ConfigurationProblem`, :class:`Sealed`, :class:`NotReady` and
    :class:`Conflict`, and nothing was changed then. Only :class:`StoreUnavailable` may leave open whether the commit
    happened; its text says so.
    """
    database = Database(service_arguments(database_url), setup=session_setup, size=1)
    try:
        async with database.session() as session:
            instance, old_root, keyring = await _opened(session, present)
        new = await _proven(target, instance, old_root, prove)
        old_seal = present.seal(instance)
        moved_instance = await _commit(database, instance, old_root, new, now)
        await _check_after(database, new)
    finally:
        await database.close()
    seal = new.seal(moved_instance.id)
    return Moved(
        moved_instance.id,
        instance.seal_kind,
        seal.kind,
        recovery_kit(
            moved_instance.id,
            seal.kind,
            seal.describe(),
            instance_key(moved_instance.id, keyring.signing_key.public),
        ),
        move_statement(target.spec, old_seal.kind, old_seal.describe(), now),
    )


async def _opened(session: Session, present: SealSetting) -> tuple[InstanceRow, RootKey, Keyring]:
    instance = await load_instance(session)
    if instance is None:
        raise KeyProblem("this database holds no Overseer instance yet: run `overseer server init`")
    try:
        root_key = await present.seal(instance).root_key(present.given)
        keyring = await open_keyring(session, instance, root_key)
    except KeyProblem as error:
        if present.spec.partition(":")[0] == instance.seal_kind:
            raise
        raise KeyProblem(
            f"{error.message}. The present seal of this instance is {instance.seal_kind!r}: set OVERSEER_SEAL to it"
        ) from None
    return instance, root_key, keyring


async def _proven(target: SealSetting, instance: InstanceRow, old_root: RootKey, prove: Proof) -> _Target:
    """Make the new seal, show its shares, and open it as the next start will."""
    seal = make_seal(target.spec, None, target.environment, instance_id=instance.id, successor=True)
    made = await new_seal(seal, target.given)
    if made.root_key == old_root:
        raise KeyProblem("the new seal holds the root key of the present one: give it a new key. Nothing was changed")
    new = _Target(target, seal, made, prove(made.shares))
    if await new.seal(instance.id).root_key(new.proof) != made.root_key:
        raise KeyProblem("the new seal does not give back the root key that it was made with; nothing was changed")
    return new


async def _commit(database: Database, before: InstanceRow, old_root: RootKey, new: _Target, now: datetime) -> InstanceRow:
    """One transaction; where its end is not known, find out."""
    after: InstanceRow | None = None
    try:
        async with database.work() as session:
            await lock_keyring(session)
            found = await load_instance(session)
            if found is None or found.id != before.id or found.check_value != before.check_value:
                raise Conflict("the seal was changed by somebody else meanwhile; nothing was changed")
            keyring = await open_keyring(session, found, old_root)
            _, rows, check_value = keyring.rewrap_all(new.made.root_key)
            after = replace(found, check_value=check_value, seal_kind=new.first.kind, seal_config=new.made.config or None)
            await store_rewrapped(session, after, [(row.purpose, row.term, row.wrapped) for row in rows])
            await _check_written(session, keyring, new.made.root_key, len(rows))
            await insert_events(session, [_event(found, new.first.kind, now)])
            await send_seal_news(session, keyring.hand_over(new.made.root_key))
    except StoreUnavailable:
        if after is None:
            raise
        await _find_out(database, after)
    return after


async def _check_written(session: Session, keyring: Keyring, new_root: RootKey, count: int) -> None:
    """What now stands in the rows opens with the new root key, to the same keys: all of them."""
    written = await load_instance(session)
    if written is None or len(await load_keys(session)) != count:
        raise Conflict("the keyring was changed meanwhile; nothing was changed, try again")
    if not keyring.has_same_keys(await open_keyring(session, written, new_root)):
        raise KeyProblem("the re-wrapped keyring does not hold the same keys; nothing was changed")


async def _find_out(database: Database, after: InstanceRow) -> None:
    """The connection broke around the commit: look which seal counts."""
    unknown = StoreUnavailable(
        "the database went away during the commit, and whether the new seal counts is not known. Keep both seals. When the "
        "database is back, start the server with each: the one that opens is the one that counts"
    )
    try:
        async with database.work() as session:
            await lock_keyring(session)  # waits for a commit that is still under way there
            found = await load_instance(session)
    except StoreUnavailable:
        raise unknown from None
    if found is None or found.check_value != after.check_value:
        raise StoreUnavailable("the database went away before the commit; nothing was changed, try again")


async def _check_after(database: Database, new: _Target) -> None:
    """Once more from the beginning, with what is committed."""
    try:
        async with database.session() as session:
            instance = await load_instance(session)
            if instance is not None:
                await open_keyring(session, instance, await new.seal(instance.id).root_key(new.proof))
    except NotReady:
        return  # the commit is known, and what it wrote was opened inside it
    except KeyProblem as error:
        raise KeyProblem(f"the seal was changed, and does not open afterwards: {error.message}. Keep both seals") from None


def _event(instance: InstanceRow, new_kind: str, now: datetime) -> AuditEvent:
    return AuditEvent(
        AuditAction.SEAL_MIGRATE,
        Outcome.ALLOWED,
        request_id=str(new_id(now)),
        actor_name=OPERATOR,
        actor_kind="operator",
        resource_kind="seal",
        resource_id=instance.id,
        resource_name=new_kind,
        code=f"from_{instance.seal_kind.replace('-', '_')}",
        client="seal migrate",
    )
