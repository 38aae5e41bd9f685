"""How many failed sign-ins are let through, and how long the next one has to wait.

Counted for each name, whether there is such a user or not, twice: from the peer that tries and from everywhere. Five failures
from one peer, and twenty from everywhere, cost nothing; each further one doubles a wait from thirty seconds to at most fifteen
minutes. A day without a failure forgets them.

So that a stranger cannot lock somebody out: a peer from which the user signed in during the last thirty days is not
held up by what happens elsewhere, only by its own failures; no wait is longer than fifteen minutes; and an unused recovery code
is let through once (it cannot be guessed, but found: it is spent by that, whatever the password was). Sessions and tokens that
are live are not touched, an identity provider's sign-in is not held up, and the root key's holder can always make an owner's
token.

A guesser from everywhere gets twenty tries and then about a hundred a day for one name (NIST SP 800-63B asks for no more than a
hundred in a row).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

FREE_FROM_PEER: Final = 5
FREE_FROM_EVERYWHERE: Final = 20
FIRST_WAIT: Final = timedelta(seconds=30)
LONGEST_WAIT: Final = timedelta(minutes=15)
FORGET_AFTER: Final = timedelta(days=1)
KNOWN_FOR: Final = timedelta(days=30)


def wait_after(failures: int, free: int) -> timedelta:
    """How long to wait after so many failures."""
    beyond = failures - free
    if beyond < 0:
        return timedelta(0)
    return min(FIRST_WAIT * (1 << min(beyond, 10)), LONGEST_WAIT)


def counted(failures: int, failed_at: datetime | None, now: datetime) -> int:
    """The failures that still count."""
    return 0 if failed_at is None or now - failed_at > FORGET_AFTER else failures


def is_known(good_at: datetime | None, now: datetime) -> bool:
    """Whether somebody signed in from there lately."""
    return good_at is not None and now - good_at <= KNOWN_FOR
