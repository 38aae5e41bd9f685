"""The index finds what Starlette's router finds, for every path of the API and for paths that are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from starlette.routing import Route as PathRoute
from starlette.routing import Router

from overseer.server.api.catalogue import ROUTES
from overseer.server.api.documentation import documentation_routes
from overseer.server.api.path_index import PathIndex

TEMPLATES = sorted({route.path for route in (*ROUTES, *documentation_routes(ROUTES))})
SECRET = "/api/secrets/0190f3c2-0000-7000-8000-000000000000"
ODD = [
    "/", "", "/api", "/api/", "//api/secrets", "/api//secrets", "/api/secrets/", f"{SECRET}/", f"{SECRET}/value/",
    f"{SECRET}/Value", "/api/secrets//value", "/api/secrets/a b/value", "/api/secrets/a/b/value", "/api/secrets/é/value",
    f"x{SECRET}", "api/secrets",
    "/api/secrets/{secret_id}/value", "/api/secrets/batch", "/api/secrets/batch/value", "/api/secrets/\x00/value",
]  # fmt: skip

Found = dict[str, Any]


def application(found: Found, name: str) -> Callable[..., Any]:
    class Application:  # an instance, so that Starlette takes it for an ASGI application and not for a function
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            found["template"], found["parameters"] = name, dict(scope.get("path_params", {}))

    return Application()


def paths() -> list[str]:
    filled = [template.replace("{", "").replace("}", "") for template in TEMPLATES]
    return [*filled, *(f"{path}/" for path in filled), *(f"{path}/x" for path in filled), *(path[:-1] for path in filled), *ODD]


@pytest.mark.anyio
async def test_as_the_router() -> None:
    by_index: Found = {}
    by_router: Found = {}
    index = PathIndex({path: application(by_index, path) for path in TEMPLATES}, application(by_index, "none"))
    routes = [PathRoute(path, application(by_router, path)) for path in TEMPLATES]
    router = Router(routes, redirect_slashes=False, default=application(by_router, "none"))
    templates = set()
    for path in paths():
        for app in (index, router):
            await app({"type": "http", "method": "POST", "path": path, "root_path": ""}, None, None)  # type: ignore[arg-type]
        assert by_index == by_router, path
        templates.add(by_index["template"])
    assert templates == {*TEMPLATES, "none"}


@pytest.mark.anyio
async def test_a_line_break_at_the_end_is_no_end() -> None:
    found: Found = {}  # Starlette's pattern ends in $, which a line break may follow
    index = PathIndex({path: application(found, path) for path in TEMPLATES}, application(found, "none"))
    await index({"type": "http", "method": "POST", "path": f"{SECRET}/value\n"}, None, None)  # type: ignore[arg-type]
    assert found["template"] == "none"


def test_two_paths_that_differ_in_a_parameter_s_name_are_one_too_many() -> None:
    with pytest.raises(ValueError, match="differs only"):
        PathIndex({"/a/{b}": application({}, ""), "/a/{c}": application({}, "")}, application({}, ""))


def test_a_parameter_is_a_whole_segment() -> None:
    with pytest.raises(ValueError, match="whole segment"):
        PathIndex({"/a/x{b}": application({}, "")}, application({}, ""))
