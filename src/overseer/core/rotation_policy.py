"""The rotation policy of a secret: how a new version is made, when one is due, and what is kept of the one before.

Evolution rule: a policy is stored as a JSON object of the fields below. A new field is optional and has a default that means
what its absence meant; a name is never given another meaning. A writer refuses fields that it does not know.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from overseer.core.errors import InvalidInput, Problem
from overseer.core.generators import parse_spec

MAX_INTERVAL_DAYS: Final = 3650
MAX_GRACE_DAYS: Final = 365
MAX_NOTIFY_DAYS: Final = 90
MAX_JITTER_MINUTES: Final = 1440
RULE: Final = (
    f"a rotation policy has at least one of 'generate' (a generator), 'interval_days' (1 to {MAX_INTERVAL_DAYS}), 'cron' (five "
    f"fields, in UTC; not with an interval) and 'grace_days' (0 to {MAX_GRACE_DAYS}); besides them 'notify_days' "
    f"(1 to {MAX_NOTIFY_DAYS}) and 'jitter_minutes' (1 to {MAX_JITTER_MINUTES}), nothing else"
)
#: Field → least and greatest.
_NUMBERS: Final = {
    "interval_days": (1, MAX_INTERVAL_DAYS),
    "grace_days": (0, MAX_GRACE_DAYS),
    "notify_days": (1, MAX_NOTIFY_DAYS),
    "jitter_minutes": (1, MAX_JITTER_MINUTES),
}
_TEXTS: Final = ("generate", "cron")
#: The form alone; whether such a day exists the one who counts knows (``services/rotation_times.py``).
_CRON: Final = re.compile(r"[0-9A-Za-z*,/#-]+( [0-9A-Za-z*,/#-]+){4}")


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """``generate`` is a checked specification; ``interval_days`` whole days from one version to the next; ``cron`` times in UTC.

    ``grace_days``: how long the version before stays in force where both can be. ``notify_days``: so long before it is said that
    a rotation is near. ``jitter_minutes``: up to so much later, at random, so that not all secrets change in one moment.
    """

    generate: str | None = None
    interval_days: int | None = None
    cron: str | None = None
    grace_days: int | None = None
    notify_days: int | None = None
    jitter_minutes: int | None = None

    @classmethod
    def parse(cls, fields: Mapping[str, Any], place: str = "rotation") -> RotationPolicy:
        """The policy in ``fields``; :class:`InvalidInput` with the rule, never a field's content."""
        known = {*_NUMBERS, *_TEXTS}
        says = fields.keys() & {"generate", "interval_days", "cron", "grace_days"}
        if (
            not says
            or not fields.keys() <= known
            or {"interval_days", "cron"} <= fields.keys()
            or not all(isinstance(fields[name], str) for name in _TEXTS if name in fields)
            or not all(
                type(fields[name]) is int and least <= fields[name] <= greatest
                for name, (least, greatest) in _NUMBERS.items()
                if name in fields
            )
            or not _CRON.fullmatch(fields.get("cron", "* * * * *"))
        ):
            raise InvalidInput(f"{place}: {RULE}", problems=[Problem(place, RULE, "bad_rotation")])
        checked = dict(fields)
        if "generate" in checked:
            checked["generate"] = str(parse_spec(checked["generate"], f"{place}.generate"))
        return cls(**checked)

    @property
    def scheduled(self) -> bool:
        """Whether it is ever due by itself."""
        return self.interval_days is not None or self.cron is not None

    def to_fields(self) -> dict[str, Any]:
        """The stored form: only what is set."""
        names = ("generate", "interval_days", "cron", "grace_days", "notify_days", "jitter_minutes")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}
