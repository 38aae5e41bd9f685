"""In which order the services of a flattened model are changed, and which of them cannot be changed alone. Pure."""

from __future__ import annotations

from overseer.compose.model import Model, plain

_SHARED = ("network_mode", "ipc", "pid")


def in_order(model: Model) -> list[str]:
    """Services, each after those that it depends on; by name where that leaves a choice. A cycle ends where it is met."""
    services = model.get("services") or {}
    order: dict[str, None] = {}
    visiting: set[str] = set()

    def visit(name: str) -> None:
        if name in order or name in visiting or name not in services:
            return
        visiting.add(name)
        for needed in sorted(services[name].get("depends_on") or {}):
            visit(needed)
        order[name] = None

    for name in sorted(services):
        visit(name)
    return list(order)


def shares_namespace(service: Model) -> bool:
    """True where the service lives in another's namespaces: Compose then writes that container's id into its digest."""
    return any(plain(service.get(key) or "").startswith(("service:", "container:")) for key in _SHARED)


def needed_whole(model: Model) -> set[str]:
    """Services that others must be made anew or restarted with: ``up --no-deps`` would break those."""
    found: set[str] = set()
    for service in (model.get("services") or {}).values():
        for key in _SHARED:
            kind, _, name = plain(service.get(key) or "").partition(":")
            if kind == "service":
                found.add(name)
        found |= {name for name, how in (service.get("depends_on") or {}).items() if (how or {}).get("restart")}
        found |= {plain(one).partition(":")[0] for one in service.get("volumes_from") or []}
    return found
