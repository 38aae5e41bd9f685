"""Checking a second factor inside a sign-in or a change of one's own account: a code of the authenticator, or a recovery code.

A code is spent in the same transaction as what it lets through, under the lock of its row: it works once, on every replica.
"""

from __future__ import annotations

from uuid import UUID

from overseer.crypto.envelope import TotpContext, decrypt
from overseer.crypto.one_time_codes import is_totp_form, matching_step, recovery_hash
from overseer.server.services.gate import Entry
from overseer.server.services.key_service import KeyService
from overseer.server.storage.user_rows import TotpRow, totp_of, use_recovery_code, use_step


class SecondFactors:
    """One instance a server process."""

    def __init__(self, keys: KeyService) -> None:
        self._keys = keys

    async def spend(self, entry: Entry, user_id: UUID, code: str) -> bool:
        """Spend a code of the user's confirmed second factor; False where it is wrong or was used.

        Raises :class:`DecryptionFailed` where the stored secret was changed.
        """
        if not is_totp_form(_plain(code)):
            return await use_recovery_code(entry.session, user_id, recovery_hash(code))
        row = await totp_of(entry.session, user_id)
        return row is not None and row.confirmed and await self.spend_step(entry, user_id, row, code)

    async def spend_step(self, entry: Entry, user_id: UUID, row: TotpRow, code: str) -> bool:
        """The same for the authenticator alone, whether it is confirmed or about to be."""
        keyring = await self._keys.keyring_for([row.encrypted.term])
        secret = decrypt(row.encrypted, TotpContext(keyring.instance_id, user_id, row.id), keyring)
        step = matching_step(secret, _plain(code), entry.now.timestamp(), row.last_step)
        return step is not None and await use_step(entry.session, user_id, step)


def _plain(code: str) -> str:
    """Authenticators show ``123 456``."""
    return "".join(code.split())
