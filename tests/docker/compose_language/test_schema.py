"""The places that take a reference are text in Compose's own schema, which the program carries inside it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from overseer.compose.positions import NEVER, ROOT, Kind, Place
from tests.docker.compose_language.real_compose import RealCompose


@pytest.fixture(scope="module")
def schema(compose: RealCompose) -> dict[str, Any]:
    data = compose.program.read_bytes()
    start = data.rindex(b"{", 0, data.index(b'"$id": "compose_spec.json"'))
    found, _ = json.JSONDecoder().raw_decode(data[start : start + 500_000].decode("utf-8", "replace"))
    assert isinstance(found, dict)
    return found


def _leaves(schema: dict[str, Any], node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """(path, types) of every scalar the schema allows; ``*`` is any key, ``[]`` an item of a list."""
    if "$ref" in node:
        node = schema["definitions"][node["$ref"].rpartition("/")[2]]
    for choice in [*node.get("oneOf", []), *node.get("anyOf", [])]:
        yield from _leaves(schema, choice, path)
    types = node.get("type", [])
    types = {types} if isinstance(types, str) else set(types)
    for key, value in node.get("properties", {}).items():
        yield from _leaves(schema, value, (*path, key))
    for pattern, value in node.get("patternProperties", {}).items():
        if pattern != "^x-":
            yield from _leaves(schema, value, (*path, "*"))
    if isinstance(node.get("additionalProperties"), dict):
        yield from _leaves(schema, node["additionalProperties"], (*path, "*"))
    if "items" in node:
        yield from _leaves(schema, node["items"], (*path, "[]"))
    scalars = types - {"object", "array", "null"}
    if scalars:
        yield path, scalars


def _place(path: tuple[str, ...]) -> Place:
    place = ROOT
    for step in path:
        place = place.item() if step == "[]" else place.child("any" if step == "*" else step)
    return place


def test_no_reference_is_let_into_a_field_that_is_not_text(schema: dict[str, Any]) -> None:
    leaves: dict[tuple[str, ...], set[str]] = {}
    for path, types in _leaves(schema, schema, ()):
        leaves.setdefault(path, set()).update(types)
    assert len(leaves) > 250
    wrong = [
        path
        for path, types in leaves.items()
        # In these mappings Compose takes numbers and switches too, and makes text of them.
        if "string" not in types and _place(path).kind not in NEVER | {Kind.BUILD}
    ]
    assert wrong == []


def test_every_key_of_a_service_that_the_program_knows_has_been_judged(schema: dict[str, Any]) -> None:
    """A key that only a newer Compose knows is refused; this test says when to look at one."""
    welcome = {
        path for path, _ in _leaves(schema, schema, ()) if path[:2] == ("services", "*") and _place(path).kind not in NEVER
    }
    assert {path[2] for path in welcome} == {
        "annotations",
        "build",
        "command",
        "container_name",
        "deploy",
        "dns",
        "dns_opt",
        "dns_search",
        "domainname",
        "entrypoint",
        "environment",
        "extra_hosts",
        "healthcheck",
        "hostname",
        "image",
        "labels",
        "logging",
        "mac_address",
        "networks",
        "post_start",
        "pre_stop",
        "provider",
        "security_opt",
        "stop_signal",
        "sysctls",
        "tmpfs",
        "user",
        "working_dir",
    }
