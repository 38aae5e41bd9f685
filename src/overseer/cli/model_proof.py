"""Proof that a project with references means what it meant before, by the real ``docker compose config``.

The files as they were and the files as they are to be (with words in the place of references) go to a private directory in memory
(tmpfs), are flattened by Compose, and the values are put into the second model in this process. Equal models, or an error that
names where they differ and quotes nothing. A variable that became a file is the one difference that is meant: name, path and
mount have to be exactly those, and nothing else may differ. It needs the Compose program, and no engine.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from overseer.compose.bundle import Bundle
from overseer.compose.emit import dollars
from overseer.compose.file_form import FileForm
from overseer.compose.filling import Filler, fill
from overseer.compose.grammar import Reference
from overseer.compose.model import Model, parse_model
from overseer.compose.placeholders import Placeholders, to_placeholders
from overseer.core.errors import ConfigurationProblem, InvalidInput, Problem
from overseer.core.secret_value import SecretValue

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - tmpfs on every Linux
_SECONDS: Final = 60
_NOTHING: Final = Placeholders("\0none", {})


def prove_unchanged(
    before: Bundle, after: Bundle, secrets: Mapping[str, SecretValue], forms: Sequence[FileForm] = ()
) -> None:
    """Raise :class:`InvalidInput` with every place where the models differ, :class:`ConfigurationProblem` without Compose.

    What became a file (``forms``) has to be there exactly as it is meant, and is taken back before the models are compared.
    """
    from overseer.agent.engine import Engine

    engine = Engine.find()
    words = to_placeholders(after, allow_persisting=True)
    old = fill(_model(engine.compose, engine.environment, before.files, before), Filler(_NOTHING, {}))
    filler = Filler(words.placeholders, {Reference(name): value for name, value in secrets.items()})
    new = fill(_model(engine.compose, engine.environment, words.files, before), filler)
    if filler.problems:
        raise InvalidInput("the project cannot be rendered with references", problems=filler.problems)
    _take_back(new, forms, secrets)
    places = sorted(set(_differences(old, new, "")))
    if places:
        problems = [Problem(place, "would not be as it was", "model_changed") for place in places]
        raise InvalidInput("nothing was changed: the project with references is not the same project", problems=problems)


def _take_back(model: Model, forms: Sequence[FileForm], secrets: Mapping[str, SecretValue]) -> None:
    """Put variables in the place of their files, where path and mount are those that are meant; else the difference stays."""
    services: dict[str, Any] = model.get("services") or {}
    mounts: dict[str, dict[str, str]] = {}
    for form in forms:
        environment = services.get(form.service, {}).get("environment") or {}
        if environment.get(form.key) == form.target and form.variable not in environment:
            del environment[form.key]
            environment[form.variable] = dollars(secrets[form.name].reveal().decode("utf-8"))
            mounts.setdefault(form.service, {})[form.target] = form.source
    for name, wanted in mounts.items():
        volumes = services[name].get("volumes") or []
        kept = [one for one in volumes if not _is_mount(one, wanted)]
        if len(kept) == len(volumes) - len(wanted):
            services[name]["volumes"] = kept
        if not services[name].get("volumes"):
            services[name].pop("volumes", None)


def _is_mount(volume: Any, wanted: Mapping[str, str]) -> bool:
    """One of the files that are meant: bound from its own source, to be read only."""
    if not isinstance(volume, dict) or volume.get("type") != "bind" or volume.get("read_only") is not True:
        return False
    return wanted.get(str(volume.get("target"))) == volume.get("source")


def _model(compose: list[str], environment: Mapping[str, str], files: Mapping[str, bytes], bundle: Bundle) -> Model:
    if not _MEMORY.is_dir():
        raise ConfigurationProblem("the proof needs /dev/shm: plain text is not written to a disk")
    with tempfile.TemporaryDirectory(dir=_MEMORY, prefix="ovs-adopt-") as directory:
        for path, data in files.items():
            target = Path(directory, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        base = str(Path(directory, bundle.project_directory()))
        named = [part for path in bundle.main_files() for part in ("--file", str(Path(directory, path)))]
        command = [*compose, "--project-directory", base, "--project-name", "adopt", *named, "--profile", "*"]
        try:
            done = subprocess.run(
                [*command, "config", "--format", "json"],
                cwd=directory, env=dict(environment), stdin=subprocess.DEVNULL,
                capture_output=True, check=False, timeout=_SECONDS,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise ConfigurationProblem("docker compose config did not end in time") from None
        if done.returncode:  # what it says may quote the files
            raise InvalidInput("Compose refuses the project; 'docker compose config' says why")
        return parse_model(done.stdout.replace(directory.encode(), b"/project"))


def _differences(one: Any, other: Any, place: str) -> list[str]:
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [found for key in keys for found in _differences(one.get(key), other.get(key), f"{place}.{key}".lstrip("."))]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for number, pair in pairs for found in _differences(*pair, f"{place}[{number}]")]
    return [] if type(one) is type(other) and one == other else [place]
