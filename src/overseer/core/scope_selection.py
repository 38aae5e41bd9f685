"""Which of several secrets of one name a consumer gets: the most specific scope that covers its place.

Pure: who may see the winner is asked afterwards, of the winner. A winner that is refused never falls through to a
less specific secret: a consumer would silently run with another value than the one that was set for it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar
from uuid import UUID

from overseer.core.scopes import Scope


class Scoped(Protocol):
    """Anything with a name at a scope."""

    @property
    def name(self) -> str: ...

    @property
    def scope(self) -> Scope[UUID]: ...


Candidate = TypeVar("Candidate", bound=Scoped)


def by_precedence(candidates: Iterable[Candidate], place: Scope[UUID]) -> list[Candidate]:
    """The candidates whose scope covers ``place``, the winner first. Of one name no two can have the same rank there."""
    return sorted((one for one in candidates if one.scope.covers(place)), key=lambda one: -one.scope.rank)


def select_winner(candidates: Iterable[Candidate], place: Scope[UUID]) -> Candidate | None:
    """The winner among candidates of *one* name; None where no scope covers ``place``."""
    ordered = by_precedence(candidates, place)
    return ordered[0] if ordered else None


def select_winners(candidates: Iterable[Candidate], place: Scope[UUID]) -> dict[str, Candidate]:
    """The winner of each name."""
    winners: dict[str, Candidate] = {}
    for one in by_precedence(candidates, place):
        winners.setdefault(one.name, one)
    return winners


def covering_scopes(place: Scope[UUID]) -> list[Scope[UUID]]:
    """Every scope at which a secret would be a candidate for ``place``: 1 (global) to 8 of them."""
    apps, environments, nodes = ({None, part} for part in (place.app, place.environment, place.node))
    return [Scope(app, environment, node) for app in apps for environment in environments for node in nodes]
