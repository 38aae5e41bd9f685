"""The OpenAPI 3.1 document, made from the same declarations that requests are checked against.

Each operation says which permission it asks for (``x-overseer-permission``), or why it asks for none (``x-overseer-open``).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final
from uuid import UUID

import msgspec

from overseer import __version__
from overseer.core.errors import error_classes
from overseer.core.identifiers import NAME_RULE
from overseer.server.api.error_responses import PROBLEM_TYPE
from overseer.server.api.route import BODY_METHODS, Access, AnyIdentity, Open, Route
from overseer.wire.problems import ProblemDetails

_REF: Final = "#/components/schemas/{name}"
_ALWAYS: Final = (421, 422, 429, 500, 503)


def openapi_document(routes: Sequence[Route]) -> dict[str, Any]:
    """The document for ``routes``, as plain data ready for JSON."""
    types = _types(routes)
    schemas, components = msgspec.json.schema_components([*types.values()], ref_template=_REF)
    schema_of = dict(zip(types, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Overseer",
            "version": __version__,
            "summary": "Secrets for applications deployed with Docker Compose",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": _problem_responses(schema_of),
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": "A token such as ovs_…, sent in each request"}
            },
        },
        "security": [{"token": []}],
    }


def access_text(permission: Access) -> str:
    """What a route asks for, in words for people."""
    if isinstance(permission, Open):
        return f"open: {permission.reason}"
    if isinstance(permission, AnyIdentity):
        return f"any live token: {permission.reason}"
    return permission.value


def _types(routes: Sequence[Route]) -> dict[str, Any]:
    found = {"problem": ProblemDetails}
    for route in routes:
        for part, type_ in (("body", route.body), ("returns", route.returns)):
            if type_ is not None:
                found[f"{route.name}.{part}"] = type_
    return found


def _operation(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": route.name, "summary": route.summary, "tags": [_tag(route.path)]}
    if isinstance(route.permission, Open):
        operation |= {"security": [], "x-overseer-open": route.permission.reason}
    elif isinstance(route.permission, AnyIdentity):
        operation["x-overseer-any-identity"] = route.permission.reason
    else:
        operation["x-overseer-permission"] = route.permission.value
    if parameters := [*_path_parameters(route), *_query_parameters(route), *_header_parameters(route)]:
        operation["parameters"] = parameters
    if route.body is not None:
        operation["requestBody"] = {
            "required": not _all_optional(route.body),
            "content": {"application/json": {"schema": schema_of[f"{route.name}.body"]}},
            "description": f"At most {route.body_limit:,} bytes",
        }
    nothing = {"204": {"description": "No Content"}} if route.may_be_empty else {}
    operation["responses"] = {str(route.status): _success(route, schema_of)} | nothing | {
        str(status): {"$ref": f"#/components/responses/{_response_name(status)}"} for status in _problem_statuses(route)
    }
    return operation


def _success(route: Route, schema_of: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(route.status).phrase}
    headers: dict[str, Any] = {"X-Request-Id": {"schema": {"type": "string"}, "description": "Also in the audit log"}}
    if route.location is not None:
        headers["Location"] = {"schema": {"type": "string"}}
    if route.tagged and route.returns is not None:
        headers["ETag"] = {"schema": {"type": "string"}, "description": "Send it back as If-Match"}
    headers |= {name: {"schema": {"type": "string"}, "description": text} for name, text in route.notes.items()}
    answer["headers"] = headers
    if route.returns is not None:
        media = "text/event-stream" if route.streams else route.media_type.partition(";")[0]
        answer["content"] = {media: {"schema": schema_of[f"{route.name}.returns"]}}
    return answer


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    def schema(type_: type) -> dict[str, Any]:
        if type_ is UUID:
            return {"type": "string", "format": "uuid"}
        return {"type": "string", "maxLength": 128, "pattern": "^[A-Za-z0-9_][A-Za-z0-9_.-]*$", "description": NAME_RULE}

    return [{"name": n, "in": "path", "required": True, "schema": schema(t)} for n, t in route.parameters.items()]


def _query_parameters(route: Route) -> list[dict[str, Any]]:
    if route.query is None:
        return []
    _, components = msgspec.json.schema_components([route.query], ref_template=_REF)
    properties = components[route.query.__name__]["properties"]
    return [{"name": name, "in": "query", "required": False, "schema": schema} for name, schema in properties.items()]


def _header_parameters(route: Route) -> list[dict[str, Any]]:
    found = []
    if route.method in ("POST", "PUT") and not isinstance(route.permission, Open):
        found.append(("Idempotency-Key", "The same key with the same request does it once"))
    if route.tagged and route.method != "GET" and route.status != 201:
        found.append(("If-Match", 'An ETag, "v3" for a version, or *'))
    if route.streams:
        found.append(("Last-Event-ID", "Go on after this event of the stream"))
    return [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}, "description": text}
        for name, text in found
    ]


def _problem_statuses(route: Route) -> list[int]:
    statuses = set(_ALWAYS)
    if not isinstance(route.permission, Open):
        statuses |= {401, 403}
    elif route.body is not None:
        statuses |= {401, 403, 404, 409}
    if route.parameters or route.query is not None:  # a filter may name what is not there
        statuses.add(404)
    if route.body is not None:
        statuses |= {413, 415}
    if route.method in BODY_METHODS | {"DELETE"}:
        statuses |= {403, 404, 409}
    if route.tagged and route.method != "GET":
        statuses.add(412)
    return sorted(statuses)


def _problem_responses(schema_of: dict[str, Any]) -> dict[str, Any]:
    codes: dict[int, list[str]] = {}
    for cls in error_classes():
        codes.setdefault(cls.status, []).append(cls.code)
    return {
        _response_name(status): {
            "description": f"{HTTPStatus(status).phrase}: {', '.join(words)}",
            "content": {PROBLEM_TYPE: {"schema": schema_of["problem"]}},
            **({"headers": {"Retry-After": {"schema": {"type": "integer"}}}} if status in (429, 503) else {}),
        }
        for status, words in sorted(codes.items())
    }


def _response_name(status: int) -> str:
    return re.sub(r"[^A-Za-z]", "", HTTPStatus(status).phrase.title())


def _tag(path: str) -> str:
    return path.removeprefix("/api").split("/")[1]


def _all_optional(type_: Any) -> bool:
    return not any(field.required for field in msgspec.structs.fields(type_))
