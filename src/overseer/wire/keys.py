"""The state of the keyring, never a key."""

from __future__ import annotations

from datetime import datetime

from overseer.wire.messages import Answer


class KeyView(Answer, frozen=True):
    """One key. ``encryptions_reserved`` counts a key-encryption key's uses, in blocks of 2^20; others do not encrypt."""

    purpose: str
    term: int
    created_at: datetime
    encryptions_reserved: int


class KeyringView(Answer, frozen=True):
    """``newest_term`` of the key-encryption keys encrypts; ``rotation_due`` from half of its bound on."""

    keys: list[KeyView]
    newest_term: int
    rotation_due: bool
