"""Every route of the HTTP API with its permission and its messages."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from overseer.server.api.catalogue import ROUTES
from overseer.server.api.documentation import documentation_routes
from overseer.server.api.openapi import access_text
from overseer.server.api.route import Route
from scripts.reference_pages.markdown import Page, code, page, prose, table

_GENERAL: Final = """The server describes itself: `GET /api/openapi.json` is the OpenAPI 3.1 document of the version that runs,
`GET /api/docs` the same as a page.

- Send a token as `Authorization: Bearer ovs_…` and bodies as `application/json`. An unknown field is refused by name.
- Every answer has an `X-Request-Id`: yours, where you sent one of 1 to 64 characters `A-Z a-z 0-9 . _ -`. The audit log has it
  too.
- Errors are problem documents: see [errors](errors.md).
- `Idempotency-Key` (POST and PUT, 1 to 128 visible ASCII characters): the same key with the same request changes once, for 24
  hours. Revealing and resolving ignore it.
- A secret's answers carry an `ETag`. Send it back as `If-Match` to change only what you saw; `"v3"` means "while version 3 is the
  newest", `*` means "while it exists".
- Lists are `{"items": […], "next_cursor": …}`; send `next_cursor` as `cursor` for the next part."""
_NAMES: Final = {str: "text", int: "integer", bool: "true or false", datetime: "time (RFC 3339)", type(None): "null"}


def build() -> Page:
    """The page; a route without a summary is a complaint."""
    routes = sorted([*ROUTES, *documentation_routes(ROUTES)], key=lambda one: (one.path, one.method))
    complaints = [f"endpoint {one.method} {one.path}: no summary" for one in routes if not one.summary.strip()]
    structs = _messages(routes)
    parts = [
        _GENERAL,
        "## Routes",
        table(
            ("Route", "What it does", "Query", "Body", "Answer", "Permission"),
            [
                (
                    code(f"{one.method} {one.path}"),
                    prose(one.summary),
                    " ".join(code(name) for name in _query_names(one)),
                    _type(one.body) if one.body is not None else "",
                    f"{one.status} {_type(one.returns) if one.returns is not None else ''}".strip(),
                    _access(one),
                )
                for one in routes
            ],
        ),
        "## Messages",
        "A field without a default must be sent.",
    ]
    for struct in sorted(structs, key=lambda one: (one.__name__, one.__module__)):
        parts += _message(struct)
    return page("HTTP API", parts, complaints)


def _access(route: Route) -> str:
    text = access_text(route.permission)
    return code(text) if ":" in text and " " not in text else prose(text)


def _query_names(route: Route) -> list[str]:
    return [] if route.query is None else [field.encode_name for field in msgspec.structs.fields(route.query)]


def _message(struct: type[msgspec.Struct]) -> list[str]:
    rows = [
        (code(field.encode_name), _type(field.type), "" if field.required else _default(field))
        for field in msgspec.structs.fields(struct)
    ]
    parts = [f"### {struct.__name__}"]
    if "__doc__" in vars(struct) and struct.__doc__:
        parts.append(prose(struct.__doc__))
    return [*parts, table(("Field", "Type", "Default"), rows)] if rows else parts


def _default(field: msgspec.structs.FieldInfo) -> str:
    value = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    return "not sent" if value is msgspec.UNSET else code(msgspec.json.encode(value).decode())


def _messages(routes: Iterable[Route]) -> set[type[msgspec.Struct]]:
    """Every message that a route takes or gives, and those inside them."""
    found: set[type[msgspec.Struct]] = set()
    todo: list[Any] = [part for one in routes for part in (one.body, one.returns) if part is not None]
    while todo:
        part = todo.pop()
        todo += [inner for inner in typing.get_args(part) if inner is not ...]
        if isinstance(part, type) and issubclass(part, msgspec.Struct) and part not in found:
            found.add(part)
            todo += [field.type for field in msgspec.structs.fields(part)]
    return {struct for struct in found if not getattr(struct, "__parameters__", ())}


def _type(part: Any) -> str:
    """A type in words, with a link to the message that it is."""
    origin, inner = typing.get_origin(part), typing.get_args(part)
    if isinstance(part, type) and issubclass(part, msgspec.Struct) and not inner:
        return f"[{part.__name__}](#{part.__name__.lower()})"
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_type(one) for one in inner if one is not msgspec.UnsetType)
    if origin is list:
        return f"list of {_type(inner[0])}"
    if origin is dict or part is dict:
        return "object"
    if inner:
        return f"page of {_type(inner[0])}"
    return "anything" if part is Any else _NAMES.get(part) or str(getattr(part, "__name__", part))
