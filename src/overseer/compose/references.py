"""Every reference of a bundle, with its place, and every problem, all at once.

Three kinds: ``inline`` (``${SECRET:…}`` in values, env_files and ``configs.*.content``), ``external`` (a top-level secret with
``external: true`` that a service uses), ``file`` (a bind whose source lies right below the secrets root). Local ``include``,
``extends.file`` and ``env_file`` are followed as Compose follows them; remote and escaping paths are refused, cycles found.

Guarantees: a reference that is not listed does not exist for Compose either; nothing raises on the first problem; time and
memory are bounded whatever the files hold. It does not decide whether a caller may use a secret.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from overseer.compose.bundle import Bundle
from overseer.compose.bundle_reading import FileScan, Reading, read_bundle
from overseer.compose.grammar import Reference
from overseer.compose.lines import by_place
from overseer.compose.positions import EXPOSED, METADATA, Kind
from overseer.compose.reading_limits import DELIVERIES
from overseer.core.errors import Problem

#: Refused in a deployment unless ``allow_persisting``.
DEPLOYMENT_REFUSES: Final = METADATA | EXPOSED


class Form(StrEnum):
    """How a reference is written."""

    EXTERNAL = "external"
    FILE = "file"
    INLINE = "inline"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One use of a reference: ``place`` is ``file:line:column``; ``services`` are the known ones whose containers get it."""

    reference: Reference
    form: Form
    kind: Kind
    file: str
    line: int
    column: int
    services: tuple[str, ...]
    key: str = ""
    has_default: bool = False

    @property
    def place(self) -> str:
        """``file:line:column``, counted from one."""
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class BundleScan:
    """What a bundle holds. With ``problems`` nothing may be deployed."""

    bundle: Bundle
    occurrences: tuple[Occurrence, ...]
    problems: tuple[Problem, ...]
    scans: dict[str, FileScan] = field(repr=False)
    variables: tuple[str, ...] = ()

    @property
    def references(self) -> tuple[Reference, ...]:
        """Each reference once, in the order of its first occurrence."""
        return tuple(dict.fromkeys(occurrence.reference for occurrence in self.occurrences))

    def uses(self) -> dict[Reference, list[Occurrence]]:
        """The occurrences of each reference, in their order."""
        found: dict[Reference, list[Occurrence]] = {}
        for occurrence in self.occurrences:
            found.setdefault(occurrence.reference, []).append(occurrence)
        return found

    def required(self) -> tuple[Reference, ...]:
        """Those that have at least one occurrence without a default."""
        return tuple(dict.fromkeys(one.reference for one in self.occurrences if not one.has_default))


def find_references(bundle: Bundle, *, allow_persisting: bool = False) -> BundleScan:
    """Scan a bundle; never raises for what its files hold. ``allow_persisting``: metadata and arguments may hold references."""
    reading = read_bundle(bundle, frozenset() if allow_persisting else DEPLOYMENT_REFUSES)
    uses: dict[tuple[object, ...], _Use] = {}
    for occurrence, services in _uses(reading):
        if not reading.spend(DELIVERIES, occurrence.file, len(services) or 1):
            break
        if not reading.different((occurrence.reference,), occurrence.file):
            break
        # The uses of one place (an alias, an extended service) are one occurrence per kind.
        key = (occurrence.file, occurrence.line, occurrence.column, occurrence.reference, occurrence.form, occurrence.kind)
        use = uses.setdefault(key, _Use(occurrence))
        use.services.update(services)
        use.has_default = use.has_default and occurrence.has_default
    merged = [
        replace(use.first, services=tuple(sorted(use.services)), has_default=use.has_default) for use in uses.values()
    ]
    ordered = sorted(merged, key=lambda one: (one.file, one.line, one.column))
    problems = sorted(dict.fromkeys(reading.problems), key=lambda one: by_place(one.place))
    return BundleScan(bundle, tuple(ordered), tuple(problems), reading.scans, tuple(reading.variables))


@dataclass(slots=True)
class _Use:
    """An occurrence while its uses are gathered."""

    first: Occurrence
    services: set[str] = field(default_factory=set)
    has_default: bool = True


def _uses(reading: Reading) -> Iterator[tuple[Occurrence, tuple[str, ...]]]:
    """Every use, still without its services, and the services that get it."""
    for origin in reading.inline:
        services = reading.services_of(origin)
        for token, (line, column) in zip(origin.tokens, origin.places, strict=True):
            defaulted = token.default is not None
            yield (
                Occurrence(token.reference, Form.INLINE, origin.kind, origin.file, line, column, (), origin.key, defaulted),
                services,
            )
    for found in reading.delivered:
        form = Form.EXTERNAL if found.external else Form.FILE
        services = reading.services_of(found.origin)
        if services:
            line, column = found.origin.places[0]
            yield Occurrence(found.reference, form, Kind.STRUCTURE, found.origin.file, line, column, ()), services
