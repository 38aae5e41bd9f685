"""Unsealing by passphrase, and the state of the seal. Both are open routes: who unseals has no live token to be checked by.

Guarantees: the root key is checked against the instance's check value before it is used or handed on; a wrong passphrase and a
right one each leave an audit row, and the server unseals only once that row is committed; tries are few (five at once, one in ten
seconds after that) and never two at a time, because each costs 64 MiB and is a guess.
What it will not do: seal again, or open the seals that need no operator (they open at start).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction
from overseer.core.errors import Conflict, InvalidInput, KeyProblem, OverseerError, Problem, RateLimited
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.server.seals.passphrase import PassphraseConfig, PassphraseSeal
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.storage.database import Database
from overseer.server.storage.keyring_rows import InstanceRow, load_instance
from overseer.wire.seal import SealStatus, Unseal

BURST: Final = 5
SECONDS_PER_TRY: Final = 10.0
MAX_PASSPHRASE: Final = 1024
PASSPHRASE: Final = "passphrase"

#: Gets the root key after an unseal that was verified and audited: the supervisor hands it to the other workers.
Unsealed = Callable[[RootKey], Awaitable[None]]


class SealService:
    """One instance a server process. ``kind`` is the configured seal's: file, env or passphrase."""

    def __init__(
        self,
        database: Database,
        gate: Gate,
        keys: KeyService,
        kind: str,
        unsealed: Unsealed,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._gate = gate
        self._keys = keys
        self._kind = kind
        self._unsealed = unsealed
        self._clock = clock
        self._tries = float(BURST)
        self._tried_at = clock()
        self._one_at_a_time = asyncio.Lock()

    async def status(self) -> SealStatus:
        """Open to everybody, not audited. Raises :class:`StoreUnavailable` while it is sealed and the database is down."""
        if not self._keys.sealed:
            return SealStatus(sealed=False, kind=self._kind, initialised=True)
        async with self._database.session() as session:
            instance = await load_instance(session)
        return SealStatus(sealed=True, kind=self._kind, initialised=instance is not None)

    async def unseal(self, caller: Caller, body: Unseal) -> SealStatus:
        """Unseal with the passphrase; once unsealed, do nothing (without a look at the passphrase).

        Raises :class:`Denied` for a wrong passphrase, :class:`RateLimited`, :class:`Conflict` for another seal, and
        :class:`KeyProblem` where the passphrase is right and the keyring is not the one it belongs to.
        """
        if not self._keys.sealed:
            return await self.status()
        if self._kind != PASSPHRASE:
            raise Conflict(f"the seal {self._kind!r} opens by itself at start; look at the server's log for why it did not")
        self._count_try()
        async with self._one_at_a_time:
            if self._keys.sealed:
                await self._open(caller, body)
        return await self.status()

    async def _open(self, caller: Caller, body: Unseal) -> None:
        async with self._gate.enter_open(caller, AuditAction.SEAL_UNSEAL) as entry:
            root_key, keyring = await self._verified(entry, _passphrase(body))
        self._keys.publish(keyring)
        await self._unsealed(root_key)

    async def _verified(self, entry: Entry, passphrase: SecretValue) -> tuple[RootKey, Keyring]:
        instance = await load_instance(entry.session)
        entry.accept(Resource("seal", self._kind))
        seal = PassphraseSeal(_config(instance))
        try:
            root_key = await seal.root_key(passphrase)
        except KeyProblem:
            # The configuration was parsed before, so what is left is a wrong passphrase.
            entry.deny("wrong_passphrase", "the passphrase is wrong; nothing was changed")
        return root_key, await self._keys.unlock(entry.session, root_key)

    def _count_try(self) -> None:
        now = self._clock()
        self._tries = min(BURST, self._tries + (now - self._tried_at) / SECONDS_PER_TRY)
        self._tried_at = now
        if self._tries < 1:
            raise RateLimited("too many tries to unseal; wait", retry_after=int(SECONDS_PER_TRY))
        self._tries -= 1


def _config(instance: InstanceRow | None) -> bytes:
    """The stored configuration of the passphrase seal, readable and within bounds, else :class:`KeyProblem`."""
    if instance is None:
        raise KeyProblem("this database holds no Overseer instance yet: run `overseer server init`")
    if instance.seal_kind != PASSPHRASE or not instance.seal_config:
        raise KeyProblem(f"this instance was made with the seal {instance.seal_kind!r}: set OVERSEER_SEAL to it")
    PassphraseConfig.parse(instance.seal_config).parameters.check()
    return instance.seal_config


def _passphrase(body: Unseal) -> SecretValue:
    rule = f"a passphrase is text of 1 to {MAX_PASSPHRASE} characters"
    refused: OverseerError = InvalidInput(rule, problems=[Problem("body.passphrase", rule, "bad_passphrase")])
    if not 1 <= len(body.passphrase) <= MAX_PASSPHRASE:
        raise refused
    try:
        return SecretValue(body.passphrase)
    except UnicodeEncodeError:
        raise refused from None
