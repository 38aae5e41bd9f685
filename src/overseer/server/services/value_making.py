"""Values that take long to make, or that a CA has to sign: keys and certificates, made outside of any transaction.

Guarantees: a key is made only for somebody who was let through for the change that it is for; of several at a time only two are
made, in threads, so that they stop no other request; a CA signs only for who holds ``secret:use`` on the secret that it is, and
the row that says so is committed before the CA's key is opened.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from overseer.core.audit_events import AuditAction
from overseer.core.errors import NotReady
from overseer.core.generators import Generator
from overseer.core.permissions import Permission
from overseer.core.principals import Caller
from overseer.core.secret_value import SecretValue
from overseer.crypto.generated_keys import make_keys
from overseer.server.services.gate import Entry, Gate
from overseer.server.services.secret_access import known_secret
from overseer.server.services.secret_input import NewValue
from overseer.server.services.value_opener import ValueOpener
from overseer.server.storage.version_rows import stored_versions

AT_ONCE: Final = 2
MOST_WAITING: Final = 32
SIGNS: Final = "signs"


class ValueMaking:
    """One instance a server process."""

    def __init__(self, gate: Gate, opener: ValueOpener) -> None:
        self._gate = gate
        self._opener = opener
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._in_line = 0

    async def made(
        self,
        caller: Caller,
        action: AuditAction,
        wanted: Generator | None,
        admit: Callable[[Entry], Awaitable[None]],
    ) -> NewValue | None:
        """A new value where ``wanted`` makes keys; else None: whoever stores it makes it. ``admit`` authorises the change.

        Raises what ``admit`` raises, :class:`Unavailable` and :class:`Denied` about the CA, :class:`InvalidInput` too.
        """
        if wanted is None or not wanted.makes_keys:
            return None
        async with self._gate.enter(caller, action) as entry:
            await admit(entry)
            entry.postpone()
        ca = None if wanted.signer is None else await self._ca(caller, wanted.signer)
        return NewValue(await self.keys(wanted, ca), str(wanted))

    async def keys(self, generator: Generator, ca: SecretValue | None) -> SecretValue:
        """Make it. Raises :class:`NotReady` where too many wait. Whoever calls this answers for the decisions himself."""
        if self._in_line >= MOST_WAITING:
            raise NotReady("too many keys are being made at this moment; try again", retry_after=5)
        self._in_line += 1
        try:
            async with self._slots:
                return await asyncio.to_thread(make_keys, generator, ca)
        finally:
            self._in_line -= 1

    async def _ca(self, caller: Caller, secret_id: UUID) -> SecretValue:
        async with self._gate.enter(caller, AuditAction.SECRET_USE) as entry:
            row = await known_secret(entry, secret_id, Permission.SECRET_USE)
            wanted = (row.id, row.active_version)
            stored = (await stored_versions(entry.session, [wanted]))[wanted]
            entry.amend(version=row.active_version, code=SIGNS)
        return await self._opener.open(stored, lambda: entry.events[-1])
