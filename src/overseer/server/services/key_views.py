"""The keyring and its rotations as people see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from overseer.crypto.keyring import Purpose
from overseer.server.services.key_limits import KeyLimits
from overseer.server.storage.keyring_rows import KeyRow
from overseer.server.storage.rotation_rows import RotationRow
from overseer.wire.keys import KeyringView, KeyView, RotationView


def newest_kek(rows: Sequence[KeyRow]) -> KeyRow:
    """The key-encryption key that encrypts."""
    return max((row for row in rows if row.purpose == Purpose.KEK), key=lambda row: row.term)


def keyring_view(
    rows: Sequence[KeyRow], rotation: RotationRow | None, old: Mapping[int, int], limits: KeyLimits, now: datetime
) -> KeyringView:
    """``old`` counts the rows under each old term."""
    newest = newest_kek(rows)
    return KeyringView(
        keys=[_key_view(row, newest, old) for row in rows],
        newest_term=newest.term,
        rotation_due=limits.reason(newest, now) is not None,
        rotation_due_at=limits.due_at(newest),
        encryptions_allowed=limits.max_uses,
        rotation=None if rotation is None else rotation_view(rotation, sum(old.values())),
    )


def rotation_view(row: RotationRow, remaining: int) -> RotationView:
    """``remaining`` counts the rows that are still under old terms."""
    return RotationView(
        id=str(row.id),
        term=row.term,
        reason=row.reason,
        state=row.state,
        rewrapped=row.rewrapped,
        remaining=remaining,
        unreadable=row.unreadable,
        started_by=row.started_by_name,
        started_at=row.started_at,
        finished_at=row.finished_at,
    )


def _key_view(row: KeyRow, newest: KeyRow, old: Mapping[int, int]) -> KeyView:
    is_old = row.purpose == Purpose.KEK and row.term < newest.term
    return KeyView(
        purpose=row.purpose,
        term=row.term,
        created_at=row.created_at,
        encryptions_reserved=row.wraps_reserved,
        rows=old.get(row.term, 0) if is_old else None,
    )
