"""From stored versions to plaintext, after the audit rows of their release were committed.

Guarantees: a value that does not open is an error that names its secret by id, and a correcting row follows the ``allowed`` one
that is already in the log; of several values all open or none is given. If that row cannot be written, the answer
is the audit's error. What it will not do: decide, or read rows: call it with what an authorised block has read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from overseer.core.audit_events import AuditAction, AuditEvent, Outcome
from overseer.core.errors import DecryptionFailed, KeyProblem, Problem
from overseer.core.secret_value import SecretValue
from overseer.crypto.envelope import EncryptedValue, ValueContext, decrypt
from overseer.crypto.keyring import Keyring
from overseer.server.services.gate import Gate
from overseer.server.services.key_service import KeyService
from overseer.server.storage.version_rows import StoredVersion

#: Values that are opened before others have their turn.
_AT_ONCE: Final = 100


@dataclass(frozen=True, slots=True)
class Revealed:
    """A value that leaves the server, and which it is."""

    id: str
    name: str
    version: int
    value: SecretValue
    stale: bool = False


class ValueOpener:
    """See the module's text."""

    def __init__(self, keys: KeyService, gate: Gate) -> None:
        self._keys = keys
        self._gate = gate

    async def open(self, stored: StoredVersion, released: Callable[[], AuditEvent]) -> SecretValue:
        """The value of one version; ``released`` gives its committed row, asked for where it does not open. Raises
        :class:`DecryptionFailed`."""
        keyring = await self._keys.keyring_for((stored.kek_term,))
        try:
            return open_stored(stored, keyring)
        except DecryptionFailed:
            return (await self.open_all([(stored, released())]))[0]

    async def open_all(self, versions: Sequence[tuple[StoredVersion, AuditEvent]]) -> list[SecretValue]:
        """The values in order, all or none; :class:`DecryptionFailed` lists every secret that did not open, by id."""
        keyring = await self._keys.keyring_for({stored.kek_term for stored, _ in versions})
        values: list[SecretValue] = []
        corrections: list[AuditEvent] = []
        problems: list[Problem] = []
        for number, (stored, released) in enumerate(versions, 1):
            if not number % _AT_ONCE:
                await asyncio.sleep(0)  # the process serves others, too
            try:
                values.append(open_stored(stored, keyring))
            except DecryptionFailed as error:
                problems.append(Problem(f"secret {stored.secret_id}", error.message, DecryptionFailed.code))
                corrected = replace(released, outcome=Outcome.FAILED, code=DecryptionFailed.code)
                corrections.append(replace(corrected, resource_id=stored.secret_id, version=stored.version))
        if problems:
            alarm = replace(corrections[0], action=AuditAction.ALARM_DECRYPT_FAILED)
            await self._gate.append([*corrections, alarm])
            raise DecryptionFailed(problems[0].rule, problems=problems)
        return values


def open_stored(stored: StoredVersion, keyring: Keyring) -> SecretValue:
    """One value. Raises :class:`DecryptionFailed`; whoever calls this answers for the audit rows himself."""
    context = ValueContext(keyring.instance_id, stored.secret_id, stored.id, stored.scope_id)
    try:
        return decrypt(EncryptedValue(stored.format, stored.kek_term, stored.wrapped_dek, stored.ciphertext), context, keyring)
    except KeyProblem:
        # Every term that a row can name is in the keyring, which was read again: the row was changed.
        rule = f"{context.label()}: key term {stored.kek_term} does not exist; restore the row from a backup"
        raise DecryptionFailed(rule) from None
