"""Where a service's secret files lie on the node and how they are mounted.

Guarantees: every service has a directory of its own; the long syntax without ``create_host_path`` is used, so that a missing
source stops a container instead of giving it an empty directory; names from the model never leave the root.
"""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote

from overseer.compose.emit import dollars
from overseer.compose.grammar import Reference
from overseer.compose.model import Model, plain
from overseer.core.errors import Problem

#: Directories that belong to nobody but us, so that they can be mounted whole and change without a restart.
OWN_DIRECTORIES: Final = ("/run/secrets", "/var/run/secrets")
DEFAULT_MODE: Final = 0o444


@dataclass(frozen=True, slots=True)
class SecretFile:
    """One file of one service. It lies at ``root/directory/name`` on the node and at ``target`` in the container.

    ``name`` may hold ``/`` (below a directory that is mounted whole). ``mount`` is ``directory`` (a new value is seen without a
    restart) or ``single_file`` (the container must be restarted). ``form`` is ``external``, ``file``, ``environment`` or
    ``config``. The content is ``reference``'s value byte for byte, or ``template`` with its placeholders replaced.
    """

    service: str
    directory: str
    name: str
    target: str
    form: str
    mount: str = "single_file"
    reference: Reference | None = None
    template: str = field(default="", repr=False)
    uid: str | None = None
    gid: str | None = None
    mode: int = DEFAULT_MODE


def mount_files(
    service: str, entry: Model, files: Sequence[SecretFile], root: str, own: Sequence[str]
) -> tuple[tuple[SecretFile, ...], list[Problem]]:
    """Give each file its place below ``root`` and the service's ``entry`` its mounts (changed in place).

    Below a directory of ``own`` where nothing else of the service is mounted the directory is mounted whole.
    """
    taken = list(_targets(entry))
    targets: set[str] = set()
    placed: list[SecretFile] = []
    mounts: dict[str, Model] = {}
    problems: list[Problem] = []
    for file in sorted(files, key=lambda one: one.target):
        if file.target in targets or file.target in taken:
            problems.append(Problem(f"services.{service}: {file.target}", "two things are mounted at this path", "target_taken"))
        targets.add(file.target)
        base = next((one for one in own if file.target.startswith(one + "/")), "")
        whole = bool(base) and not any(one == base or one.startswith(base + "/") for one in taken)
        parent = base if whole else posixpath.dirname(file.target)
        directory = f"{_segment(service)}/{_segment(parent)}"
        name = file.target[len(parent.rstrip("/")) + 1 :]
        placed.append(replace(file, directory=directory, name=name, mount="directory" if whole else "single_file"))
        target = parent if whole else file.target
        source = f"{root}/{directory}" if whole else f"{root}/{directory}/{name}"
        mounts[target] = {
            "type": "bind",
            "source": dollars(source),
            "target": dollars(target),
            "read_only": True,
            "bind": {"create_host_path": False},
        }
    for file in placed:
        if any(other.target.startswith(file.target + "/") for other in placed):
            rule = "a file is mounted where another one needs a directory"
            problems.append(Problem(f"services.{service}: {file.target}", rule, "target_taken"))
    if mounts:
        entry["volumes"] = [*(entry.get("volumes") or []), *mounts.values()]
    return tuple(placed), problems


def _segment(text: str) -> str:
    """One name of a directory for any text, readable, without ``/`` and never hidden."""
    name = quote(text.strip("/"), safe="") or "%2F"
    name = "%2E" + name[1:] if name.startswith(".") else name
    return name if len(name) <= 200 else f"{name[:150]}%{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def _targets(entry: Model) -> Iterator[str]:
    """Where the service's other mounts are."""
    for volume in entry.get("volumes") or []:
        yield posixpath.normpath(plain(volume.get("target") or "/"))
    for one in entry.get("tmpfs") or []:
        yield posixpath.normpath(plain(one).partition(":")[0])
    for grant in entry.get("secrets") or []:
        yield posixpath.normpath(posixpath.join("/run/secrets", plain(grant.get("target") or grant.get("source", ""))))
    for grant in entry.get("configs") or []:
        yield posixpath.normpath(posixpath.join("/", plain(grant.get("target") or grant.get("source", ""))))
