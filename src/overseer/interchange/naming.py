"""From names as other programs write them to names of secrets.

The rule: a name given in ``renames`` is that; else a name in capitals becomes small with ``-`` for ``_`` (``DB_PASSWORD`` is
``db-password``), unless ``keep``; then the prefix goes in front. Two entries that end in one name are refused, both named.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from overseer.core.identifiers import NAME_RULE, is_name
from overseer.core.secret_value import SecretValue
from overseer.interchange.found import Found, Refusals

_CONSTANT = re.compile(r"[A-Z0-9_]*[A-Z][A-Z0-9_]*")
_FOREIGN = re.compile(r"[^A-Za-z0-9_.-]+")


@dataclass(frozen=True, slots=True)
class NameRules:
    """``renames`` maps names of the file; ``only`` keeps these alone (empty: all)."""

    prefix: str = ""
    keep: bool = False
    renames: Mapping[str, str] = field(default_factory=dict)
    only: frozenset[str] = frozenset()

    def name(self, found: str) -> str:
        """The secret's name; perhaps one that breaks the rule of names."""
        if found in self.renames:
            return self.renames[found]
        plain = found.lower().replace("_", "-").strip("-") if not self.keep and _CONSTANT.fullmatch(found) else found
        return self.prefix + (plain or found)


@dataclass(frozen=True, slots=True)
class PlaceRules(NameRules):
    """For places in a store, ``PATH#FIELD``: each part by the rule above, joined with ``-``; characters that no name has become
    ``-``. ``renames`` maps whole places."""

    def name(self, found: str) -> str:
        """As :meth:`NameRules.name`."""
        if found in self.renames:
            return self.renames[found]
        plain = NameRules(keep=self.keep)
        parts = [_FOREIGN.sub("-", plain.name(part)).strip("-") for part in re.split("[/#]", found)]
        return self.prefix + ("-".join(part for part in parts if part).lstrip(".") or found)


def named(found: Iterable[Found], rules: NameRules) -> list[tuple[str, SecretValue]]:
    """Names of secrets with their values, in order. Raises :class:`InvalidInput` with every name that cannot be one."""
    refusals = Refusals()
    seen: dict[str, Found] = {}
    for one in found:
        if rules.only and one.name not in rules.only:
            continue
        name = rules.name(one.name)
        if not is_name(name):
            refusals.add(one.place or one.name, f"cannot be a secret's name; rename it: {NAME_RULE}", "bad_name")
        elif name in seen and seen[name].value != one.value:
            both = f"{seen[name].place or seen[name].name} and {one.place or one.name}"
            refusals.add(name, f"two different values would have this name ({both}); rename one", "doubled_name")
        else:
            seen.setdefault(name, one)
    missing = rules.only - {one.name for one in seen.values()}
    for name in sorted(missing):
        refusals.add(name, "the file has no such name", "missing_name")
    refusals.stop("nothing was imported: some names cannot be used")
    return [(name, one.value) for name, one in seen.items()]
