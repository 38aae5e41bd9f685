"""The declaration of a page: a method, a path and a function, and what is asked of whoever comes.

Guarantees at import: a page without a permission (or a stated reason why it is open) cannot be written, and its function's
parameters are the path's. As with routes of the API, ``permission`` documents what the service methods behind the page ask of
the gate; the page itself decides nothing, it only leaves out what its visitor could not use anyway.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, Final
from uuid import UUID

from overseer.server.api.route import SMALL_BODY, Access
from overseer.server.web.visit import Visit

_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")


@dataclass(frozen=True, slots=True)
class View:
    """A template and what it is filled with. ``fragment``: a part for htmx, without the frame of a whole page."""

    template: str
    content: dict[str, Any] = field(default_factory=dict, repr=False)
    status: int = 200
    fragment: bool = False
    headers: tuple[tuple[bytes, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class Redirect:
    """Go to a path of this site (303, so that a reload repeats nothing), with headers such as cookies beside it.

    Another site only where the operator's configuration names it: an identity provider's page.
    """

    path: str
    headers: tuple[tuple[bytes, bytes], ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Download:
    """A file for the browser to save; its name is plain ASCII without quotes."""

    name: str
    media_type: str
    content: bytes = field(repr=False)


Answer = View | Redirect | Download
Handler = Callable[..., Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Page:
    """One method of one path. ``body_limit`` is in bytes. ``enrolling``: also for sessions that can only set up a second factor;
    from every other page they are led there."""

    method: str
    path: str
    permission: Access
    handler: Handler
    parameters: dict[str, type]
    body_limit: int = SMALL_BODY
    enrolling: bool = False

    @property
    def name(self) -> str:
        return self.handler.__name__


def page(
    method: str, path: str, *, permission: Access, body_limit: int = SMALL_BODY, enrolling: bool = False
) -> Callable[[Handler], Page]:
    """Declare a page. Raises TypeError where the declaration does not fit the function."""

    def declare(handler: Handler) -> Page:
        if method not in ("GET", "POST"):
            raise TypeError(f"{handler.__name__}: a form of HTML knows GET and POST")
        hints = typing.get_type_hints(handler)
        names = list(inspect.signature(handler).parameters)
        if not names or hints[names[0]] is not Visit:
            raise TypeError(f"{handler.__name__}: the first parameter is the Visit")
        parameters = {name: hints[name] for name in names[1:]}
        if list(parameters) != _PARAMETER.findall(path) or not set(parameters.values()) <= {UUID, str}:
            raise TypeError(f"{handler.__name__}: its parameters are those of {path}, UUID or str")
        return Page(method, path, permission, handler, parameters, body_limit, enrolling)

    return declare


def pages_of(modules: Sequence[ModuleType]) -> tuple[Page, ...]:
    """Every page of the modules: a page that is written is served."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Page))
