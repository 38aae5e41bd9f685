"""What to tell people about a reference that has no value: one sentence with what to do next, and names that were perhaps meant.

Only names that the caller may list are ever suggested: the caller passes them in.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from dataclasses import dataclass

from overseer.compose.grammar import Reference

_SEPARATORS = re.compile(r"[-_.]+")


@dataclass(frozen=True, slots=True)
class Advice:
    """The circumstances of a rendering: ``scope`` for people (``app=shop env=prod``) and the names the caller may list.

    ``elsewhere`` maps a name to the scope where it exists, for names that exist but not for this scope.
    """

    scope: str = ""
    known: Collection[str] = ()
    elsewhere: tuple[tuple[str, str], ...] = ()

    def unavailable(self, reference: Reference) -> str:
        """The sentence for a reference without a value. Never holds a value."""
        where = f" for {self.scope}" if self.scope else ""
        said = f'secret "{reference}" not available{where}; '
        if reference.name in self.known:
            detail = f"version {reference.version}" if reference.version is not None else f"field {reference.field}"
            if reference.version is not None or reference.field is not None:
                return f"{said}the secret exists: check {detail}"
        return said + (self.suggestion(reference.name) or "create it or check its name, its scope and your right to use it")

    def suggestion(self, name: str) -> str:
        """Where a secret of that name exists, or the names that were perhaps meant; empty where there is nothing to say."""
        scope = dict(self.elsewhere).get(name)
        if scope is not None:
            return f"it exists for {scope}: set it for this scope, or deploy there"
        similar = near_misses(name, self.known)
        names = " or ".join(f'"{one}"' for one in similar)
        return f"did you mean {names}?" if similar else ""


def near_misses(name: str, known: Collection[str], limit: int = 3) -> tuple[str, ...]:
    """Names of ``known`` that were perhaps meant by ``name``: other separators or capitals first, then close spellings."""
    plain = _SEPARATORS.sub("", name).casefold()
    same = sorted(one for one in known if one != name and _SEPARATORS.sub("", one).casefold() == plain)
    close = [one for one in difflib.get_close_matches(name, sorted(known), limit, 0.75) if one != name and one not in same]
    return tuple([*same, *close][:limit])
