"""Proof from inside the containers: which of the delivered references each container really holds.

For every place where a value was put (a variable, a file) the place is read in each container of the service and compared with
what should be there. Equal: the fingerprint of the value is reported. Different: the fingerprint of what was found, which matches
nothing. Unreadable: nothing is reported for that place, for nothing is known.

Guarantee: only fingerprints under the deployment's key leave this module, never a value nor what was found instead. What should
be there is itself kept as fingerprints, so that containers can be looked at again when the values are gone.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator, Sequence

from overseer.agent import container_contents
from overseer.agent.containers import Container
from overseer.agent.engine import Engine
from overseer.agent.held_deployment import HeldPlace
from overseer.agent.preparation import Prepared
from overseer.compose.filling import Filler
from overseer.compose.grammar import Reference
from overseer.compose.model import plain
from overseer.core.secret_value import SecretValue
from overseer.crypto.fingerprints import fingerprint, fingerprints_match
from overseer.crypto.keys import HmacKey
from overseer.wire.agent import FingerprintReport


def places(prepared: Prepared, key: HmacKey) -> list[HeldPlace]:
    """Every place where a value was put, with the fingerprints of what belongs there."""
    return [*_variables(prepared, key), *_files(prepared, key)]


def _variables(prepared: Prepared, key: HmacKey) -> Iterator[HeldPlace]:
    filler = Filler(prepared.placeholders, prepared.values)
    for service, described in (prepared.injection.model.get("services") or {}).items():
        for name, text in (described.get("environment") or {}).items():
            used = _used(prepared, text) if isinstance(text, str) else ()
            if used:
                expected = fingerprint(key, name, SecretValue(plain(filler.text(text))))
                yield HeldPlace(service=service, variable=name, expected=expected, fingerprints=_prints(prepared, key, used))


def _files(prepared: Prepared, key: HmacKey) -> Iterator[HeldPlace]:
    for planned, held in prepared.files:
        used = (planned.reference,) if planned.reference is not None else _used(prepared, planned.template)
        if used:
            expected = fingerprint(key, planned.target, held)
            prints = _prints(prepared, key, used)
            yield HeldPlace(service=planned.service, file=planned.target, expected=expected, fingerprints=prints)


def _prints(prepared: Prepared, key: HmacKey, used: Iterable[Reference]) -> dict[str, bytes]:
    return {str(one): fingerprint(key, str(one), prepared.values[one]) for one in used if one in prepared.values}


def _used(prepared: Prepared, text: str) -> tuple[Reference, ...]:
    """The references in ``text`` that had a value; where a default applies there is nothing to prove."""
    found = (slot.reference for slot in prepared.placeholders.in_text(text))
    return tuple(dict.fromkeys(reference for reference in found if reference in prepared.values))


def collect(
    engine: Engine, wanted: Sequence[HeldPlace], containers: Sequence[Container], key: HmacKey
) -> list[FingerprintReport]:
    """Read every place in every container and report by fingerprint."""
    reports: dict[tuple[str, str, str], FingerprintReport] = {}
    for place in wanted:
        for container in (one for one in containers if one.service == place.service):
            found = _read(engine, container, place)
            if found is None:
                continue
            right = fingerprints_match(fingerprint(key, place.variable or place.file, found), place.expected)
            for reference, expected in place.fingerprints.items():
                seen = expected if right else fingerprint(key, reference, found)
                text = base64.b64encode(seen).decode("ascii")
                report = FingerprintReport(reference=reference, service=place.service, fingerprint=text)
                reports[report.reference, report.service, text] = report
    return list(reports.values())


def _read(engine: Engine, container: Container, place: HeldPlace) -> SecretValue | None:
    if place.variable:
        return container_contents.variable(container, place.variable)
    return container_contents.file(engine, container, place.file)
