"""The links of the frame: what a visitor could use, in the order of a day's work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from overseer.core.permissions import Permission
from overseer.server.web.visit import Visit, emergencies


@dataclass(frozen=True, slots=True)
class Link:
    """One entry; ``permission`` None is for everybody who has signed in, and ``only`` narrows it further."""

    label: str
    path: str
    permission: Permission | None = None
    current: bool = False
    only: Callable[[Visit], bool] | None = None


_GROUPS: Final[tuple[tuple[str, tuple[Link, ...]], ...]] = (
    (
        "",
        (
            Link("Overview", "/"),
            Link("Secrets", "/secrets", Permission.SECRET_LIST),
            Link("Rotations", "/rotations", Permission.SECRET_LIST),
            Link("Imports", "/imports", Permission.SECRET_LIST),
            Link("Backends", "/backends", Permission.BACKEND_LIST),
        ),
    ),
    (
        "Access",
        (
            Link("Approvals", "/approvals"),
            Link("Emergencies", "/emergencies", only=lambda visit: bool(emergencies(visit))),
            Link("People", "/users", Permission.PRINCIPAL_LIST),
            Link("Groups", "/groups", Permission.PRINCIPAL_LIST),
            Link("Roles", "/roles", Permission.BINDING_LIST),
            Link("Bindings", "/bindings", Permission.BINDING_LIST),
            Link("Tokens", "/tokens", Permission.TOKEN_LIST),
        ),
    ),
    (
        "Records",
        (Link("Audit log", "/audit", Permission.AUDIT_READ), Link("Backups", "/backups", Permission.BACKUP_LIST)),
    ),
)


def navigation(visit: Visit) -> list[tuple[str, list[Link]]]:
    """The groups with at least one link for this visitor; the link of the page that is shown is marked."""
    if visit.me is None or visit.me.enrolling:
        return []
    shown = []
    for group, links in _GROUPS:
        usable = [
            Link(link.label, link.path, link.permission, current=_is_at(visit.path, link.path))
            for link in links
            if (link.permission is None or visit.may(link.permission)) and (link.only is None or link.only(visit))
        ]
        if usable:
            shown.append((group, usable))
    return shown


def _is_at(path: str, link: str) -> bool:
    return path == link or (link != "/" and path.startswith(link + "/"))
