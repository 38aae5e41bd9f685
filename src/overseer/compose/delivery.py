"""The last step before the engine: the filled model and the content of every file, or all problems at once.

The result is plaintext and stays typed as such; it goes to the standard input of ``docker compose`` and to tmpfs, nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from overseer.compose.advice import Advice
from overseer.compose.filling import Filler, fill
from overseer.compose.grammar import Reference
from overseer.compose.injection import Injection
from overseer.compose.model import model_text
from overseer.compose.mounts import SecretFile
from overseer.compose.placeholders import Placeholders
from overseer.core.errors import Problem, ReferencesRefused
from overseer.core.secret_value import SecretValue


@dataclass(frozen=True)
class Delivery:
    """``compose_input`` for ``docker compose -f -``; ``files`` with their content."""

    compose_input: SecretValue
    files: tuple[tuple[SecretFile, SecretValue], ...]


def deliver(
    plan: Injection, placeholders: Placeholders, values: Mapping[Reference, SecretValue], advice: Advice | None = None
) -> Delivery:
    """Fill ``plan`` with ``values``. Raises :class:`ReferencesRefused` with all problems of both; then nothing is rendered.

    A reference that ``values`` lacks is unavailable (its default applies, or it is a problem).
    """
    filler = Filler(placeholders, values, advice)
    filler.problems += plan.problems
    files = tuple((file, content(file, filler)) for service in plan.services.values() for file in service)
    model = fill(plan.model, filler)
    if filler.problems:
        problems = tuple(dict.fromkeys(filler.problems))
        raise ReferencesRefused("the secrets cannot be delivered; nothing was rendered", problems=problems)
    return Delivery(SecretValue(model_text(model)), files)


def content(file: SecretFile, filler: Filler) -> SecretValue:
    """What ``file`` holds; empty with a problem noted in ``filler`` where a value is not available."""
    if file.reference is None:
        return SecretValue(filler.content(file.template))
    value = filler.values.get(file.reference)
    if value is None:
        place = f"services.{file.service}: {file.target}"
        filler.problems.append(Problem(place, filler.advice.unavailable(file.reference), "secret_unavailable"))
        return SecretValue(b"")
    return value
