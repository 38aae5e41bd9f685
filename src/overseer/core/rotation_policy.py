"""The rotation policy of a secret: how a new version is made, and how often one is due.

Evolution rule: a policy is stored as a JSON object of the fields below. A new field is optional and has a default that means
what its absence meant; a name is never given another meaning. A writer refuses fields that it does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from overseer.core.errors import InvalidInput, Problem
from overseer.core.generators import parse_spec

MAX_INTERVAL_DAYS: Final = 3650
RULE: Final = f"a rotation policy has 'generate' (a generator), 'interval_days' (1 to {MAX_INTERVAL_DAYS}) or both, nothing else"


@dataclass(frozen=True, slots=True)
class RotationPolicy:
    """``generate`` is a checked specification; ``interval_days`` whole days between rotations."""

    generate: str | None
    interval_days: int | None

    @classmethod
    def parse(cls, fields: Mapping[str, Any], place: str = "rotation") -> RotationPolicy:
        """The policy in ``fields``; :class:`InvalidInput` with the rule, never a field's content."""
        generate, days = fields.get("generate"), fields.get("interval_days")
        if (
            not fields
            or not fields.keys() <= {"generate", "interval_days"}
            or not isinstance(generate, str | None)
            or ("generate" in fields and generate is None)
            or ("interval_days" in fields and not (type(days) is int and 1 <= days <= MAX_INTERVAL_DAYS))
        ):
            raise InvalidInput(f"{place}: {RULE}", problems=[Problem(place, RULE, "bad_rotation")])
        spec = None if generate is None else str(parse_spec(generate, f"{place}.generate"))
        return cls(spec, days)

    def to_fields(self) -> dict[str, Any]:
        """The stored form: only what is set."""
        fields: dict[str, Any] = {"generate": self.generate, "interval_days": self.interval_days}
        return {name: value for name, value in fields.items() if value is not None}
