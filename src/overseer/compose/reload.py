"""How a service is told that its files changed: the label ``overseer.reload``, or ``x-overseer: {reload: …}`` in the service.

::

    overseer.reload: none | signal:SIGHUP | restart | exec:["nginx", "-s", "reload"]
    x-overseer: {reload: none | signal:SIGHUP | restart | {exec: [nginx, -s, reload]}}

The label wins where both are given. Without either, files in a directory are changed in place and nobody is told, a service that
mounts single files is restarted, and one whose environment changed is recreated; the last two happen whatever ``reload`` says,
for nothing else shows the new value there.

Guarantee: a wrong setting is a problem with its place before anything changes; a reference in one is refused, for the words of a
command are readable by everybody on the node.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

import yaml

from overseer.compose.model import Model, plain
from overseer.compose.placeholders import Placeholders
from overseer.core.errors import InvalidInput, Problem

LABEL: Final = "overseer.reload"
EXTENSION: Final = "x-overseer"
RULE: Final = 'none, restart, signal:NAME (such as signal:SIGHUP) or exec:["program", "argument"]'
#: KILL and STOP reach no handler: nobody can reload on them.
_SIGNAL: Final = re.compile(
    r"(?:SIG)?(HUP|INT|QUIT|USR1|USR2|ALRM|TERM|CONT|WINCH|IO|PWR|RTMIN(?:\+[0-9]{1,2})?|RTMAX(?:-[0-9]{1,2})?)"
)
_MAX_WORDS: Final = 64


class Kind(StrEnum):
    """What is done to the containers of a service."""

    NONE = "none"
    SIGNAL = "signal"
    EXEC = "exec"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class Reload:
    """``signal`` with its ``SIG``; ``argv`` for ``docker exec``, as the image's user."""

    kind: Kind = Kind.NONE
    signal: str = ""
    argv: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"signal:{self.signal}" if self.kind is Kind.SIGNAL else self.kind.value


def read_reloads(
    model: Model, extensions: Mapping[str, Any], placeholders: Placeholders
) -> tuple[dict[str, Reload], list[Problem]]:
    """The settings of the services that have one, and what is wrong with the others.

    ``model`` is the flattened one, whose JSON has no extensions of services: they come by service in ``extensions``, from
    :func:`extensions_in`.
    """
    found: dict[str, Reload] = {}
    problems: list[Problem] = []
    for name, service in (model.get("services") or {}).items():
        label = (service.get("labels") or {}).get(LABEL)
        extension = extensions.get(name)
        place, raw = f"services.{name}.labels", label
        if label is None and extension is not None:
            if not isinstance(extension, dict) or set(extension) - {"reload"}:
                problems.append(Problem(f"services.{name}.{EXTENSION}", "holds reload and nothing else", "bad_reload"))
                continue
            place, raw = f"services.{name}.{EXTENSION}", extension.get("reload")
        if raw is None:
            continue
        if placeholders.in_text(json.dumps(raw)):
            problems.append(Problem(place, "a reload setting cannot hold a secret", "secret_in_reload"))
        elif (reload := parse_reload(raw)) is None:
            problems.append(Problem(place, f"reload is {RULE}", "bad_reload"))
        else:
            found[name] = reload
    return found, problems


def parse_reload(raw: object) -> Reload | None:
    """One setting as the flattened model has it (dollars doubled); ``None`` where it is none."""
    if isinstance(raw, dict):
        return _command(raw["exec"]) if set(raw) == {"exec"} else None
    if not isinstance(raw, str):
        return None
    text = raw.strip()
    if text in {Kind.NONE, Kind.RESTART}:
        return Reload(Kind(text))
    word, _, rest = text.partition(":")
    if word == Kind.EXEC:
        return _listed(rest)
    named = _SIGNAL.fullmatch(rest.strip().upper()) if word == Kind.SIGNAL else None
    return Reload(Kind.SIGNAL, signal=f"SIG{named[1]}") if named else None


def extensions_in(output: bytes) -> dict[str, Any]:
    """``x-overseer`` by service, of the YAML that ``docker compose config`` printed; :class:`InvalidInput` where it is none."""
    try:
        model = yaml.load(output, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, ValueError, RecursionError):
        raise InvalidInput("docker compose config did not print a model in YAML") from None
    services = model.get("services") if isinstance(model, dict) else None
    described = services.items() if isinstance(services, dict) else ()
    return {str(name): one[EXTENSION] for name, one in described if isinstance(one, dict) and EXTENSION in one}


def _listed(text: str) -> Reload | None:
    try:
        return _command(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _command(words: object) -> Reload | None:
    if not isinstance(words, list) or not 1 <= len(words) <= _MAX_WORDS or not all(isinstance(one, str) for one in words):
        return None
    argv = tuple(plain(one) for one in words)
    # A first word with a dash would be read by `docker exec` as an option of its own.
    return Reload(Kind.EXEC, argv=argv) if argv[0] and not argv[0].startswith("-") and "\0" not in "".join(argv) else None
