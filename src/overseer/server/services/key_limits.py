"""When the key-encryption key is replaced by itself: by age, and by how often it was used.

Age: NIST SP 800-57 part 1 (table 1) gives a symmetric key-wrapping key an originator-usage period of up to two years; the default
is one. Use: NIST SP 800-38D section 8.3 allows 2^32 encryptions with random 96-bit nonces under one key; at 2^31, which is also
the latest that can be set, a new term is made while the old one is still far from its bound.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from overseer.crypto.wrap_budget import ROTATE_AT
from overseer.server.storage.keyring_rows import KeyRow


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """``max_age`` None: never by age. ``max_uses`` counts reserved encryptions."""

    max_age: timedelta | None = timedelta(days=365)
    max_uses: int = ROTATE_AT

    @classmethod
    def of(cls, max_age_days: int, max_uses: int) -> KeyLimits:
        """As the settings say it: 0 days mean never."""
        return cls(timedelta(days=max_age_days) if max_age_days else None, max_uses)

    def reason(self, newest: KeyRow, now: datetime) -> str | None:
        """``age`` or ``count`` where the newest term has to be replaced, else None."""
        if newest.wraps_reserved >= self.max_uses:
            return "count"
        due_at = self.due_at(newest)
        return "age" if due_at is not None and now >= due_at else None

    def due_at(self, newest: KeyRow) -> datetime | None:
        """From when on the term is too old."""
        return None if self.max_age is None else newest.created_at + self.max_age


DEFAULT_LIMITS: Final = KeyLimits()
