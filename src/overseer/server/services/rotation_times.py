"""When a secret is due next. Times are UTC, so no change of clocks skips or doubles one.

Guarantee: however many times were missed, the next one lies in the future, so they come to one rotation.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from cronsim import CronSim, CronSimError

from overseer.core.errors import InvalidInput, Problem
from overseer.core.rotation_policy import RotationPolicy

BAD_CRON: Final = "these five fields of cron name no time that ever comes: minute, hour, day, month, weekday, in UTC"
TOO_OFTEN: Final = timedelta(minutes=5)
TOO_OFTEN_RULE: Final = "a secret is rotated every five minutes at most"
_EPOCH: Final = datetime.fromisoformat("2025-01-01T00:00:00+00:00")


def check_times(policy: RotationPolicy, place: str) -> RotationPolicy:
    """``policy`` itself, or :class:`InvalidInput` where its cron names no time, or too many."""
    if policy.cron is not None:
        try:
            times = CronSim(policy.cron, _EPOCH)
            found = [next(times) for _ in range(13)]
        except (CronSimError, StopIteration):
            raise InvalidInput(f"{place}: {BAD_CRON}", problems=[Problem(place, BAD_CRON, "bad_cron")]) from None
        if any(later - earlier < TOO_OFTEN for earlier, later in pairwise(found)):
            raise InvalidInput(f"{place}: {TOO_OFTEN_RULE}", problems=[Problem(place, TOO_OFTEN_RULE, "bad_cron")])
    return policy


def next_time(policy: RotationPolicy, latest: datetime, now: datetime) -> datetime | None:
    """The time after ``now``, counted from the newest version for an interval; None where there is no schedule."""
    if policy.cron is not None:
        moment = next(CronSim(policy.cron, now), None)
    elif policy.interval_days is not None:
        moment = max(latest + timedelta(days=policy.interval_days), now)
    else:
        moment = None
    if moment is None or not policy.jitter_minutes:
        return moment
    return moment + timedelta(seconds=secrets.randbelow(policy.jitter_minutes * 60 + 1))
