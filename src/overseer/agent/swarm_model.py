"""From a flattened Compose model with our files planned to the model of a Swarm stack, before values are filled in.

``docker stack deploy`` reads the older Compose format 3; what differs in what Compose prints is put into its words here. Whatever
else Swarm does not know, that command says itself, before anything changes.

Guarantee: each secret that is mounted is one of the Swarm; what only one node has (files of ours, files of the bundle, an image
that is built there) is refused with its place, for tasks run on any node.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, Final

from overseer.compose.emit import dollars
from overseer.compose.grammar import Reference
from overseer.compose.injection import Injection
from overseer.compose.model import Model
from overseer.compose.swarm import NOT_BUILT, NOT_SHIPPED, ONLY_EXTERNAL
from overseer.core.errors import Problem

#: Read by every Docker command since 19.03; later ones ignore it.
_FORMAT: Final = "3.8"


def stack_model(injection: Injection, name_of: Callable[[Reference], str], services: str, bundle: str) -> Injection:
    """``injection`` for a stack. ``services`` and ``bundle`` are where this node's own files would lie; ``name_of`` names the
    Swarm's secret for a reference."""
    problems = list(injection.problems)
    model: Model = {"version": _FORMAT}
    for key, value in injection.model.items():
        if key not in {"name", "services", "version"}:
            model[key] = value
    secrets = dict(model.get("secrets") or {})
    model["services"] = {}
    for name, entry in (injection.model.get("services") or {}).items():
        problems += _refused(name, entry, bundle)
        service = _service(entry, services)
        for file in injection.services.get(name, ()):
            if file.form != "external" or file.reference is None:
                problems.append(Problem(f"services.{name}: {file.target}", ONLY_EXTERNAL, "not_on_swarm"))
                continue
            key = f"overseer.{file.reference}"
            secrets[key] = {"external": True, "name": dollars(name_of(file.reference))}
            granted = {"source": key, "target": dollars(file.target), "mode": file.mode}
            granted |= {"uid": file.uid or "0", "gid": file.gid or "0"}
            service.setdefault("secrets", []).append(granted)
        model["services"][name] = service
    for section, one in _files(model):
        problems.append(Problem(f"{section}.{one}", NOT_SHIPPED, "not_on_swarm"))
    if secrets:
        model["secrets"] = secrets
    return replace(injection, model=model, problems=tuple(dict.fromkeys(problems)))


def _refused(name: str, entry: Model, bundle: str) -> Iterator[Problem]:
    if "build" in entry:
        yield Problem(f"services.{name}.build", NOT_BUILT, "not_on_swarm")
    for volume in entry.get("volumes") or []:
        source = str(volume.get("source", ""))
        if volume.get("type") == "bind" and (source == bundle or source.startswith(bundle + "/")):
            yield Problem(f"services.{name}: {volume.get('target', '')}", NOT_SHIPPED, "not_on_swarm")


def _files(model: Model) -> Iterator[tuple[str, str]]:
    for section in ("secrets", "configs"):
        for key, entry in (model.get(section) or {}).items():
            if not (entry or {}).get("external"):
                yield section, key


def _service(entry: Model, services: str) -> Model:
    """One service in the words of format 3; what is empty is left out, for Compose prints more than that format allows."""
    service = {key: value for key, value in entry.items() if value is not None and key not in {"depends_on", "volumes"}}
    volumes = [_volume(one) for one in entry.get("volumes") or [] if not str(one.get("source", "")).startswith(services + "/")]
    if volumes:
        service["volumes"] = volumes
    if "ports" in service:
        service["ports"] = [_port(one) for one in service["ports"]]
    for kind in ("limits", "reservations"):
        resources = ((service.get("deploy") or {}).get("resources") or {}).get(kind)
        if resources and "cpus" in resources:
            resources["cpus"] = str(resources["cpus"])
    return service


def _volume(volume: Model) -> Model:
    """Swarm makes no directory of a node; it has no word for that."""
    if volume.get("type") != "bind":
        return volume
    bind = {key: value for key, value in (volume.get("bind") or {}).items() if key != "create_host_path"}
    return {key: value for key, value in volume.items() if key != "bind"} | ({"bind": bind} if bind else {})


def _port(port: Any) -> Any:
    published = port.get("published") if isinstance(port, dict) else None
    if isinstance(published, str) and published.isdigit():
        return {**port, "published": int(published)}
    return port
