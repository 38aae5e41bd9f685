"""What would change: the versions that run against the versions that would be used now. Values have no place here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from overseer.compose.grammar import Reference
from overseer.compose.references import BundleScan


class Change(StrEnum):
    """What happens to one reference."""

    ADDED = "added"
    CHANGED = "changed"
    REMOVED = "removed"
    SAME = "same"
    UNAVAILABLE = "unavailable"


@dataclass(frozen=True, slots=True)
class VersionChange:
    """One reference: ``before`` and ``after`` are version numbers, ``None`` where there is none; ``services`` are concerned."""

    reference: str
    change: Change
    before: int | None
    after: int | None
    services: tuple[str, ...]
    places: tuple[str, ...]

    def __str__(self) -> str:
        """One line for people: ``~ db-password 3 -> 4 (web, worker)``."""
        sign = {"added": "+", "changed": "~", "removed": "-", "same": "=", "unavailable": "!"}[self.change.value]
        versions = {
            Change.ADDED: f"-> {self.after}",
            Change.CHANGED: f"{self.before} -> {self.after}",
            Change.REMOVED: f"{self.before} ->",
            Change.SAME: f"{self.after}",
            Change.UNAVAILABLE: "is not available",
        }[self.change]
        who = f" ({', '.join(self.services)})" if self.services else ""
        return f"{sign} {self.reference} {versions}{who}"


def diff_versions(
    running: Mapping[Reference, int],
    scan: BundleScan,
    available: Mapping[Reference, int],
    running_services: Mapping[Reference, Iterable[str]] | None = None,
) -> tuple[VersionChange, ...]:
    """Compare what runs with what the bundle would get from ``available`` (numbers of active or pinned versions), by name.

    A reference whose every use has a default is ``added``/``same`` only where it is available; without a value it is left out.
    """
    services: dict[Reference, set[str]] = {}
    places: dict[Reference, list[str]] = {}
    for one in scan.occurrences:
        services.setdefault(one.reference, set()).update(one.services)
        places.setdefault(one.reference, []).append(one.place)
    required = set(scan.required())
    changes: list[VersionChange] = []
    for reference in sorted({*running, *scan.references}, key=str):
        before, after = running.get(reference), available.get(reference)
        if reference not in services:
            change, after = Change.REMOVED, None
            services[reference] = set((running_services or {}).get(reference, ()))
        elif after is None:
            if reference not in required and before is None:
                continue
            change = Change.UNAVAILABLE if reference in required else Change.REMOVED
        elif before is None:
            change = Change.ADDED
        else:
            change = Change.SAME if before == after else Change.CHANGED
        found = tuple(sorted(services[reference]))
        changes.append(VersionChange(str(reference), change, before, after, found, tuple(places.get(reference, ()))))
    return tuple(changes)
