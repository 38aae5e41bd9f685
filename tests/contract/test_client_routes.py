"""The Python client reaches every operation of the API: each public method of each noun is called, and what it sends is compared
with the routes. A route that no method reaches stands in the list below with its reason."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Iterator
from enum import Enum
from functools import cached_property
from pathlib import Path
from types import UnionType
from typing import Any
from uuid import UUID

import msgspec
import pytest

from overseer.client import retries as retries_module
from overseer.client.api import Client
from overseer.client.http import HttpClient
from overseer.core.scopes import Scope
from overseer.core.secret_value import SecretValue
from overseer.server.api.catalogue import ROUTES
from overseer.server.api.documentation import documentation_routes
from overseer.server.api.route import Route

#: Operation ids that no method of the client is for, and why.
EXCEPTIONS = {
    "ask_for_lost": "spoken by agents alone, with the keys of their node (overseer.agent)",
    "confirm_node": "as above",
    "create_agent_token": "as above",
    "enrol_node": "as above",
    "poll_work": "as above",
    "release_deployment": "as above",
    "report_deployment": "as above",
    "report_holdings": "as above",
    "rotate_node_keys": "as above",
    "get_docs": "a page for people",
    "get_liveness": "a probe for whoever keeps processes alive",
    "get_metrics": "a text for Prometheus, which asks by itself",
    "get_openapi": "a description for programs that make clients",
}
ALL = [*ROUTES, *documentation_routes(ROUTES)]


PLAIN: dict[Any, Any] = {
    str: "a-name",
    int: 1,
    float: 0.01,
    bool: True,
    bytes: b"x",
    SecretValue: SecretValue("x"),
    UUID: UUID(int=9),
    Path: Path("x"),
    Scope: Scope(app="a-name"),
}


class Sent(BaseException):
    """Ends a method where it would have asked; no handler of the client takes it for a failure."""


class Recorder:
    """Takes the place of both ways to ask."""

    def __init__(self) -> None:
        self.asked: set[tuple[str, str]] = set()

    def request(self, method: str, path: str, *_: Any, **__: Any) -> Any:
        self.asked.add((method, path))
        raise Sent

    def lines(self, path: str, **__: Any) -> Any:
        self.asked.add(("GET", path))
        raise Sent


def sample(hint: Any, name: str) -> Any:
    """An argument of the type that a method asks for."""
    origin = typing.get_origin(hint)
    if origin is typing.Annotated:
        return sample(typing.get_args(hint)[0], name)
    if origin in (typing.Union, UnionType):
        return sample(next(one for one in typing.get_args(hint) if one is not type(None)), name)
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return hint(**{f.name: sample(f.type, f.name) for f in msgspec.structs.fields(hint) if f.required})
    if isinstance(hint, type) and issubclass(hint, Enum):
        return next(iter(hint))
    return PLAIN.get(origin if origin is Scope else hint, {} if origin is dict else [])


def arguments(method: Any) -> dict[str, Any]:
    module = inspect.getmodule(method)
    names = dict(vars(module)) if module else {}
    if module is not None:  # what only type checkers import
        for line in re.findall(r"^    from (overseer\.[\w.]+) import ([\w, ]+)$", inspect.getsource(module), re.MULTILINE):
            imported = __import__(line[0], fromlist=["x"])
            names |= {name.strip(): getattr(imported, name.strip()) for name in line[1].split(",")}
    hints = typing.get_type_hints(method, globalns=names)
    found = {}
    for name, parameter in inspect.signature(method).parameters.items():
        taken = parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        if taken and parameter.default is inspect.Parameter.empty:
            found[name] = sample(hints[name], name)
    return found


def nouns(client: Client) -> Iterator[Any]:
    yield client
    for name, member in inspect.getmembers(type(client)):
        if isinstance(member, cached_property) and not name.startswith("_"):
            yield getattr(client, name)


def variants(given: dict[str, Any], method: Any) -> Iterator[dict[str, Any]]:
    """The required arguments, and those with each optional value in turn: some methods need one of several."""
    yield given
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.default is None and parameter.kind is not parameter.VAR_KEYWORD:
            yield {**given, name: SecretValue("x") if name == "value" else "a-name"}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> set[tuple[str, str]]:
    """What the client asks for when each of its methods is called."""
    recorder = Recorder()
    monkeypatch.setattr(HttpClient, "request", recorder.request)
    monkeypatch.setattr(HttpClient, "lines", recorder.lines)
    monkeypatch.setattr(retries_module.RetryingClient, "request", recorder.request)
    client = Client("http://127.0.0.1:1", token="ovs_x")
    for noun in nouns(client):
        for name, method in inspect.getmembers(noun, inspect.ismethod):
            if name.startswith("_") or name == "close":
                continue
            for given in variants(arguments(method), method):
                try:
                    answer = method(**given)
                    if isinstance(answer, Iterator):
                        next(answer)
                except Sent:
                    continue
                except Exception:  # noqa: BLE001, S112  # arguments that do not go together; another variant does
                    continue
    return recorder.asked


def reaches(asked: set[tuple[str, str]], route: Route) -> bool:
    pattern = re.compile(re.sub(r"\{\w+\}", "[^/]+", route.path))
    static = {other.path for other in ALL if "{" not in other.path and other.method == route.method}
    return any(
        method == route.method and pattern.fullmatch(path) and (path not in static or path == route.path)
        for method, path in ((method, path.partition("?")[0]) for method, path in asked)
    )


def test_every_operation_has_a_method_or_a_reason(asked: set[tuple[str, str]]) -> None:
    missing = {route.name for route in ALL if not reaches(asked, route)}
    assert " ".join(sorted(missing - EXCEPTIONS.keys())) == ""
    assert " ".join(sorted(EXCEPTIONS.keys() - missing)) == "", "the client reaches these now: take them off the list"


def test_the_client_asks_for_nothing_that_is_no_route(asked: set[tuple[str, str]]) -> None:
    assert len(asked) > 40
    for method, path in asked:
        plain = path.partition("?")[0]
        assert any(
            route.method == method and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", route.path), plain) for route in ALL
        ), f"{method} {plain}"
