"""Scopes and their one published precedence.

A scope is the triple (app, environment, node), each part optional; nothing set is *global*. For a deployment of
app A in environment E on node N the candidates for a name are the secrets whose set parts all match, and the
most specific one wins. Specificity orders app over node over environment: what was set for the application is
meant for it, and a node's own credential does not shadow it by accident::

    app+node+environment > app+node > app+environment > app > node+environment > node > environment > global
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar
from uuid import UUID

Part = TypeVar("Part", str, UUID)


@dataclass(frozen=True, slots=True)
class Scope(Generic[Part]):
    """A scope by names (``Scope[str]``) or by ids (``Scope[UUID]``)."""

    app: Part | None = None
    environment: Part | None = None
    node: Part | None = None

    @property
    def rank(self) -> int:
        """0 (global) to 7; a higher rank shadows a lower one. The bits are app=4, node=2, environment=1."""
        return 4 * (self.app is not None) + 2 * (self.node is not None) + (self.environment is not None)

    @property
    def is_global(self) -> bool:
        return self.rank == 0

    def covers(self, place: Scope[Part]) -> bool:
        """True where a secret at this scope is a candidate for a consumer at ``place``."""
        return (
            self.app in (None, place.app)
            and self.environment in (None, place.environment)
            and self.node in (None, place.node)
        )

    def __str__(self) -> str:
        parts = [
            f"{label}={part}"
            for label, part in (("app", self.app), ("env", self.environment), ("node", self.node))
            if part is not None
        ]
        return " ".join(parts) or "global"


GLOBAL_NAMES: Final[Scope[str]] = Scope()
GLOBAL_IDS: Final[Scope[UUID]] = Scope()
PRECEDENCE: Final = (
    "app+node+environment",
    "app+node",
    "app+environment",
    "app",
    "node+environment",
    "node",
    "environment",
    "global",
)
