"""Why a decision is what it is: for each binding, what it lacks for a permission over a resource.

A test compares it with :func:`overseer.core.access.decide`: something is allowed exactly where a binding lacks nothing.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from overseer.core.access import Binding, Resource
from overseer.core.permissions import PERMISSION_BITS, Permission


class Lack(StrEnum):
    """What keeps a binding from granting something. In alphabetical order."""

    APP = "app"
    DORMANT = "dormant"
    ENVIRONMENT = "environment"
    EXPIRED = "expired"
    NAME = "name"
    NODE = "node"
    PERMISSION = "permission"


#: Selects something else; the others say that it selects this and gives something else, or not now.
ELSEWHERE = frozenset({Lack.APP, Lack.ENVIRONMENT, Lack.NAME, Lack.NODE})


def lacks(
    binding: Binding, permission: Permission, resource: Resource, now: datetime, *, dormant: bool = False
) -> tuple[Lack, ...]:
    """All that ``binding`` lacks; nothing where it grants ``permission`` over ``resource`` at ``now``.

    ``dormant``: it is for an emergency and could be activated, which is why it counts as expired.
    """
    scope = resource.scope
    expired = binding.expires_at is not None and binding.expires_at <= now
    found = {
        Lack.PERMISSION: not binding.permissions >> PERMISSION_BITS[permission] & 1,
        Lack.APP: not binding.app.accepts(scope.app),
        Lack.ENVIRONMENT: not binding.environment.accepts(scope.environment),
        Lack.NODE: not binding.node.accepts(scope.node),
        Lack.NAME: not binding.pattern.accepts(resource.name),
        Lack.DORMANT: expired and dormant,
        Lack.EXPIRED: expired and not dormant,
    }
    return tuple(lack for lack, there in found.items() if there)
