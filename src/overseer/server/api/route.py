"""The typed route: a method, a path and a function, with everything that is checked before the function runs.

Guarantees at import: a route without a permission (or a stated reason why it is open) cannot be written; the function's
parameters are the path's parameters, typed UUID or str; its ``Call`` has the declared body and query. The same declaration
is what the request is checked against and what the OpenAPI document is made from, so the two cannot differ.

It will not decide about access: ``permission`` documents what the one service method behind the route asks of the gate.
"""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import ModuleType, NoneType
from typing import Any, Final, TypeVar
from uuid import UUID

from overseer.core.permissions import Permission
from overseer.server.api.call import Call, Document, EventStream, Reply

KIBIBYTE: Final = 1024
SMALL_BODY: Final = 64 * KIBIBYTE
#: A value of 1 MiB may be six times as long in JSON (\\u00XX); a bundle of 5 MiB needs a third more in base64.
LARGE_BODY: Final = 8 * KIBIBYTE * KIBIBYTE
BODY_METHODS: Final = frozenset({"POST", "PUT", "PATCH"})
METHODS: Final = BODY_METHODS | {"GET", "DELETE"}

_PARAMETER: Final = re.compile(r"\{([a-z_]+)\}")

Answer = TypeVar("Answer")
Handler = Callable[..., Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Open:
    """No credential is asked for, and why. ``while_sealed``: it also answers before the root key is there.

    ``limited``: it does so within the limits on strangers, because some callers may have to show a credential after all.
    """

    reason: str
    while_sealed: bool = False
    limited: bool = False


@dataclass(frozen=True, slots=True)
class AnyIdentity:
    """Any live credential will do, and why no permission is needed."""

    reason: str


Access = Permission | Open | AnyIdentity


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. ``body``, ``query`` and ``returns`` are None where there is none; ``held`` routes wait for an event."""

    method: str
    path: str
    permission: Access
    summary: str
    handler: Handler
    parameters: dict[str, type]
    body: Any = None
    query: Any = None
    returns: Any = None
    status: int = 200
    body_limit: int = SMALL_BODY
    location: str | None = None
    held: bool = False
    tagged: bool = False
    streams: bool = False
    notes: Mapping[str, str] = field(default_factory=dict)
    may_be_empty: bool = False
    media_type: str = "application/json"

    @property
    def name(self) -> str:
        """Unique over all routes: the operation id of the OpenAPI document."""
        return self.handler.__name__

    @property
    def while_sealed(self) -> bool:
        return isinstance(self.permission, Open) and self.permission.while_sealed

    @property
    def limited(self) -> bool:
        """Whether it counts against the limits; health and its kin must answer whatever somebody else tries."""
        return not self.while_sealed or (isinstance(self.permission, Open) and self.permission.limited)

def route(
    method: str,
    path: str,
    *,
    permission: Access,
    summary: str,
    returns: type[Answer] | None = None,
    body: Any = None,
    query: Any = None,
    status: int = 200,
    body_limit: int = SMALL_BODY,
    location: str | None = None,
    held: bool = False,
    tagged: bool = False,
    streams: bool = False,
    notes: Mapping[str, str] | None = None,
    may_be_empty: bool = False,
    media_type: str = "application/json",
) -> Callable[[Callable[..., Awaitable[Answer | Reply[Answer] | Reply[None] | Document | EventStream | None]]], Route]:
    """Declare a route. ``location`` is a path that has a GET, with fields of the answer in braces; ``body_limit`` is in bytes.

    ``held``: the function may wait for long; it ends its wait with NotReady (503) when ``call.ended`` is set.
    ``tagged``: answers carry an ETag and the request may carry If-Match. ``streams``: the function gives an EventStream of
    messages of type ``returns``. ``notes``: further headers of the answer, each with its meaning.

    ``may_be_empty``: a Reply of None is a 204. ``media_type``: of a Document.

    Raises TypeError for a declaration that does not fit the function.
    """

    def declare(handler: Callable[..., Awaitable[Answer | Reply[Answer] | Reply[None] | Document | EventStream | None]]) -> Route:
        if method not in METHODS:
            raise TypeError(f"{handler.__name__}: {method} is not a method of this API")
        if body is not None and method not in BODY_METHODS:
            raise TypeError(f"{handler.__name__}: a {method} has no body")
        if streams and method != "GET":
            raise TypeError(f"{handler.__name__}: events are read with GET")
        if not isinstance(permission, Permission | Open | AnyIdentity):
            raise TypeError(f"{handler.__name__}: a permission, or a reason why none is needed")
        return Route(
            method=method,
            path=path,
            permission=permission,
            summary=summary,
            handler=handler,
            parameters=_parameters(handler, path, body, query, returns),
            body=body,
            query=query,
            returns=returns,
            status=status,
            body_limit=body_limit,
            location=location,
            held=held,
            tagged=tagged,
            streams=streams,
            notes=notes or {},
            may_be_empty=may_be_empty,
            media_type=media_type,
        )

    return declare


def routes_of(module: ModuleType) -> tuple[Route, ...]:
    """Every route of a module, in its order: a route that is written is served."""
    return tuple(value for value in vars(module).values() if isinstance(value, Route))


def _parameters(handler: Handler, path: str, body: Any, query: Any, returns: Any) -> dict[str, type]:
    """The path's parameters with their types, after checking the function's signature against the declaration."""
    hints = typing.get_type_hints(handler)
    names = list(inspect.signature(handler).parameters)
    if (hints["return"] in (NoneType, Reply[None])) != (returns is None):
        raise TypeError(f"{handler.__name__}: returns something exactly when the route declares it")
    generic: Any = Call
    expected = generic[NoneType if body is None else body, NoneType if query is None else query]
    if not names or hints[names[0]] != expected:
        raise TypeError(f"{handler.__name__}: the first parameter must be {expected}")
    found = {name: hints[name] for name in names[1:]}
    if list(found) != _PARAMETER.findall(path):
        raise TypeError(f"{handler.__name__}: its parameters are not those of {path}")
    if not set(found.values()) <= {UUID, str}:
        raise TypeError(f"{handler.__name__}: a path parameter is a UUID or a name (str)")
    return found
