"""The keyring of this process: sealed until the root key comes, then kept up to date with what other replicas add.

Guarantees: a wrong root key is found by the instance's check value before anything is used or written; no encryption happens
under a key term beyond the wraps that were durably reserved for this process; a term that another replica made is read
as soon as a row names it, and by whoever is about to encrypt when the last look is older than :data:`FRESH_SECONDS`. Nothing is
encrypted on a look older than :data:`STALE_SECONDS` (the process was frozen): key rotation relies on it, and on no message
that could get lost.
What it will not do: get the root key (seals do), or make, rotate and delete keys (``key_rotation`` does).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import DecryptionFailed, KeyProblem, NotReady, Sealed
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import EncryptedValue, RecordContext, encrypt, rewrap_key
from overseer.crypto.keyring import Keyring, Purpose, WrappedKey
from overseer.crypto.keys import RootKey
from overseer.crypto.wrap_budget import WrapBudget
from overseer.server.services.gate import Gate
from overseer.server.services.key_limits import DEFAULT_LIMITS, KeyLimits
from overseer.server.services.key_views import keyring_view
from overseer.server.storage.database import Database, Session
from overseer.server.storage.keyring_rows import KeyRow, load_instance, load_keys, recorded_term, reserve_wraps
from overseer.server.storage.rotation_rows import newest_rotation
from overseer.server.storage.wrapped_tables import rows_on_old_terms
from overseer.wire.keys import KeyringView

_LOG: Final = logging.getLogger("overseer.server")

FRESH_SECONDS: Final = 5.0
STALE_SECONDS: Final = 60.0


def _seconds_since_boot() -> float:
    """Unlike the monotonic clock it goes on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class KeyService:
    """One instance a server process; used from one event loop."""

    def __init__(
        self,
        database: Database,
        gate: Gate,
        limits: KeyLimits = DEFAULT_LIMITS,
        clock: Callable[[], float] = _seconds_since_boot,
    ) -> None:
        self._database = database
        self._gate = gate
        self._limits = limits
        self._clock = clock
        self._looked_at = float("-inf")
        self._keyring: Keyring | None = None
        self.sealed_or_opened_at = datetime.now(UTC)
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
        """Open the keyring of the database; an alarm where the audit log records a newer term than it has. Raises
        :class:`KeyProblem` (wrong root key, no instance, damaged rows)."""
        looked_at = self._clock()
        async with self._database.session() as session:
            keyring, recorded = await self.unlock(session, root_key), await recorded_term(session)
        if recorded > keyring.newest_term:
            await self._alarm_old(keyring.newest_term, recorded)
        self.publish(keyring)
        self._looked_at = looked_at

    async def _alarm_old(self, newest: int, recorded: int) -> None:
        """Keys that were replaced came back while nobody looked: a running process would not go back to them."""
        _LOG.error("the keyring was put back: its newest term is %d, and the audit log records term %d", newest, recorded)
        event = AuditEvent(
            AuditAction.ALARM_KEYRING_OLD,
            Outcome.FAILED,
            "key-service",
            resource_kind="key",
            version=newest,
            code=f"recorded:{recorded}",
        )
        await self._gate.append([event])

    async def unlock(self, session: Session, root_key: RootKey) -> Keyring:
        """The keyring under ``root_key``, not in use until :meth:`publish`. Raises as :meth:`open`."""
        instance = await load_instance(session)
        if instance is None:
            raise KeyProblem("this database holds no Overseer instance yet: run `overseer server init`")
        return Keyring.open(instance.id, root_key, wrapped_keys(await load_keys(session)), instance.check_value)

    def publish(self, keyring: Keyring) -> None:
        """Use ``keyring`` from now on, for every request of this process."""
        if self._budget is None or self._budget.term != keyring.newest_term:
            self._budget = WrapBudget(keyring.newest_term, self._reserve)
        if self._keyring is None:
            self.sealed_or_opened_at = datetime.now(UTC)
        self._keyring = keyring

    async def prepare_to_encrypt(self, count: int = 1) -> None:
        """Make sure that ``count`` wraps are left and the newest term is known. Call it *before* a transaction is begun: it may
        need a connection.

        Raises :class:`Sealed`, and :class:`KeyProblem` where the key term is used up and no newer one exists.
        """
        if self._covers(count) and self._looked_within(FRESH_SECONDS):
            return
        async with self._refreshing:
            if not (self._covers(count) and self._looked_within(FRESH_SECONDS)):
                await self._refresh()
            if not self._covers(count):
                assert self._budget is not None  # noqa: S101  # publish makes one
                await self._budget.refill(count)

    def encrypt(self, value: SecretValue, context: RecordContext) -> EncryptedValue:
        """``value`` sealed for ``context`` under the newest term; costs one wrap. Raises :class:`Sealed`."""
        return encrypt(value, context, self._take().newest_kek)

    def rewrap(self, records: Sequence[tuple[EncryptedValue, RecordContext]], term: int) -> list[bytes | None]:
        """The data keys of ``records`` wrapped under ``term``, None for each that does not open; costs a wrap for each.

        Raises :class:`NotReady` as :meth:`encrypt` does, and where ``term`` is not the newest (any more).
        """
        keyring = self._take(max(1, len(records)))
        if keyring.newest_term != term:
            raise NotReady("a newer key-encryption key came into use this moment; try again", retry_after=1)
        return [_rewrapped(encrypted, context, keyring) for encrypted, context in records]

    def _take(self, count: int = 1) -> Keyring:
        """The keyring, after ``count`` wraps were taken from the budget of its newest term."""
        keyring = self.keyring
        if not self._looked_within(STALE_SECONDS):
            raise NotReady("this process was frozen and has to read the keyring again; try again", retry_after=1)
        if self._budget is None or not self._budget.take(count):
            # The block ran out between prepare_to_encrypt and here: once in a million writes, and only under concurrency.
            raise NotReady("the key's next block of encryptions is being reserved; try again", retry_after=1)
        return keyring

    def _covers(self, count: int) -> bool:
        return self._keyring is not None and self._budget is not None and self._budget.covers(count)

    def _looked_within(self, seconds: float) -> bool:
        return self._clock() - self._looked_at < seconds

    async def keyring_for(self, terms: Iterable[int]) -> Keyring:
        """The keyring, read again where a row names a term that it lacks; it may lack it still. Raises :class:`Sealed`."""
        if not set(terms) <= set(self.keyring.terms):
            return await self.refresh()
        return self.keyring

    async def state(self, caller: Caller) -> KeyringView:
        """The keys of the keyring, how used up they are and how far a rotation is, never a key. Needs ``key:read``."""
        async with self._gate.enter(caller, AuditAction.KEY_READ) as entry:
            entry.authorise(Permission.KEY_READ, Resource("key"))
            _ = self.keyring  # a database without keys is no keyring to show
            rows = await load_keys(entry.session)
            newest = max(row.term for row in rows if row.purpose == Purpose.KEK)
            rotation = await newest_rotation(entry.session)
            return keyring_view(rows, rotation, await rows_on_old_terms(entry.session, newest), self._limits, entry.now)

    async def reread(self, session: Session) -> Keyring:
        """The stored keyring, opened with the root key of this process and not in use until :meth:`publish`.

        Raises :class:`KeyProblem` where the stored keys were changed, or were re-wrapped by another root key.
        """
        instance = await load_instance(session)
        if instance is None or instance.id != self.keyring.instance_id:
            raise KeyProblem("the database holds another instance than the one this process was started for; restart it")
        return self.keyring.reread(wrapped_keys(await load_keys(session)), instance.check_value)

    async def refresh(self) -> Keyring:
        """Read the keyring of the database again where it changed, and use it. Errors as :meth:`reread`."""
        async with self._refreshing:
            await self._refresh()
        return self.keyring

    async def _refresh(self) -> None:
        keyring, looked_at = self.keyring, self._clock()
        async with self._database.session() as session:
            # A change of the root key only makes the same keys look different: what this process holds stays right.
            if not keyring.holds_exactly((row.purpose, row.term) for row in await load_keys(session)):
                self.publish(await self.reread(session))
        self._looked_at = looked_at

    async def _reserve(self, term: int, count: int) -> int:
        async with self._database.work() as session:
            total = await reserve_wraps(session, Purpose.KEK, term, count)
        if total is None:
            raise KeyProblem(f"key-encryption key term {term} is not in the database any more; restart this process")
        return total


def _rewrapped(encrypted: EncryptedValue, context: RecordContext, keyring: Keyring) -> bytes | None:
    try:
        return rewrap_key(encrypted, context, keyring, keyring.newest_kek)
    except (DecryptionFailed, KeyProblem):
        return None  # changed, moved, or of a term that is gone: nothing here can mend it


def wrapped_keys(rows: Iterable[KeyRow]) -> list[WrappedKey]:
    """Stored rows as the keyring opens them."""
    return [WrappedKey(row.purpose, row.term, row.wrapped) for row in rows]
