"""Unsealing by passphrase, and the state of the seal. Both are open routes: who unseals has no live token to be checked by.

Guarantees: the root key is checked against the instance's check value before it is used or handed on; a wrong passphrase and a
right one each leave an audit row, and the server unseals only once that row is committed; tries are few for each peer (see
``unseal_tries``) and never two at a time, because each costs 64 MiB and is a guess; tries that were refused unseen are counted
into the next row of their peer. Asking for the state costs the database one look in a second, whoever asks.
What it will not do: seal again, or open the seals that need no operator (they open at start).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Final

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import Conflict, InvalidInput, KeyProblem, OverseerError, Problem, RateLimited, StoreUnavailable
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.server.seals.passphrase import PassphraseConfig, PassphraseSeal
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.unseal_tries import LOCAL, UnsealTries, peer_key
from overseer.server.storage.database import Database
from overseer.server.storage.keyring_rows import InstanceRow, load_instance
from overseer.wire.seal import SealStatus, Unseal

STRANGERS_IN_LINE: Final = 8
LOOK_SECONDS: Final = 1.0
MAX_PASSPHRASE: Final = 1024
PASSPHRASE: Final = "passphrase"

#: Gets the root key after an unseal that was verified and audited: the supervisor hands it to the other workers.
Unsealed = Callable[[RootKey], Awaitable[None]]


class SealService:
    """One instance a server process. ``kind`` is the configured seal's: file, env or passphrase; ``limits`` are the gate's."""

    def __init__(
        self,
        database: Database,
        gate: Gate,
        keys: KeyService,
        kind: str,
        unsealed: Unsealed,
        limits: DenialLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._gate = gate
        self._keys = keys
        self._kind = kind
        self._unsealed = unsealed
        self._clock = clock
        self._limits = limits
        self._tries = UnsealTries(clock)
        self._in_line = 0
        self._one_at_a_time = asyncio.Lock()
        self._looking = asyncio.Lock()
        self._seen: bool | None = None  # None: the database did not answer
        self._seen_at = float("-inf")

    async def status(self) -> SealStatus:
        """Open to everybody, not audited. Raises :class:`StoreUnavailable` while it is sealed and the database is down."""
        if not self._keys.sealed:
            return SealStatus(sealed=False, kind=self._kind, initialised=True)
        return SealStatus(sealed=True, kind=self._kind, initialised=await self._initialised())

    async def _initialised(self) -> bool:
        async with self._looking:  # who waited gets what was seen meanwhile
            if not self._seen and self._clock() - self._seen_at >= LOOK_SECONDS:
                with contextlib.suppress(StoreUnavailable):
                    self._seen = None
                    async with self._database.session() as session:
                        self._seen = await load_instance(session) is not None
                self._seen_at = self._clock()
            if self._seen is None:
                raise StoreUnavailable("the database does not answer as it should; try again")
            return self._seen

    async def unseal(self, caller: Caller, body: Unseal) -> SealStatus:
        """Unseal with the passphrase; once unsealed, do nothing (without a look at the passphrase).

        Raises :class:`Denied` for a wrong passphrase, :class:`RateLimited`, :class:`Conflict` for another seal, and
        :class:`KeyProblem` where the passphrase is right and the keyring is not the one it belongs to.
        """
        if not self._keys.sealed:
            return await self.status()
        if self._kind != PASSPHRASE:
            raise Conflict(f"the seal {self._kind!r} opens by itself at start; look at the server's log for why it did not")
        self._take_try(caller)
        self._in_line += 1
        try:
            async with self._one_at_a_time:
                if self._keys.sealed:
                    await self._open(caller, body)
        finally:
            self._in_line -= 1
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

    def _take_try(self, caller: Caller) -> None:
        try:
            # So that a crowd of peers cannot make the operator wait for long, and never this machine's own.
            if self._in_line >= STRANGERS_IN_LINE and peer_key(caller.peer) != LOCAL:
                raise RateLimited("too many try to unseal at this moment; try again", retry_after=1)
            self._tries.take(caller.peer)
        except RateLimited as error:
            self._limits.restore([(self._refused(caller, error.code), 1)])
            raise

    def _refused(self, caller: Caller, code: str) -> AuditEvent:
        return AuditEvent(
            action=AuditAction.SEAL_UNSEAL,
            outcome=Outcome.DENIED,
            request_id=caller.request_id,
            resource_kind="seal",
            resource_name=self._kind,
            code=code,
            peer=caller.peer,
            client=caller.client,
            user_agent=caller.user_agent if caller.client == "other" else "",
        )


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
