"""What a bundle says about each of its services: all that the containers of it depend on, told apart by what a change of it does.

``definition`` holds what Compose compares before it recreates a container (``ServiceHash`` leaves out build, pull policy, scale,
dependencies, profiles and extensions, and so does this). Equal definitions mean an equal model; unequal ones may still come to
the same model where Compose merges files or fills in variables, and ``unsure`` says so. Env_files hold plaintext: definitions
are compared and never leave the process.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from overseer.compose.bundle import Bundle, below_root, resolve
from overseer.compose.references import BundleScan
from overseer.compose.reload import EXTENSION, LABEL, parse_reload
from overseer.server.services import plan_parts as parts
from overseer.server.services.plan_files import (
    Definition,
    StackFiles,
    canonical,
    mapping,
    read_stack,
    variables_in,
)

_NAMESPACES: Final = ("ipc", "network_mode", "pid")


@dataclass(frozen=True, slots=True)
class ServiceFacts:
    """See the module's text. ``ways``: by reference as written, how its value arrives; ``files``: digests of mounted files.

    ``task`` is the part of the definition that tasks of a Swarm are made of; ``rolling`` says how Swarm replaces them.
    """

    definition: str = field(repr=False)
    task: str = field(repr=False)
    count: str
    build: str = field(repr=False)
    files: dict[str, str]
    ways: dict[str, frozenset[str]]
    unsure: tuple[str, ...]
    reload: str
    shares: frozenset[str]
    follows: frozenset[str]
    rolling: str


def service_facts(
    bundle: Bundle, bundle_scan: BundleScan, profiles: list[str], variables: Mapping[str, str]
) -> dict[str, ServiceFacts]:
    """The facts of every service that the profiles let run."""
    stack = read_stack(bundle, bundle_scan)
    values = _Values(stack, variables)
    found = {}
    for name, definitions in stack.services.items():
        if _active(definitions, profiles):
            found[name] = _Service(stack, values, name).facts()
    return found


class _Values:
    """What Compose's variables stand for: the bundle's ``.env`` files and the variables given with it."""

    def __init__(self, stack: StackFiles, variables: Mapping[str, str]) -> None:
        self._values: dict[str, list[str]] = {name: [text] for name, text in variables.items()}
        bases = {one.base for group in stack.services.values() for one in group} | {""}
        for path in sorted({resolve(base, ".env") for base in bases} & set(stack.bundle.files)):
            for entry in parts.entries(stack.content(path)):
                self._values.setdefault(entry.key, []).append(entry.text)

    def used_by(self, text: str) -> dict[str, list[str]]:
        """The variables of a text and of their own values, with what each stands for."""
        found: dict[str, list[str]] = {}
        todo = variables_in(text)
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = self._values.get(name, [])
                todo |= variables_in(" ".join(found[name]))
        return found

    def of(self, name: str) -> list[str]:
        return self._values.get(name, [])


class _Service:
    """One service, read from all of its definitions."""

    def __init__(self, stack: StackFiles, values: _Values, name: str) -> None:
        self.stack, self.values, self.name = stack, values, name
        self.definitions = list(_with_extended(stack, name))
        self.bodies = [one.body if isinstance(one.body, dict) else {} for one in self.definitions]
        self.ways: dict[str, set[str]] = {}
        self.files: dict[str, str] = {}

    def facts(self) -> ServiceFacts:
        text_files = [
            (path, text)
            for one, body in zip(self.definitions, self.bodies, strict=True)
            for key in ("env_file", "label_file")
            for path, text in self.stack.text_files(one.base, body.get(key))
        ]
        used = self._used_entries()
        self.stack.spend([self.bodies, text_files, used])
        compared = {
            "bodies": [parts.compared(body) for body in self.bodies],
            "files": sorted({path: parts.lines(text) for path, text in text_files}.items()),
            "used": used,
        }
        text = canonical(compared)
        variables = self.values.used_by(text)
        self._mounts()
        written = [parts.written(parts.compared(body)) for body in self.bodies]
        networks = [used[section] for section in ("networks", "volumes")]
        lines = [[one.text for one in parts.entries(text) if one.quote != "'"] for _, text in text_files]
        for reference in parts.references_in([written, networks, lines, variables]):
            self.ways.setdefault(reference, set()).add(parts.RECREATE)
        return ServiceFacts(
            definition=canonical([compared, variables]),
            task=canonical([{**compared, "bodies": [parts.of_task(body) for body in self.bodies]}, variables]),
            count=canonical([[body.get("scale"), parts.replicas(body)] for body in self.bodies]),
            build=self._build(),
            files=self.files,
            ways={reference: frozenset(ways) for reference, ways in self.ways.items()},
            unsure=tuple(self._unsure(bool(variables))),
            reload=self._reload(),
            shares=frozenset(self._shared()),
            follows=frozenset(self._followed()),
            rolling=parts.rolling(self.bodies),
        )

    def _unsure(self, variables: bool) -> Iterator[str]:
        if len(self.stack.services[self.name]) > 1:
            yield "several files define it"
        if any("extends" in body for body in self.bodies):
            yield "it extends another service"
        if any(one.included for one in self.definitions):
            yield "an included file defines it"
        if variables:
            yield "it uses Compose's variables"

    def _used_entries(self) -> dict[str, dict[str, list[Any]]]:
        """The top-level networks, volumes, secrets and configs that it uses, as they are defined."""
        wanted = {
            "configs": set(parts.sources(self.bodies, "configs")),
            "secrets": set(parts.sources(self.bodies, "secrets")),
            "networks": set(parts.names_in(self.bodies, "networks")) or {"default"},
            "volumes": {source for source, _ in parts.volumes(self.bodies) if source and not source.startswith((".", "/", "~"))},
        }
        return {
            section: {name: [one.body for one in self.stack.sections[section].get(name, [])] for name in sorted(names)}
            for section, names in wanted.items()
        }

    def _mounts(self) -> None:
        """The references that arrive as files, and the bundle's own files that are mounted."""
        ours: list[tuple[str, str]] = []
        taken: list[str] = []
        for source, target in parts.volumes(self.bodies):
            if source and below_root(source, self.stack.bundle.secrets_root) == "file":
                ours.append((posixpath.basename(source.rstrip("/")), target))
                continue
            taken.append(target)
            if source.startswith("."):
                self._ship(source)
        for section, default in (("secrets", "/run/secrets"), ("configs", "/")):
            for source, target in parts.grants(self.bodies, section, default):
                arriving = list(self._arriving(section, source))
                ours += [(reference, target) for reference in arriving]
                if not arriving:
                    taken.append(target)
        for body in self.bodies:
            tmpfs = body.get("tmpfs")
            taken += [one.partition(":")[0] for one in (tmpfs if isinstance(tmpfs, list) else [tmpfs]) if isinstance(one, str)]
        for reference, target in ours:
            self.ways.setdefault(reference, set()).add(parts.way_of_mount(target, taken))

    def _arriving(self, section: str, name: str) -> Iterator[str]:
        """The references that a top-level secret or config brings as a file."""
        for one in self.stack.sections[section].get(name, []):
            body = one.body if isinstance(one.body, dict) else {}
            external, file = body.get("external"), body.get("file")
            if section == "secrets" and (isinstance(external, dict) or str(external).lower() in {"true", "yes", "on", "y"}):
                named = external.get("name") if isinstance(external, dict) else None
                yield str(named or body.get("name") or name)
            elif section == "secrets" and isinstance(file, str) and below_root(file, self.stack.bundle.secrets_root) == "file":
                yield posixpath.basename(file.rstrip("/"))
            elif isinstance(file, str):
                self._ship(file, one.base)
            variable = body.get("environment")
            texts = [str(body.get("content") or ""), *(self.values.of(variable) if isinstance(variable, str) else [])]
            for text in texts:
                yield from parts.references_in([text, self.values.used_by(text)])

    def _ship(self, path: str, base: str | None = None) -> None:
        bases = {one.base for one in self.definitions} if base is None else {base}
        for place in bases:
            self.files |= self.stack.shipped(place, path)

    def _build(self) -> str:
        builds = [body.get("build") for body in self.bodies if body.get("build") is not None]
        contexts = [one.get("context", ".") if isinstance(one, dict) else one for one in builds]
        files = [
            sorted(self.stack.shipped(one.base, context).items())
            for one in self.definitions
            for context in contexts
            if isinstance(context, str)
        ]
        return canonical([builds, files]) if builds else ""

    def _reload(self) -> str:
        """As the last definition sets it: ``none``, ``restart``, ``signal:SIGHUP`` or ``exec``; the label wins."""
        for key in (LABEL, EXTENSION):
            for body in reversed(self.bodies):
                labels, extension = mapping(body.get("labels")), body.get(EXTENSION)
                raw = labels.get(LABEL) if key == LABEL and isinstance(labels, dict) else None
                if key == EXTENSION and isinstance(extension, dict):
                    raw = extension.get("reload")
                setting = parse_reload(raw)
                if setting is not None:
                    return str(setting)
        return "none"

    def _shared(self) -> Iterator[str]:
        for body in self.bodies:
            for key in _NAMESPACES:
                word, _, other = str(body.get(key) or "").partition(":")
                if word == "service":
                    yield other
            sources = body.get("volumes_from")
            yield from (str(one).partition(":")[0] for one in (sources if isinstance(sources, list) else []))

    def _followed(self) -> Iterator[str]:
        for body in self.bodies:
            needed = body.get("depends_on")
            for name, how in needed.items() if isinstance(needed, dict) else ():
                if isinstance(how, dict) and str(how.get("restart")).lower() in {"true", "yes", "on", "y"}:
                    yield name


def _active(definitions: list[Definition], profiles: list[str]) -> bool:
    wanted = list(parts.names_in([one.body for one in definitions if isinstance(one.body, dict)], "profiles"))
    return not wanted or "*" in profiles or bool(set(wanted) & set(profiles))


def _with_extended(stack: StackFiles, name: str) -> Iterator[Definition]:
    """The definitions of a service, each after those that it extends."""
    seen: set[tuple[str, str]] = set()

    def following(one: Definition) -> Iterator[Definition]:
        target = one.body.get("extends") if isinstance(one.body, dict) else None
        if target is not None:
            path, service = one.path, target
            if isinstance(target, dict):
                service = target.get("service")
                found = stack.bundle.find(one.base, str(target["file"])) if target.get("file") else [one.path]
                path = found[0] if found else ""
            if isinstance(service, str) and (path, service) not in seen:
                seen.add((path, service))
                base = one.base if path == one.path else path.rpartition("/")[0]
                body = (stack.root(path).get("services") or {}).get(service)
                yield from following(Definition(path, base, body, one.included))
        yield one

    for one in stack.services[name]:
        yield from following(one)
