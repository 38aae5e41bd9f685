"""Limits on denials, so that a flood of them neither fills the disk nor goes unseen.

A token bucket (RFC 2697's simplest form) for each principal, or for each peer where nobody is known. A denial that finds its
bucket empty is counted; the count travels in the ``repeats`` of the next row for the same key, or is drained now and then.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from overseer.core.audit_events import AuditEvent

MAX_KEYS: Final = 10_000
"""Buckets that are kept; beyond it the one that was used least recently goes, and its count with it is drained first."""


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float
    suppressed: int = 0
    last: AuditEvent | None = field(default=None)


class DenialLimits:
    """``burst`` denials at once and ``rate`` a second after that; strangers (no principal) get a tenth of both."""

    retry_after: int = 5

    def __init__(self, *, burst: float = 200, rate: float = 20, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = burst
        self._rate = rate
        self._clock = clock
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()
        self._evicted: list[tuple[AuditEvent, int]] = []

    def admit(self, event: AuditEvent) -> int:
        """How many denials the row for ``event`` stands for (itself and those counted before it); 0: write no row."""
        bucket = self._bucket(event)
        if bucket.tokens < 1:
            bucket.suppressed += 1
            bucket.last = event
            return 0
        bucket.tokens -= 1
        count, bucket.suppressed, bucket.last = bucket.suppressed + 1, 0, None
        return count

    def spend(self, event: AuditEvent) -> bool:
        """Count a denial that is written already; False where the bucket is empty now."""
        bucket = self._bucket(event)
        bucket.tokens = max(0.0, bucket.tokens - 1)
        return bucket.tokens >= 1

    def drain(self) -> list[tuple[AuditEvent, int]]:
        """The denials that were counted and not yet written, as (newest event, count)."""
        for bucket in self._buckets.values():
            self._keep(bucket)
        left, self._evicted = self._evicted, []
        return left

    def restore(self, left: Sequence[tuple[AuditEvent, int]]) -> None:
        """Count denials again whose rows could not be written after all."""
        for event, count in left:
            bucket = self._bucket(event)
            bucket.suppressed += count
            bucket.last = event

    def _bucket(self, event: AuditEvent) -> _Bucket:
        known = event.actor_id is not None
        key = str(event.actor_id) if known else f"peer {event.peer}"
        share = 1.0 if known else 0.1
        now = self._clock()
        bucket = self._buckets.pop(key, None) or _Bucket(self._burst * share, now)
        self._buckets[key] = bucket
        bucket.tokens = min(self._burst * share, bucket.tokens + (now - bucket.at) * self._rate * share)
        bucket.at = now
        if len(self._buckets) > MAX_KEYS:
            self._keep(self._buckets.popitem(last=False)[1])
        return bucket

    def _keep(self, bucket: _Bucket) -> None:
        if bucket.last is not None:
            self._evicted.append((bucket.last, bucket.suppressed))
            bucket.suppressed, bucket.last = 0, None
