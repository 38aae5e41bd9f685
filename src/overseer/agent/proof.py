"""Proof from inside the containers: which of the delivered references each container really holds.

For every place where a value was put (a variable, a file) the place is read in each container of the service and compared with
what should be there. Equal: the fingerprint of the value is reported. Different: the fingerprint of what was found, which matches
nothing. Unreadable: nothing is reported for that place, for nothing is known.

Guarantee: only fingerprints under the deployment's key leave this module, never a value nor what was found instead.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from overseer.agent import container_contents
from overseer.agent.containers import Container
from overseer.agent.engine import Engine
from overseer.agent.preparation import Prepared
from overseer.compose.filling import Filler
from overseer.compose.grammar import Reference
from overseer.compose.model import plain
from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import fingerprint
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import FingerprintReport


@dataclass(frozen=True, slots=True)
class Place:
    """One place of one service: ``expected`` is all of its content, ``references`` what of it came from Overseer."""

    service: str
    references: tuple[Reference, ...]
    expected: SecretValue
    variable: str = ""
    file: str = field(default="")


def places(prepared: Prepared) -> list[Place]:
    """Every place where a value was put."""
    return [*_variables(prepared), *_files(prepared)]


def _variables(prepared: Prepared) -> Iterator[Place]:
    filler = Filler(prepared.placeholders, prepared.values)
    for service, described in (prepared.injection.model.get("services") or {}).items():
        for key, text in (described.get("environment") or {}).items():
            used = _used(prepared, text) if isinstance(text, str) else ()
            if used:
                yield Place(service, used, SecretValue(plain(filler.text(text))), variable=key)


def _files(prepared: Prepared) -> Iterator[Place]:
    for planned, held in prepared.files:
        used = (planned.reference,) if planned.reference is not None else _used(prepared, planned.template)
        if used:
            yield Place(planned.service, used, held, file=planned.target)


def _used(prepared: Prepared, text: str) -> tuple[Reference, ...]:
    """The references in ``text`` that had a value; where a default applies there is nothing to prove."""
    found = (slot.reference for slot in prepared.placeholders.in_text(text))
    return tuple(dict.fromkeys(reference for reference in found if reference in prepared.values))


def collect(engine: Engine, prepared: Prepared, containers: Sequence[Container], key: HmacKey) -> list[FingerprintReport]:
    """Read every place in every container and report by fingerprint."""
    reports: dict[tuple[str, str, str], FingerprintReport] = {}
    for place in places(prepared):
        for container in (one for one in containers if one.service == place.service):
            found = _read(engine, container, place)
            if found is None:
                continue
            for reference in place.references:
                seen = prepared.values[reference] if found == place.expected else found
                text = base64.b64encode(fingerprint(key, str(reference), seen)).decode("ascii")
                report = FingerprintReport(reference=str(reference), service=place.service, fingerprint=text)
                reports[report.reference, report.service, text] = report
    return list(reports.values())


def _read(engine: Engine, container: Container, place: Place) -> SecretValue | None:
    reader: Callable[[], SecretValue | None] = (
        (lambda: container_contents.variable(container, place.variable))
        if place.variable
        else (lambda: container_contents.file(engine, container, place.file))
    )
    return reader()
