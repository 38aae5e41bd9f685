"""Points in time as clients send them: with a time zone, and within the years that every part of the server can hold.

Close to year 1 and 9999 UTC's calendar ends, and the database's driver takes the ends themselves for "infinity".
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from overseer.core.errors import InvalidInput, Problem

FIRST_YEAR: Final = 1970
LAST_YEAR: Final = 9998
MOMENT_RULE: Final = f"a time with a time zone, in the years {FIRST_YEAR} to {LAST_YEAR} of UTC: 2030-01-31T12:00:00Z"


def in_utc(moment: datetime) -> datetime | None:
    """The same moment in UTC; None without a time zone, or outside those years."""
    try:
        utc = None if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None
    return utc if utc is not None and FIRST_YEAR <= utc.year <= LAST_YEAR else None


def check_moment(moment: datetime | None, place: str) -> datetime | None:
    """``moment`` in UTC, None where none was sent. Raises :class:`InvalidInput` with the rule."""
    checked = None if moment is None else in_utc(moment)
    if moment is not None and checked is None:
        raise InvalidInput(f"{place}: {MOMENT_RULE}", problems=[Problem(place, MOMENT_RULE, "bad_time")])
    return checked
