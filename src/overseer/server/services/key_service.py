"""The keyring of this process: sealed until the root key comes, then kept up to date with what other replicas add.

Guarantees: a wrong root key is found by the instance's check value before anything is used or written; no encryption happens
under a key term beyond the wraps that were durably reserved for this process; a term that another replica made is
read as soon as a row names it, and before every new block of wraps.
What it will not do: get the root key (seals do), or make, rotate and delete keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import KeyProblem, NotReady, Sealed
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import EncryptedValue, RecordContext, encrypt
from overseer.crypto.keyring import Keyring, Purpose, WrappedKey
from overseer.crypto.keys import RootKey
from overseer.crypto.wrap_budget import ROTATE_AT, WrapBudget
from overseer.server.services.gate import Gate
from overseer.server.storage.database import Database, Session
from overseer.server.storage.keyring_rows import KeyRow, load_instance, load_keys, reserve_wraps
from overseer.wire.keys import KeyringView, KeyView


class KeyService:
    """One instance a server process; used from one event loop."""

    def __init__(self, database: Database, gate: Gate) -> None:
        self._database = database
        self._gate = gate
        self._keyring: Keyring | None = None
        self._budget: WrapBudget | None = None
        self._refreshing = asyncio.Lock()

    @property
    def sealed(self) -> bool:
        """True until a root key opened the keyring."""
        return self._keyring is None

    @property
    def keyring(self) -> Keyring:
        """The opened keys. Raises :class:`Sealed`."""
        if self._keyring is None:
            raise Sealed("the server is sealed: run `overseer seal unseal`, or wait until an operator does", retry_after=10)
        return self._keyring

    @property
    def instance_id(self) -> UUID:
        """Which installation this is. Raises :class:`Sealed`."""
        return self.keyring.instance_id

    async def open(self, root_key: RootKey) -> None:
        """Open the keyring of the database. Raises :class:`KeyProblem` (wrong root key, no instance, damaged rows)."""
        async with self._database.session() as session:
            self.publish(await self.unlock(session, root_key))

    async def unlock(self, session: Session, root_key: RootKey) -> Keyring:
        """The keyring under ``root_key``, not in use until :meth:`publish`. Raises as :meth:`open`."""
        instance = await load_instance(session)
        if instance is None:
            raise KeyProblem("this database holds no Overseer instance yet: run `overseer server init`")
        return Keyring.open(instance.id, root_key, _wrapped(await load_keys(session)), instance.check_value)

    def publish(self, keyring: Keyring) -> None:
        """Use ``keyring`` from now on, for every request of this process."""
        if self._budget is None or self._budget.term != keyring.newest_term:
            self._budget = WrapBudget(keyring.newest_term, self._reserve)
        self._keyring = keyring

    async def prepare_to_encrypt(self) -> None:
        """Make sure that :meth:`encrypt` has wraps left. Call it *before* a transaction is begun: it may need a connection.

        Raises :class:`Sealed`, and :class:`KeyProblem` where the key term is used up and no newer one exists.
        """
        if self._keyring is not None and self._budget is not None and self._budget.ready:
            return
        async with self._refreshing:
            if self._budget is None or not self._budget.ready:
                await self._refresh()
                assert self._budget is not None  # noqa: S101  # publish makes one
                await self._budget.refill()

    def encrypt(self, value: SecretValue, context: RecordContext) -> EncryptedValue:
        """``value`` sealed for ``context`` under the newest term; costs one wrap. Raises :class:`Sealed`."""
        keyring = self.keyring
        if self._budget is None or not self._budget.take():
            # The block ran out between prepare_to_encrypt and here: once in a million writes, and only under concurrency.
            raise NotReady("the key's next block of encryptions is being reserved; try again", retry_after=1)
        return encrypt(value, context, keyring.newest_kek)

    async def keyring_for(self, terms: Iterable[int]) -> Keyring:
        """The keyring, read again where a row names a term that it lacks; it may lack it still. Raises :class:`Sealed`."""
        if not set(terms) <= set(self.keyring.terms):
            async with self._refreshing:
                await self._refresh()
        return self.keyring

    async def state(self, caller: Caller) -> KeyringView:
        """The keys of the keyring and how used up they are, never a key. Needs ``key:read``."""
        async with self._gate.enter(caller, AuditAction.KEY_READ) as entry:
            entry.authorise(Permission.KEY_READ, Resource("key"))
            _ = self.keyring  # a database without keys is no keyring to show
            rows = await load_keys(entry.session)
        newest = max((row for row in rows if row.purpose == Purpose.KEK), key=lambda row: row.term)
        return KeyringView(
            keys=[_view(row) for row in rows],
            newest_term=newest.term,
            rotation_due=newest.wraps_reserved >= ROTATE_AT,
        )

    async def _refresh(self) -> None:
        keyring = self.keyring
        async with self._database.session() as session:
            instance = await load_instance(session)
            rows = await load_keys(session)
        if instance is None or instance.id != keyring.instance_id:
            raise KeyProblem("the database holds another instance than the one this process was started for; restart it")
        self.publish(keyring.reread(_wrapped(rows), instance.check_value))

    async def _reserve(self, term: int, count: int) -> int:
        async with self._database.work() as session:
            total = await reserve_wraps(session, Purpose.KEK, term, count)
        if total is None:
            raise KeyProblem(f"key-encryption key term {term} is not in the database any more; restart this process")
        return total


def _wrapped(rows: Iterable[KeyRow]) -> list[WrappedKey]:
    return [WrappedKey(row.purpose, row.term, row.wrapped) for row in rows]


def _view(row: KeyRow) -> KeyView:
    return KeyView(purpose=row.purpose, term=row.term, created_at=row.created_at, encryptions_reserved=row.wraps_reserved)
