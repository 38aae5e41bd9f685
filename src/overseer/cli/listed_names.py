"""Things that the API knows by an id and people by a name."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from overseer.core.errors import Unavailable


class Named(Protocol):
    """Anything with a name."""

    @property
    def name(self) -> str: ...


View = TypeVar("View", bound=Named)


def by_name(views: Iterable[View], name: str, noun: str) -> View:
    """The one of that name. Raises :class:`Unavailable`."""
    found = next((view for view in views if view.name == name), None)
    if found is None:
        raise Unavailable(f"there is no {noun} {name}, or you may not list it")
    return found
