"""A route that does not say what it needs cannot be written."""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

import pytest

from overseer.core.permissions import Permission
from overseer.server.api.call import Call
from overseer.server.api.catalogue import ROUTES as EVERY_ROUTE
from overseer.server.api.endpoint import Edge
from overseer.server.api.route import route
from tests.unit.server.api.small_api import ROUTES, Note, Seen, application

READ: dict[str, Any] = {"permission": Permission.SECRET_LIST, "summary": "x"}


async def without_body(call: Call[None, None]) -> None: ...
async def with_id(call: Call[None, None], note_id: UUID) -> None: ...
async def with_number(call: Call[None, None], note_id: int) -> None: ...
async def with_note(call: Call[Note, None]) -> Seen:
    return Seen(id="", text="")


def test_a_permission_is_mandatory() -> None:
    with pytest.raises(TypeError, match="permission"):
        route("GET", "/x", summary="x")(without_body)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="a permission, or a reason"):
        route("GET", "/x", permission=None, summary="x")(without_body)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("method", "path", "handler", "options", "rule"),
    [
        ("GET", "/x", with_note, {"returns": Seen}, "first parameter must be"),
        ("POST", "/x", without_body, {"body": Note}, "first parameter must be"),
        ("GET", "/x", with_note, {"body": Note, "returns": Seen}, "has no body"),
        ("POST", "/x", with_note, {"body": Note}, "returns something exactly when"),
        ("GET", "/x/{other}", with_id, {}, "not those of"),
        ("GET", "/x", with_id, {}, "not those of"),
        ("GET", "/x/{note_id}", with_number, {}, "UUID or a name"),
        ("TRACE", "/x", without_body, {}, "not a method"),
    ],
)
def test_a_declaration_fits_its_function(method: str, path: str, handler: Any, options: dict[str, Any], rule: str) -> None:
    with pytest.raises(TypeError, match=rule):
        route(method, path, **READ, **options)(handler)


def test_two_routes_of_one_method_and_path_are_refused() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        application(Edge(services=None, sealed=lambda: False), routes=[*ROUTES, ROUTES[0]])  # type: ignore[arg-type]


def test_what_an_answer_names_as_its_location_can_be_fetched() -> None:
    fetched = {re.sub(r"{[a-z_]+}", "{}", route.path) for route in EVERY_ROUTE if route.method == "GET"}
    named = {route.path: re.sub(r"{[a-z_]+}", "{}", route.location) for route in EVERY_ROUTE if route.location is not None}
    assert "/api/secrets" in named
    assert {path: place for path, place in named.items() if place not in fetched} == {}
