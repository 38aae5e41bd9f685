"""Path and query parameters: checked against their types before anything else happens, never echoed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import UUID

from overseer.core.errors import InvalidInput, Problem
from overseer.core.identifiers import check_name
from overseer.server.api.route import Route
from overseer.server.api.validation import convert_query

MAX_QUERY_BYTES: Final = 8 * 1024
MAX_QUERY_FIELDS: Final = 32
_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID_RULE: Final = "is a UUID like 0190f3c2-0000-7000-8000-000000000000"


def path_arguments(parameters: Mapping[str, type], found: Mapping[str, Any]) -> dict[str, Any]:
    """The path's parameters as the route's function takes them. :class:`InvalidInput` names the parameter and its rule."""
    return {name: _path_argument(name, type_, str(found[name])) for name, type_ in parameters.items()}


def query_argument(route: Route, query_string: bytes) -> Any:
    """The route's typed query, None where it declares none. An unknown or a repeated parameter is refused."""
    if not query_string and route.query is None:
        return None
    if len(query_string) > MAX_QUERY_BYTES:
        raise _refused("query", f"is longer than {MAX_QUERY_BYTES:,} bytes", "too_long")
    try:
        pairs = parse_qsl(
            query_string.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=bool(query_string),
            errors="strict",
            max_num_fields=MAX_QUERY_FIELDS,
        )
    except ValueError:  # UnicodeError is one
        raise _refused("query", "is not a list of name=value in UTF-8", "invalid") from None
    parameters = dict(pairs)
    if len(parameters) != len(pairs):
        raise _refused("query", "has the same parameter twice", "doubled_parameter")
    if route.query is None:
        if parameters:
            raise _refused("query", "has a parameter that is not known; there are none here", "unknown_field")
        return None
    return convert_query(parameters, route.query)


def _path_argument(name: str, type_: type, text: str) -> Any:
    if type_ is not UUID:
        return check_name(text, f"path.{name}")
    # The canonical form only: uuid.UUID also takes braces, urn: and hyphens anywhere.
    if _UUID.fullmatch(text) is None:
        raise _refused(f"path.{name}", _UUID_RULE, "bad_id")
    return UUID(text)


def _refused(place: str, rule: str, code: str) -> InvalidInput:
    return InvalidInput(f"{place}: {rule}", problems=[Problem(place, rule, code)])
