"""The document is valid OpenAPI 3.1 and says of every route what it needs; no route escapes the list of open ones."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator, validate

from overseer.core.permissions import Permission
from overseer.server.api.catalogue import ROUTE_MODULES, ROUTES
from overseer.server.api.documentation import documentation_routes
from overseer.server.api.openapi import openapi_document
from overseer.server.api.route import AnyIdentity, Open

ALL = (*ROUTES, *documentation_routes(ROUTES))

#: Every route that asks for no token. A new one belongs here only with a reason that a reviewer accepts.
OPEN = {
    "GET /api/docs",
    "GET /api/openapi.json",
    "GET /api/seal",
    "GET /health/live",
    "GET /metrics",
    "GET /health/ready",
    "POST /api/agent/confirm",
    "POST /api/agent/enrol",
    "POST /api/agent/token",
    "POST /api/seal/unseal",
    "GET /api/auth/oidc",
    "POST /api/auth/exchange",
    "POST /api/auth/invitation",
    "POST /api/auth/oidc/begin",
    "POST /api/auth/oidc/finish",
    "POST /api/auth/sign-in",
}
WHILE_SEALED = {
    "GET /api/docs",
    "GET /api/openapi.json",
    "GET /api/seal",
    "GET /health/live",
    "GET /metrics",
    "GET /health/ready",
    "POST /api/seal/unseal",
}
MISSION = {
    "POST /api/secrets",
    "GET /api/secrets",
    "GET /api/secrets/{secret_id}",
    "POST /api/secrets/{secret_id}/value",
    "PUT /api/secrets/{secret_id}",
    "DELETE /api/secrets/{secret_id}",
    "POST /api/secrets/{secret_id}/rotate",
}


def label(route: Any) -> str:
    return f"{route.method} {route.path}"


#: What every identity may do to itself and to what it holds.
OWN = {
    "GET /api/me",
    "POST /api/bindings/{binding_id}/activate",
    "POST /api/bindings/{binding_id}/deactivate",
    "GET /api/sessions",
    "POST /api/access/explain",
    "POST /api/approvals",
    "GET /api/approvals",
    "GET /api/approvals/{approval_id}",
    "POST /api/approvals/{approval_id}/withdraw",
    "POST /api/auth/sign-out",
    "POST /api/me/password",
    "POST /api/me/recovery-codes",
    "POST /api/me/totp",
    "POST /api/me/totp/confirm",
    "POST /api/me/totp/remove",
}


def test_every_route_has_a_permission_or_is_on_the_list() -> None:
    assert {label(r) for r in ALL if isinstance(r.permission, Open)} == OPEN
    assert {label(r) for r in ALL if isinstance(r.permission, AnyIdentity)} == OWN
    assert {label(r) for r in ALL if r.while_sealed} == WHILE_SEALED
    others = [r for r in ALL if not isinstance(r.permission, Open | AnyIdentity)]
    assert others
    assert all(isinstance(r.permission, Permission) for r in others)


def test_the_mission_endpoints_are_there() -> None:
    assert {label(r) for r in ROUTES} >= MISSION


def test_every_declared_route_is_served() -> None:
    sources = [inspect.getsource(module) for module in ROUTE_MODULES]
    assert sum(len(re.findall(r"^@route\(", source, re.MULTILINE)) for source in sources) == len(ROUTES)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi_document(ALL)


def test_the_document_is_valid(document: dict[str, Any]) -> None:
    validate(document, cls=OpenAPIV31SpecValidator)


def test_the_document_has_every_route_and_its_permission(document: dict[str, Any]) -> None:
    for route in ALL:
        operation = document["paths"][route.path][route.method.lower()]
        said = [key for key in operation if key.startswith("x-overseer-")]
        assert len(said) == 1, label(route)
        assert (operation.get("security") == []) == isinstance(route.permission, Open)
        assert {str(route.status), "422", "500", "503"} <= set(operation["responses"])
    assert sum(len(methods) for methods in document["paths"].values()) == len(ALL)


def test_operation_ids_are_unique() -> None:
    assert len({route.name for route in ALL}) == len(ALL)


def test_the_page_lists_every_route_and_runs_nothing() -> None:
    from overseer.server.api.documentation import docs_page

    page = docs_page(ALL)
    assert all(route.path in page for route in ALL)
    assert "<script" not in page
    assert "http://" not in page
    assert "https://" not in page
