"""Parts of a service as a Compose file writes them, read without Compose: short and long forms, lists and mappings."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any, Final

from overseer.compose import dotenv
from overseer.compose.grammar import scan
from overseer.compose.mounts import OWN_DIRECTORIES
from overseer.server.services.plan_files import mapping, texts_in

RECREATE, DIRECTORY, SINGLE_FILE = "recreate", "directory", "single_file"
"""How a new value of a reference reaches a container."""

_MAPPINGS: Final = ("annotations", "environment", "extra_hosts", "labels", "sysctls")
_NOT_COMPARED: Final = frozenset({"build", "depends_on", "profiles", "pull_policy", "scale"})
#: What ``docker stack deploy`` says that it ignores (docker/cli, cli/compose/types: UnsupportedProperties, DeprecatedProperties).
_NOT_ON_SWARM: Final = frozenset({
    "cgroup_parent", "container_name", "devices", "domainname", "expose", "external_links", "ipc", "links", "mac_address",
    "network_mode", "pid", "privileged", "restart", "security_opt", "userns_mode",
})  # fmt: skip
#: What Swarm keeps of the service, and not of its tasks.
_OF_SERVICE: Final = frozenset({"labels", "mode", "replicas", "rollback_config", "update_config"})


def compared(body: dict[str, Any]) -> dict[str, Any]:
    """What Compose compares of a service before it recreates its containers."""
    kept = {key: value for key, value in body.items() if key not in _NOT_COMPARED and not key.startswith("x-")}
    kept |= {key: mapping(kept[key]) for key in _MAPPINGS if key in kept}
    deploy = kept.get("deploy")
    if isinstance(deploy, dict):
        kept["deploy"] = {key: value for key, value in deploy.items() if key != "replicas"}
    return kept


def of_task(body: dict[str, Any]) -> dict[str, Any]:
    """What of :func:`compared` tasks of a Swarm are made of: where it changes, Swarm replaces them."""
    kept = {key: value for key, value in compared(body).items() if key not in _NOT_ON_SWARM}
    if isinstance(kept.get("deploy"), dict):
        kept["deploy"] = {key: value for key, value in kept["deploy"].items() if key not in _OF_SERVICE}
    return kept


def rolling(bodies: list[dict[str, Any]]) -> str:
    """How Swarm replaces tasks by the services' ``update_config``, in words; the later file wins."""
    found: dict[str, Any] = {}
    for body in bodies:
        deploy = body.get("deploy")
        config = deploy.get("update_config") if isinstance(deploy, dict) else None
        found |= config if isinstance(config, dict) else {}
    count, order = str(found.get("parallelism", 1)), str(found.get("order", "stop-first"))
    many = "all at once" if count == "0" else f"{count} at a time" if count.isdigit() else "as its update_config says"
    first = {"start-first": "each new one starts before the old one stops", "stop-first": "each old one stops first"}
    return many + (f", {first[order]}" if order in first else "")


def written(body: dict[str, Any]) -> dict[str, Any]:
    """What of a service can hold a reference in its text."""
    return {key: value for key, value in body.items() if key not in {"secrets", "volumes", "configs"}}


def replicas(body: dict[str, Any]) -> Any:
    """``deploy.replicas``."""
    deploy = body.get("deploy")
    return deploy.get("replicas") if isinstance(deploy, dict) else None


def lines(text: str) -> Any:
    """The assignments of a file of variables; the text itself where it is none. Comments and blanks do not count."""
    return [[one.key, one.text, one.quote == "'"] for one in entries(text)] or text


def entries(text: str) -> list[dotenv.Entry]:
    """The assignments of a file of variables; none of a broken one, which was refused before."""
    try:
        return dotenv.entries(text)
    except dotenv.DotenvFault:
        return []


def references_in(value: Any) -> list[str]:
    """Each reference in the texts of a structure, as written."""
    return list(dict.fromkeys(str(token.reference) for text in texts_in(value) for token in scan(text).tokens))


def names_in(bodies: list[dict[str, Any]], key: str) -> Iterator[str]:
    """The items of a list, or the keys of a mapping."""
    for body in bodies:
        node = body.get(key)
        yield from (one for one in (node if isinstance(node, list | dict) else []) if isinstance(one, str))


def grants(bodies: list[dict[str, Any]], key: str, default: str) -> Iterator[tuple[str, str]]:
    """The sources and the absolute targets of a service's ``secrets`` or ``configs``."""
    for body in bodies:
        for item in body.get(key) or []:
            source = item.get("source") if isinstance(item, dict) else item
            if isinstance(source, str):
                target = (item.get("target") if isinstance(item, dict) else None) or source
                yield source, posixpath.normpath(posixpath.join(default, str(target)))


def sources(bodies: list[dict[str, Any]], key: str) -> Iterator[str]:
    """The top-level names behind :func:`grants`."""
    yield from (source for source, _ in grants(bodies, key, "/"))


def volumes(bodies: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Sources and targets; an anonymous volume has an empty source."""
    for body in bodies:
        for item in body.get("volumes") or []:
            if isinstance(item, dict):
                source = str(item.get("source") or "")
                if item.get("type") == "bind" and not source.startswith((".", "/", "~")):
                    source = f"./{source}"
                yield source, posixpath.normpath(str(item.get("target") or "/"))
            elif isinstance(item, str):
                source, _, rest = item.partition(":")
                yield (source, posixpath.normpath(rest.partition(":")[0])) if rest else ("", posixpath.normpath(source))


def way_of_mount(target: str, taken: list[str]) -> str:
    """As ``overseer.compose.mounts`` decides it; ``taken`` are the service's other mounts."""
    base = next((one for one in OWN_DIRECTORIES if target.startswith(one + "/")), "")
    whole = bool(base) and not any(one == base or one.startswith(base + "/") for one in taken)
    return DIRECTORY if whole else SINGLE_FILE
