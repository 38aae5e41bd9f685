"""From a payload to everything that ``up`` needs, without touching what runs.

The bundle with placeholders lies on tmpfs only while the real ``docker compose config`` reads it; the values are filled into that
one flattened model in memory. Whatever is wrong with a bundle or a value is found here, before anything changes.

Guarantees: Compose sees the bundle's ``.env`` and the deployment's variables, never the agent's environment; what the author's
model reaches of the node is judged by ``host_paths`` before anything of ours is added; relative paths of the model lead to files
of the bundle and nowhere else; what Compose says is told only as far as the bundle says it (``config_messages``).
"""

from __future__ import annotations

import posixpath
import re
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from overseer.agent.config_messages import told
from overseer.agent.engine import Engine
from overseer.agent.host_paths import HostPaths
from overseer.agent.injection.files import SecretFile
from overseer.agent.injection.redaction import Redactor
from overseer.agent.project_files import ProjectFiles
from overseer.agent.release import values_of
from overseer.compose.bundle import Bundle
from overseer.compose.delivery import deliver
from overseer.compose.grammar import Reference
from overseer.compose.injection import Injection, plan_injection
from overseer.compose.injection import SecretFile as PlannedFile
from overseer.compose.model import Model, parse_model, plain
from overseer.compose.placeholders import PlaceholderBundle, Placeholders, to_placeholders
from overseer.compose.reload import EXTENSION, Reload, extensions_in, read_reloads
from overseer.core.errors import InvalidInput, NodeProblem, Problem, ReferencesRefused
from overseer.core.secret_value import SecretValue
from overseer.wire.agent import ReleasePayload

_CONFIG_SECONDS: Final = 120.0
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Names that would change what the Docker and Compose programs do, instead of what the file says.
_STEERING: Final = re.compile(
    r"DOCKER_(?:HOST|CONFIG|CONTEXT|TLS.*|CERT_PATH|API_VERSION|BUILDKIT|CLI_.*|CONTENT_TRUST.*|DEFAULT_PLATFORM|AUTH_CONFIG)|"
    r"(?:COMPOSE|BUILDKIT|BUILDX|LD|XDG|OTEL)_.*|GIT_(?:SSH|CONFIG|EXEC|ASKPASS|PROXY).*|SSH_A.*|SSL_CERT_.*|GO(?:DEBUG|TRACEBACK)|"
    r"PATH|HOME|(?:ALL|FTP|HTTP|HTTPS|NO)_PROXY",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Prepared:
    """``text`` goes to ``up`` on standard input. Nothing here shows in a repr but counts."""

    text: SecretValue
    injection: Injection = field(repr=False)
    placeholders: Placeholders = field(repr=False)
    values: Mapping[Reference, SecretValue] = field(repr=False)
    files: Sequence[tuple[PlannedFile, SecretValue]] = field(repr=False)
    shipped: Mapping[str, bytes] = field(repr=False)
    reloads: Mapping[str, Reload] = field(default_factory=dict)
    warnings: str = ""

    def directories(self) -> dict[str, dict[str, SecretFile]]:
        """What each directory of files will hold, by its path below the project's services."""
        found: dict[str, dict[str, SecretFile]] = {}
        for planned, held in self.files:
            found.setdefault(planned.directory, {})[planned.name] = SecretFile(
                held,
                planned.mode,
                None if planned.uid is None else int(planned.uid),
                None if planned.gid is None else int(planned.gid),
            )
        return found


@dataclass(frozen=True, slots=True)
class Preparation:
    """How to prepare one deployment on this node; ``reshape`` makes another kind of model of the planned one."""

    engine: Engine
    project: str
    files: ProjectFiles
    secrets_root: str
    protected: Sequence[Path]
    reshape: Callable[[Injection], Injection] = lambda injection: injection

    def prepare(self, payload: ReleasePayload, redactor: Redactor) -> Prepared:
        """Raises :class:`ReferencesRefused` with every problem that has a place, :class:`NodeProblem` for what Compose said."""
        originals = {one.path: one.content for one in payload.files}
        bundle = Bundle(originals, tuple(payload.compose_files), secrets_root=self.secrets_root)
        words = to_placeholders(bundle, allow_persisting=payload.allow_persisting)
        variables = _checked_variables(payload.variables)
        staging = self.files.staging / secrets.token_hex(12)
        try:
            _write_tree(staging, words.files)
            config = _Config(staging, bundle.project_directory(), words, payload.profiles, variables)
            output, warnings = self._config(config, redactor)
            extensions: Mapping[str, Any] = {}
            if any(EXTENSION.encode() in content for content in words.files.values()):
                # Compose leaves the extensions of services out of its JSON.
                printed, _ = self._config(config, redactor, form="yaml")
                extensions = extensions_in(printed)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
        written = parse_model(output)
        paths = HostPaths(str(staging), self.protected, self.secrets_root)
        refused = paths.problems(written)
        if refused:
            raise ReferencesRefused("the bundle is refused; nothing was changed", problems=refused)
        paths.close(written)
        model, shipped = _localised(written, str(staging), str(self.files.bundle), originals)
        injection = plan_injection(
            model,
            words.placeholders,
            root=str(self.files.services),
            secrets_root=self.secrets_root,
            allow_persisting=payload.allow_persisting,
        )
        injection = self.reshape(injection)
        reloads, wrong = read_reloads(injection.model, extensions, words.placeholders)
        if wrong:
            raise ReferencesRefused("the bundle is refused; nothing was changed", problems=[*injection.problems, *wrong])
        values = values_of(payload)
        delivery = deliver(injection, words.placeholders, values)
        return Prepared(
            delivery.compose_input, injection, words.placeholders, values, delivery.files, shipped, reloads, warnings
        )

    def _config(self, config: _Config, redactor: Redactor, form: str = "json") -> tuple[bytes, str]:
        """The model that Compose makes of the bundle, and what it warned of. What it says is told only as far as it can be."""
        command = [*self.engine.compose, "--project-directory", str(config.staging / config.base), "--project-name", self.project]
        for path in config.words.compose_files:
            command += ["--file", str(config.staging / path)]
        for profile in config.profiles:
            command += ["--profile", profile]
        outcome = self.engine.run(
            [*command, "config", "--format", form],
            seconds=_CONFIG_SECONDS,
            variables=config.variables,
            directory=config.staging,
        )
        text = redactor.clean(outcome.stderr.decode("utf-8", "replace"))
        said = redactor.clean(told(text, config.known(), str(config.staging)))
        if outcome.code != 0:
            reason = f"docker compose config refused the project (exit code {outcome.code})"
            raise NodeProblem(f"{reason}: {said}" if said else reason)
        return outcome.stdout, said


@dataclass(frozen=True, slots=True)
class _Config:
    """What ``docker compose config`` is asked about. ``base``: the project's directory in ``staging``."""

    staging: Path
    base: str
    words: PlaceholderBundle
    profiles: Sequence[str]
    variables: Mapping[str, str]

    def known(self) -> list[bytes]:
        """What whoever made the bundle and the deployment wrote."""
        names = [*self.words.files, *self.variables, *self.profiles]
        return [*self.words.files.values(), *(name.encode() for name in names)]


def _checked_variables(variables: Mapping[str, str]) -> Mapping[str, str]:
    rule = "may not be set by a deployment"
    problems = [
        Problem(f"variables.{name}" if _VARIABLE.fullmatch(name) else "variables", rule, "bad_variable")
        for name, text in variables.items()
        if _VARIABLE.fullmatch(name) is None or _STEERING.fullmatch(name) or "\0" in text
    ]
    if problems:
        raise InvalidInput("a variable of the deployment is refused", problems=problems)
    return variables


def _write_tree(root: Path, files: Mapping[str, bytes]) -> None:
    """A bundle's paths are checked by ``Bundle``; the tree is new, so there are no links in it."""
    root.mkdir(mode=0o700)
    for path, data in files.items():
        target = root / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with target.open("xb") as stream:
            stream.write(data)


def _localised(model: Model, staging: str, final: str, originals: Mapping[str, bytes]) -> tuple[Model, dict[str, bytes]]:
    """Paths of the staging directory become those where the project's shipped files stay; and which files these are."""
    shipped: dict[str, bytes] = {}
    problems: list[Problem] = []

    def visit(node: Any, place: str) -> Any:
        if isinstance(node, dict):
            return {key: visit(value, f"{place}.{key}" if place else key) for key, value in node.items()}
        if isinstance(node, list):
            return [visit(value, f"{place}[{number}]") for number, value in enumerate(node)]
        if not isinstance(node, str) or not (node == staging or node.startswith(staging + "/")):
            return node
        path = posixpath.normpath(plain(node[len(staging) :]).lstrip("/") or ".")
        found = {name: data for name, data in originals.items() if path in {".", name} or name.startswith(path + "/")}
        if not found and not place.endswith((".dockerfile", ".create_host_path")):
            rule = f"./{path} is not in the bundle: add it, or use a named volume or an absolute path"
            problems.append(Problem(place, rule, "not_in_bundle"))
        shipped.update(found)
        return final + node[len(staging) :]

    for service in (model.get("services") or {}).values():
        service.pop("develop", None)  # watching is for a developer's machine
    localised = visit(model, "")
    if problems:
        raise ReferencesRefused("the bundle lacks files that it mounts; nothing was changed", problems=problems)
    return localised, shipped
