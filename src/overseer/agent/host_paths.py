"""What of the node the author's model reaches, and what of that is refused.

Looks at the model that Compose printed of the bundle, before anything of ours is added to it, so that nothing but the bundle's
own directory is exempt. Guarantees: no mount, volume, build or file of the model leads into a protected directory (the agent's
own, the memory root with the files of every application), from above it or through a link; no service shares the mounts,
processes or memory of a container that is not of its project; no program runs on the node outside of the engine; what the bundle
ships is mounted read-only.

It does not confine what a container may do otherwise: whoever may deploy can mount ``/proc`` or the engine's socket, and is root
on the node. A link that a container of the author's makes after this check is not seen.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from overseer.compose.bundle import below_root
from overseer.compose.model import Model, plain
from overseer.core.errors import Problem

_REACHES: Final = "this path reaches the agent's or another application's files, directly, from above or through a link: refused"
_FOREIGN: Final = "a container outside of the project is refused: its files would be this service's; name a service"
_PROVIDER: Final = "a provider is a program that would run on the node itself, as the agent: refused"
_BUILD: Final = "a build reads files of the bundle only, by relative paths, or a remote repository"
_VOLUME: Final = (
    "options of a local volume are those of a plain bind (type: none, o: bind, an absolute device) or of tmpfs, nfs and cifs"
)
_SHARED: Final = ("network_mode", "pid", "ipc", "uts", "cgroup")
_REMOTE: Final = re.compile(r"(?:https?|git|ssh)://[^/]|git@[\w.-]+:", re.ASCII)
_REMOTE_CONTEXT: Final = re.compile(rf"(?:{_REMOTE.pattern}|docker-image://|service:|target:)", re.ASCII)
_LOCAL_CACHE: Final = re.compile(r"type\s*=\s*local", re.IGNORECASE)
_NETWORK_TYPES: Final = frozenset({"nfs", "nfs4", "cifs"})
_FLAGS: Final = frozenset({"ro", "rw", "exec", "noexec", "suid", "nosuid", "dev", "nodev", "noatime", "nodiratime", "relatime"})
_TMPFS_OPTIONS: Final = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks"})
#: Flags of mount(2) that make it another operation than a new mount: with them the type means nothing.
_OTHER_MOUNTS: Final = re.compile(r"r?(?:bind|shared|slave|private|unbindable)|remount|move|loop(?:=.*)?", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class HostPaths:
    """``shipped``: where the bundle lies for Compose, a path that its author cannot know. ``protected``: nothing leads there."""

    shipped: str
    protected: Sequence[Path]
    secrets_root: str
    resolve: Callable[[str], str] = os.path.realpath

    def problems(self, model: Model) -> list[Problem]:
        """Everything that is refused, with its place in the model."""
        found: list[Problem] = []
        for name, service in (model.get("services") or {}).items():
            found += self._service(f"services.{name}", service)
        for section in ("secrets", "configs"):
            for key, one in (model.get(section) or {}).items():
                if "file" in (one or {}) and self._reaches(plain(one["file"])):
                    found.append(Problem(f"{section}.{key}", _REACHES, "secrets_root_bind"))
        for key, one in (model.get("volumes") or {}).items():
            found += self._volume(f"volumes.{key}", one or {})
        return found

    def close(self, model: Model) -> None:
        """Make every mount of the bundle's files read-only: a container must not change what other deployments read."""
        for service in (model.get("services") or {}).values():
            for volume in service.get("volumes") or []:
                if volume.get("type") == "bind" and self._is_shipped(plain(volume.get("source", ""))):
                    volume["read_only"] = True

    def _service(self, place: str, service: Model) -> Iterator[Problem]:
        for volume in service.get("volumes") or []:
            if volume.get("type") == "bind" and self._reaches(plain(volume.get("source", ""))):
                yield Problem(f"{place}: {plain(volume.get('target', ''))}", _REACHES, "secrets_root_bind")
        shared = [(key, service.get(key)) for key in _SHARED]
        shared += [("volumes_from", one) for one in service.get("volumes_from") or []]
        for key, value in shared:
            if plain(value or "").strip().lower().startswith("container:"):
                yield Problem(f"{place}.{key}", _FOREIGN, "foreign_container")
        if service.get("provider") is not None:
            yield Problem(f"{place}.provider", _PROVIDER, "provider")
        build = service.get("build")
        if build is not None:
            yield from self._build(f"{place}.build", build if isinstance(build, dict) else {"context": build})

    def _build(self, place: str, build: Model) -> Iterator[Problem]:
        context = plain(build.get("context") or "")
        if not self._is_shipped(context) and not _REMOTE.match(context):
            yield Problem(f"{place}.context", _BUILD, "build_path")
        dockerfile = plain(build.get("dockerfile") or "")
        if ".." in dockerfile.split("/") or (dockerfile.startswith("/") and not self._is_shipped(dockerfile)):
            yield Problem(f"{place}.dockerfile", _BUILD, "build_path")
        more = build.get("additional_contexts") or {}
        for key, value in more.items() if isinstance(more, dict) else (str(one).partition("=")[::2] for one in more):
            if not self._is_shipped(plain(value)) and not _REMOTE_CONTEXT.match(plain(value)):
                yield Problem(f"{place}.additional_contexts.{key}", _BUILD, "build_path")
        for key in ("cache_from", "cache_to"):
            if any(_LOCAL_CACHE.search(plain(one).replace('"', "")) for one in build.get(key) or []):
                yield Problem(f"{place}.{key}", _BUILD, "build_path")
        if build.get("ssh"):
            yield Problem(f"{place}.ssh", "the node's keys and its SSH agent are not for builds", "build_path")

    def _volume(self, place: str, volume: Model) -> Iterator[Problem]:
        options = {key: plain(value) for key, value in (volume.get("driver_opts") or {}).items()}
        if volume.get("driver") not in {None, "", "local"}:
            paths = [value for value in options.values() if value.startswith("/")]
        elif options and not _is_plain(options):
            yield Problem(place, _VOLUME, "volume_options")
            return
        else:
            paths = [options["device"]] if _flags(options) & {"bind", "rbind"} else []
        if any(self._reaches(path, mounted=False) for path in paths):
            yield Problem(place, _REACHES, "secrets_root_bind")

    def _is_shipped(self, path: str) -> bool:
        return (path == self.shipped or path.startswith(self.shipped + "/")) and ".." not in path.split("/")

    def _reaches(self, path: str, *, mounted: bool = True) -> bool:
        """True for a path into a protected directory, above one, or that a link leads there."""
        if mounted and self._is_shipped(path):
            return False
        if mounted and below_root(path, self.secrets_root) == "file":
            return False  # a reference to a secret: the planning of files takes it out of the model, or refuses it
        real = self.resolve(posixpath.join("/", path))
        roots = {self.resolve(str(one)) for one in (*self.protected, Path(self.secrets_root))}
        return any(real == root or real.startswith(root + "/") or root.startswith(real.rstrip("/") + "/") for root in roots)


def _flags(options: dict[str, Any]) -> set[str]:
    return {one.strip() for one in options.get("o", "").split(",") if one.strip()}


def _is_plain(options: dict[str, str]) -> bool:
    """True for options of the local driver that mount what they seem to mount."""
    kind, flags = options.get("type", ""), _flags(options)
    if not options.keys() <= {"type", "o", "device"}:
        return options.keys() <= {"size"}
    if kind in {"none", "bind", ""}:
        rest = flags - {"bind", "rbind"}
        return flags != rest and rest <= _FLAGS and options.get("device", "").startswith("/")
    if kind == "tmpfs":
        return all(one in _FLAGS or one.partition("=")[0] in _TMPFS_OPTIONS for one in flags)
    return kind in _NETWORK_TYPES and not any(_OTHER_MOUNTS.fullmatch(one) for one in flags)
