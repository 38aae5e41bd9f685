"""Path and query: only what is declared, only in its form, never said back."""

from __future__ import annotations

import pytest

from tests.unit.server.api.small_api import CANARY, client, small_app

pytestmark = pytest.mark.anyio
ID = "0190f3c2-0000-7000-8000-00000000000a"


@pytest.mark.parametrize(
    ("query", "place", "code"),
    [
        (f"{CANARY}=1", "query", "unknown_field"),
        (f"count={CANARY}", "query.count", "invalid"),
        ("count=1&count=2", "query", "doubled_parameter"),
        ("word=%ff", "query", "invalid"),
        ("word", "query", "invalid"),
        ("word=" + "a" * 9000, "query", "too_long"),
        ("&".join(f"a{n}=1" for n in range(40)), "query", "invalid"),
    ],
)
async def test_a_query_is_refused_by_rule(query: str, place: str, code: str) -> None:
    async with client(small_app()) as http:
        answer = await http.get(f"/notes?{query}")
    assert answer.status_code == 422
    assert [(p["place"], p["code"]) for p in answer.json()["problems"]] == [(place, code)]
    assert CANARY not in answer.text


async def test_a_query_is_typed() -> None:
    async with client(small_app()) as http:
        assert (await http.get("/notes?count=7&word=a%20b")).json() == {"id": "7", "text": "a b", "caller": {}}
        assert (await http.get("/notes")).json()["id"] == "1"


async def test_a_route_without_a_query_refuses_one() -> None:
    async with client(small_app()) as http:
        assert (await http.get("/people/a?x=1")).status_code == 422


@pytest.mark.parametrize("bad", [CANARY, f"{{{ID}}}", ID.replace("-", ""), f"urn:uuid:{ID}", f"{ID}%0a"])
async def test_an_id_is_a_canonical_uuid(bad: str) -> None:
    async with client(small_app()) as http:
        answer = await http.delete(f"/notes/{bad}")
        assert answer.status_code == 422
        assert answer.json()["problems"][0]["place"] == "path.note_id"
        assert CANARY not in answer.text
        assert (await http.delete(f"/notes/{ID}")).status_code == 204


@pytest.mark.parametrize("bad", ["-a", "a%20b", "a:b", "%F0%9F%98%80", "a" * 129, "..%2f"])
async def test_a_name_obeys_the_rule(bad: str) -> None:
    async with client(small_app()) as http:
        answer = await http.get(f"/people/{bad}")
    assert answer.status_code in (404, 422)  # an encoded slash makes it another path
    assert "problem+json" in answer.headers["content-type"]
