"""Which secrets a service gets as files, where they are mounted, and what of a model stays on the node's disk.

Works on the flattened model with placeholders, before values are filled in. Each service gets its own directory below the node's
tmpfs root; what Compose would copy into a container's disk layer (``secrets: environment:``, ``configs: content:`` with a
reference) becomes such a file. Pure: links, mounts and the image's own files are not seen here, the agent checks those it can.
"""

from __future__ import annotations

import copy
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from overseer.compose.bundle import SECRETS_ROOT, below_root
from overseer.compose.grammar import Reference
from overseer.compose.model import Model, plain
from overseer.compose.mounts import DEFAULT_MODE, OWN_DIRECTORIES, SecretFile, mount_files
from overseer.compose.placeholders import Placeholders
from overseer.compose.positions import NEVER, PERSISTING, ROOT, Place, refusal
from overseer.compose.references import DEPLOYMENT_REFUSES
from overseer.core.errors import Problem
from overseer.core.identifiers import NAME_RULE, is_name

__all__ = ["Injection", "Persisting", "SecretFile", "plan_injection"]

#: 2**32 - 1 means "leave it" to chown(2).
_LARGEST_ID: Final = 4294967294
_BAD_BIND = "a bind inside, above or around the secrets root is refused: bind one file right below it, by its plain path"


@dataclass(frozen=True, slots=True)
class Persisting:
    """A value that stays on the node's disk: where in the model, of which service, what kind of place."""

    service: str
    path: str
    kind: str
    reference: Reference


@dataclass(frozen=True)
class Injection:
    """``model`` with our mounts; ``services``: each one's files; ``persists``: what stays on disk. Useless with ``problems``."""

    model: Model
    services: dict[str, tuple[SecretFile, ...]]
    persists: tuple[Persisting, ...]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class _Source:
    form: str
    reference: Reference | None
    template: str


def plan_injection(
    model: Model,
    placeholders: Placeholders,
    *,
    root: str,
    secrets_root: str = SECRETS_ROOT,
    own_directories: Sequence[str] = OWN_DIRECTORIES,
    allow_persisting: bool = False,
) -> Injection:
    """Plan the files of every service of ``model`` (from ``parse_model``) below ``root``, the application's tmpfs directory.

    Problems are returned, all of them; a place is ``file:line:column`` where a placeholder knows one, else a path of the model.
    """
    planner = _Planner(
        copy.deepcopy(model),
        placeholders,
        root=root,
        secrets_root=secrets_root,
        own=own_directories,
        allow_persisting=allow_persisting,
    )
    return planner.run()


class _Planner:
    def __init__(
        self, model: Model, words: Placeholders, *, root: str, secrets_root: str, own: Sequence[str], allow_persisting: bool
    ) -> None:
        self.model, self.words, self.root, self.secrets_root = model, words, root.rstrip("/"), secrets_root
        self.own = [posixpath.normpath(one) for one in own]
        self.refused = frozenset() if allow_persisting else DEPLOYMENT_REFUSES
        self.problems: list[Problem] = []
        self.variables = model.pop(words.variables_key, None) or {}

    def run(self) -> Injection:
        sources = {"secrets": self._sources("secrets"), "configs": self._sources("configs")}
        files: dict[str, tuple[SecretFile, ...]] = {}
        for name, service in (self.model.get("services") or {}).items():
            found = [*self._granted(name, service, "secrets", sources), *self._granted(name, service, "configs", sources)]
            found += self._binds(name, service)
            self._check_build(name, service, sources["secrets"])
            files[name], problems = mount_files(name, service, found, self.root, self.own)
            self.problems += problems
        for section, ours in sources.items():
            remaining = {key: value for key, value in (self.model.get(section) or {}).items() if key not in ours}
            self.model.pop(section, None)
            if remaining:
                self.model[section] = remaining
        self._check_volumes()
        if "models" not in self.model and any("models" in service for service in (self.model.get("services") or {}).values()):
            # Compose 2.40 leaves the top-level models out of its JSON: without them the services could not be started.
            self.problem(
                "models", "this Compose does not print models in its model; deploy that service without Overseer", "lost_models"
            )
        persists = tuple(self._persisting())
        return Injection(self.model, files, persists, tuple(dict.fromkeys(self.problems)))

    def problem(self, place: str, rule: str, code: str) -> None:
        self.problems.append(Problem(place, rule, code))

    # -- what is ours ---------------------------------------------------------------------------------------------------------

    def _sources(self, section: str) -> dict[str, _Source]:
        """The top-level secrets or configs that we deliver, by key."""
        found: dict[str, _Source] = {}
        for key, entry in (self.model.get(section) or {}).items():
            place = f"{section}.{key}"
            if entry.get("external"):
                if section == "secrets":
                    name = plain(entry.get("name") or key)
                    if is_name(name):
                        found[key] = _Source("external", Reference(name), "")
                    else:
                        self.problem(place, f"give the name of the secret with 'name:'; {NAME_RULE}", "bad_name")
            elif "environment" in entry:
                found[key] = _Source("environment", None, self._variable(plain(entry["environment"]), place))
            elif self.words.in_text(str(entry.get("content", ""))):
                found[key] = _Source("config", None, entry["content"])
            elif (relation := below_root(plain(entry.get("file", "")), self.secrets_root)) is not None:
                name = posixpath.basename(plain(entry["file"]))
                if relation == "file" and is_name(name):
                    found[key] = _Source("file", Reference(name), "")
                else:
                    self.problem(place, _BAD_BIND, "secrets_root_bind")
        return found

    def _variable(self, name: str, place: str) -> str:
        state = self.variables.get(name)
        if not isinstance(state, list) or len(state) != 2 or not state[0]:
            self.problem(place, f"variable {name} is not set in the bundle's .env", "variable_unset")
            return ""
        return str(state[1] or "")

    def _granted(self, service: str, entry: Model, section: str, sources: dict[str, dict[str, _Source]]) -> Iterator[SecretFile]:
        """The service's ``secrets:`` or ``configs:`` entries that are ours; they are taken out of the model."""
        kept = []
        for grant in entry.get(section) or []:
            key = plain(grant.get("source", ""))
            source = sources[section].get(key)
            if source is None:
                kept.append(grant)
                continue
            default = f"/run/secrets/{key}" if section == "secrets" else f"/{key}"
            target = plain(grant.get("target") or default)
            target = target if target.startswith("/") else posixpath.join("/run/secrets" if section == "secrets" else "/", target)
            yield self._file(service, source, target, grant)
        entry.pop(section, None)
        if kept:
            entry[section] = kept

    def _file(self, service: str, source: _Source, target: str, asked: Model) -> SecretFile:
        place = f"services.{service}: {target}"
        if ".." in target.split("/") or posixpath.normpath(target) == "/" or "\0" in target:
            self.problem(place, "a target is an absolute path without '..'", "bad_target")
        mode = _mode(asked.get("mode"))
        if mode is None:
            self.problem(place, "mode is a number such as 0440, at most 0777", "bad_mode")
        uid, gid = asked.get("uid"), asked.get("gid")
        for one in (uid, gid):
            if one is not None and not (re.fullmatch(r"[0-9]{1,10}", str(one)) and int(one) <= _LARGEST_ID):
                rule = f"uid and gid are numbers of at most {_LARGEST_ID}: an image's names are not known outside of it"
                self.problem(place, rule, "bad_owner")
        return SecretFile(
            service,
            "",
            "",
            posixpath.normpath(target),
            source.form,
            reference=source.reference,
            template=source.template,
            uid=None if uid is None else str(uid),
            gid=None if gid is None else str(gid),
            mode=DEFAULT_MODE if mode is None else mode,
        )

    def _binds(self, service: str, entry: Model) -> Iterator[SecretFile]:
        """The service's binds right below the secrets root; they are taken out of the model."""
        kept = []
        for volume in entry.get("volumes") or []:
            source = plain(volume.get("source") or "")
            relation = below_root(source, self.secrets_root) if volume.get("type") == "bind" else None
            if relation is None:
                kept.append(volume)
                continue
            name = posixpath.basename(source.rstrip("/"))
            if relation == "bad":
                self.problem(f"services.{service}: {plain(volume.get('target', ''))}", _BAD_BIND, "secrets_root_bind")
            elif not is_name(name):
                self.problem(f"services.{service}: {plain(volume.get('target', ''))}", NAME_RULE, "bad_name")
            else:
                yield self._file(service, _Source("file", Reference(name), ""), plain(volume.get("target", "")), {})
        entry.pop("volumes", None)
        if kept:
            entry["volumes"] = kept

    def _check_build(self, service: str, entry: Model, ours: dict[str, _Source]) -> None:
        build = entry.get("build")
        for grant in (build.get("secrets") or []) if isinstance(build, dict) else []:
            if plain(grant.get("source", "") if isinstance(grant, dict) else grant) in ours:
                rule = "a secret cannot be given to an image's build"
                self.problem(f"services.{service}.build.secrets", rule, "secret_in_build")

    def _check_volumes(self) -> None:
        for name, volume in (self.model.get("volumes") or {}).items():
            device = ((volume or {}).get("driver_opts") or {}).get("device")
            if device and below_root(plain(device), self.secrets_root) is not None:
                self.problem(f"volumes.{name}", _BAD_BIND, "secrets_root_bind")

    # -- what stays on disk ---------------------------------------------------------------------------------------------------

    def _persisting(self) -> Iterator[Persisting]:
        """Judge every word by the place of the model where it ended."""
        stack: list[tuple[Any, Place, str, str]] = [(self.model, ROOT, "", "")]
        while stack:
            node, place, path, service = stack.pop()
            if isinstance(node, dict):
                for key, value in node.items():
                    if self.words.prefix in key:
                        self.problem(path, "a reference cannot stand in a key, only in a value", "reference_in_key")
                    below = f"{path}.{key}" if path else key
                    stack.append((value, place.child(key), below, key if place.service_names else service))
            elif isinstance(node, list):
                stack += [(value, place.item(), f"{path}[{number}]", service) for number, value in enumerate(node)]
            elif isinstance(node, str):
                for slot in self.words.in_text(node):
                    refused = refusal(place.kind, self.refused)
                    if refused is not None:
                        self.problem(slot.place, *refused)
                    if place.kind in PERSISTING or place.kind in NEVER:
                        yield Persisting(service, path, place.kind.value, slot.reference)


def _mode(asked: object) -> int | None:
    """Compose prints modes as octal text; a number is one already."""
    if asked is None:
        return DEFAULT_MODE
    try:
        mode = asked if isinstance(asked, int) else int(str(asked).removeprefix("0o"), 8)
    except ValueError:
        return None
    return mode if 0 <= mode <= 0o777 else None
