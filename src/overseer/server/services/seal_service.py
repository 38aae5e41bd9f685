"""Unsealing by passphrase or by shares, and the state of the seal. Both are open routes: who unseals has no live token to be
checked by.

Guarantees: the root key is checked against the instance's check value before it is used or handed on; a wrong passphrase, every
share and the last step each leave an audit row, and the server unseals only once that row is committed; tries are few for
each peer (see ``unseal_tries``) and never two at a time, because each may cost 64 MiB and is a guess; tries that were
refused unseen are counted into the next row of their peer. A share that is mistyped, of another set or forged is named and
not counted; who wants to start over has to show a right one. Asking for the state costs the database one look in a second.
What it will not do: seal again, or open the seals that need no operator (they open at start).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

from overseer.core.access import Resource
from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import (
    Conflict,
    Denied,
    InvalidInput,
    KeyProblem,
    NotReady,
    OverseerError,
    Problem,
    RateLimited,
    StoreUnavailable,
)
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.keyring import Keyring
from overseer.crypto.keys import RootKey
from overseer.crypto.shares import MAX_TEXT
from overseer.server.seals.passphrase import PassphraseConfig, PassphraseSeal
from overseer.server.seals.shamir import SHAMIR, ShareSet
from overseer.server.services.denial_limits import DenialLimits
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.key_service import KeyService
from overseer.server.services.seal_state import SealState
from overseer.server.services.share_collection import LocalShares, ShareCollector
from overseer.server.services.unseal_tries import LOCAL, UnsealTries, peer_key
from overseer.server.storage.database import Database
from overseer.server.storage.keyring_rows import InstanceRow, load_instance
from overseer.wire.seal import SealStatus, ShareProgress, Unseal

STRANGERS_IN_LINE: Final = 8
MAX_PASSPHRASE: Final = 1024
PASSPHRASE: Final = "passphrase"

#: Gets the root key after an unseal that was verified and audited: the supervisor hands it to the other workers.
Unsealed = Callable[[RootKey], Awaitable[None]]


class SealService:
    """One instance a server process. ``kind`` is the configured seal's; ``limits`` are the gate's; ``shares`` is where shares are
    gathered."""

    def __init__(
        self,
        database: Database,
        gate: Gate,
        keys: KeyService,
        kind: str,
        unsealed: Unsealed,
        limits: DenialLimits,
        shares: ShareCollector | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._gate = gate
        self._keys = keys
        self._kind = kind
        self._unsealed = unsealed
        self._limits = limits
        self._shares = shares or LocalShares()
        self._state = SealState(database, clock)
        self._tries = UnsealTries(clock)
        self._in_line = 0
        self._one_at_a_time = asyncio.Lock()

    async def status(self) -> SealStatus:
        """Open to everybody, not audited. Raises :class:`StoreUnavailable` while it is sealed and the database is down."""
        instance, known = None, True
        try:
            instance = await self._state.instance()
        except StoreUnavailable:
            if self._keys.sealed:
                raise
            known = False
        return SealStatus(
            sealed=self._keys.sealed,
            kind=instance.seal_kind if instance is not None else self._kind,
            initialised=instance is not None or not known,
            setting=self._kind,
            since=self._keys.sealed_or_opened_at,
            progress=await self._progress(instance) if self._keys.sealed else None,
        )

    async def _progress(self, instance: InstanceRow | None) -> ShareProgress | None:
        if instance is None or instance.seal_kind != SHAMIR:
            return None
        with suppress(KeyProblem):  # a damaged configuration is told by the unseal
            stored = ShareSet.parse(instance.seal_config)
            return ShareProgress(given=await self._shares.given(), threshold=stored.threshold, count=stored.count)
        return None

    async def unseal(self, caller: Caller, body: Unseal) -> SealStatus:
        """Unseal with the passphrase, or bring one share; once unsealed, do nothing (without a look at what was given).

        Raises :class:`Denied` for a wrong passphrase or share, :class:`RateLimited`, :class:`Conflict` for another seal, and
        :class:`KeyProblem` where what was given is right and the keyring is not the one it belongs to.
        """
        if not self._keys.sealed:
            return await self.status()
        if self._kind not in (PASSPHRASE, SHAMIR):
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
        before = await self._given()
        try:
            async with self._gate.enter_open(caller, AuditAction.SEAL_UNSEAL) as entry:
                verified = await (self._by_share(entry, body) if self._kind == SHAMIR else self._by_passphrase(entry, body))
        except Denied as denied:
            await self._gate.append([replace(self._refused(caller, denied.code), action=AuditAction.ALARM_UNSEAL_FAILED)])
            raise
        if verified is not None or await self._given() > before:  # a share that was known already is no progress
            self._tries.give_back(caller.peer)
        if verified is not None:
            root_key, keyring = verified
            self._keys.publish(keyring)
            await self._unsealed(root_key)
            with suppress(NotReady):
                await self._shares.forget()

    async def _given(self) -> int:
        return await self._shares.given() if self._kind == SHAMIR else 0

    async def _by_passphrase(self, entry: Entry, body: Unseal) -> tuple[RootKey, Keyring]:
        passphrase = _given(body.passphrase, "passphrase", f"a passphrase is text of 1 to {MAX_PASSPHRASE} characters")
        config = _config(await load_instance(entry.session), PASSPHRASE)
        PassphraseConfig.parse(config).parameters.check()
        entry.accept(Resource("seal", PASSPHRASE))
        try:
            root_key = await PassphraseSeal(config).root_key(passphrase)
        except KeyProblem:
            # The configuration was parsed before, so what is left is a wrong passphrase.
            entry.deny("wrong_passphrase", "the passphrase is wrong; nothing was changed")
        return root_key, await self._keys.unlock(entry.session, root_key)

    async def _by_share(self, entry: Entry, body: Unseal) -> tuple[RootKey, Keyring] | None:
        text = _given(body.share, "share", f"a share is text of 1 to {MAX_TEXT} characters", MAX_TEXT)
        stored = ShareSet.parse(_config(await load_instance(entry.session), SHAMIR))
        entry.accept(Resource("seal", SHAMIR))
        try:
            share = stored.check(text)
        except InvalidInput as error:
            entry.deny("wrong_share", f"{error.message}; nothing was changed")
        collected = await self._shares.give(share, anew=body.anew)
        if collected.root_key is None:
            entry.amend(code="shares_anew" if body.anew else "share_accepted")
            return None
        try:
            return collected.root_key, await self._keys.unlock(entry.session, collected.root_key)
        except KeyProblem:
            await self._shares.forget()
            raise

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


def _config(instance: InstanceRow | None, kind: str) -> bytes:
    """The stored configuration of the seal, else :class:`KeyProblem`."""
    if instance is None:
        raise KeyProblem("this database holds no Overseer instance yet: run `overseer server init`")
    if instance.seal_kind != kind or not instance.seal_config:
        raise KeyProblem(f"the seal of this instance is {instance.seal_kind!r}: set OVERSEER_SEAL to it")
    return instance.seal_config


def _given(text: str | None, field: str, rule: str, longest: int = MAX_PASSPHRASE) -> SecretValue:
    refused: OverseerError = InvalidInput(rule, problems=[Problem(f"body.{field}", rule, f"bad_{field}")])
    if text is None or not 1 <= len(text) <= longest:
        raise refused
    try:
        return SecretValue(text)
    except UnicodeEncodeError:
        raise refused from None
