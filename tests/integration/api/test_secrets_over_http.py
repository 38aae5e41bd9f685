"""The mission's endpoints over the whole stack: headers, versions, preconditions, repetition, limits."""

from __future__ import annotations

import asyncio
import base64
import uuid

import pytest

from tests.integration.api.people import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]
MEBIBYTE = 1024 * 1024


def fresh() -> str:
    return f"s-{uuid.uuid4().hex[:10]}"


async def test_the_life_of_a_secret(server: Server) -> None:
    name = fresh()
    created = await server.ask("POST", "/api/secrets", json={"name": name, "value": "one", "labels": {"team": "a"}})
    assert created.status_code == 201
    secret = created.json()
    path = f"/api/secrets/{secret['id']}"
    assert created.headers["location"] == path
    assert "value" not in secret
    shown = await server.ask("GET", path)
    assert (shown.json(), shown.headers["etag"]) == (secret, created.headers["etag"])
    updated = await server.ask("PUT", path, json={"value": "two"}, headers={"if-match": shown.headers["etag"]})
    assert (updated.status_code, updated.json()["version"]) == (200, 2)
    value = await server.ask("POST", f"{path}/value", json={"reason": "a test"}, headers={"x-request-id": f"look-{name}"})
    assert value.json() == {"id": secret["id"], "name": name, "version": 2, "value": "two"}
    assert value.headers["cache-control"] == "no-store"
    (row,) = await server.audit(f"look-{name}")
    assert (row["action"], row["outcome"], row["resource_name"], row["reason"]) == ("secret:reveal", "allowed", name, "a test")
    activated = await server.ask("POST", f"{path}/activate", json={"version": 1})
    assert activated.json()["active_version"] == 1
    assert (await server.ask("POST", f"{path}/value", json={})).json()["value"] == "one"
    assert (await server.ask("POST", f"{path}/value", json={"version": 2})).json()["value"] == "two"
    rotated = await server.ask("POST", f"{path}/rotate", json={"generate": "hex:16"})
    assert rotated.json()["version"] == 3
    versions = (await server.ask("GET", f"{path}/versions?limit=2")).json()
    assert [v["version"] for v in versions["items"]] == [3, 2]
    assert versions["next_cursor"]
    patched = await server.ask("PATCH", path, json={"description": "new"})
    assert patched.json()["description"] == "new"
    listed = (await server.ask("GET", f"/api/secrets?name={name}")).json()["items"]
    assert [item["id"] for item in listed] == [secret["id"]]
    deleted = await server.ask("DELETE", path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert (await server.ask("GET", path)).status_code == 404


@pytest.mark.parametrize("plain", [b"", b"\0", b"\xff\xfe", "ü\n".encode(), bytes(range(256)), b"\xed\xa0\x80"])
async def test_every_byte_comes_back(server: Server, plain: bytes) -> None:
    secret = await server.made("/api/secrets", name=fresh(), value_base64=base64.b64encode(plain).decode())
    answer = (await server.ask("POST", f"/api/secrets/{secret['id']}/value", json={})).json()
    assert answer["value"].encode() == plain if "value" in answer else base64.b64decode(answer["value_base64"]) == plain


async def test_of_two_writers_with_one_etag_one_wins(server: Server) -> None:
    created = await server.ask("POST", "/api/secrets", json={"name": fresh(), "value": "one"})
    path, etag = created.headers["location"], {"if-match": created.headers["etag"]}
    answers = await asyncio.gather(*(server.ask("PUT", path, json={"value": str(n)}, headers=etag) for n in range(2)))
    assert sorted(answer.status_code for answer in answers) == [200, 412]
    (lost,) = (answer for answer in answers if answer.status_code == 412)
    assert lost.json()["current_version"] == 2


async def test_a_repeated_request_makes_one_secret(server: Server) -> None:
    key = {"idempotency-key": uuid.uuid4().hex}
    body = {"name": fresh(), "value": "one"}
    first = await server.ask("POST", "/api/secrets", json=body, headers=key)
    again = await server.ask("POST", "/api/secrets", json=body, headers=key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json()["id"] == again.json()["id"]
    other = await server.ask("POST", "/api/secrets", json=body | {"value": "two"}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


async def test_a_mebibyte_passes_however_it_is_escaped_and_one_more_byte_does_not(server: Server) -> None:
    json = {"content-type": "application/json"}
    control = "\\u0001" * MEBIBYTE
    escaped = f'{{"name":"{fresh()}","value":"{control}"}}'
    assert (await server.ask("POST", "/api/secrets", content=escaped, headers=json)).status_code == 201
    larger = f'{{"name":"{fresh()}","value":"{"a" * (MEBIBYTE + 1)}"}}'
    answer = await server.ask("POST", "/api/secrets", content=larger, headers=json)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    huge = await server.ask("POST", "/api/secrets", content=b" " * (8 * MEBIBYTE + 1), headers=json)
    assert (huge.status_code, huge.json()["code"]) == (413, "too_large")
    small = await server.ask("POST", "/api/explain", content=b" " * (64 * 1024 + 1), headers=json)
    assert small.status_code == 413


async def test_resolve_says_what_a_consumer_gets(server: Server) -> None:
    app, name = fresh(), fresh()
    await server.made("/api/apps", name=app)
    await server.made("/api/secrets", name=name, value="global")
    await server.made("/api/secrets", name=name, value="of the app", app=app)
    answer = (await server.ask("POST", "/api/resolve", json={"names": [name], "app": app})).json()
    assert [value["value"] for value in answer["values"]] == ["of the app"]
    explained = (await server.ask("POST", "/api/explain", json={"name": name, "app": app})).json()
    assert explained["winner"]["scope"]["app"] == app
    assert [item["scope"]["app"] for item in explained["shadowed"]] == [None]
    missing = await server.ask("POST", "/api/resolve", json={"names": [name, "no-such-1", "no-such-2"], "app": app})
    assert missing.status_code == 404
    assert len(missing.json()["problems"]) == 2


async def test_a_revoked_token_ends_with_the_next_request(server: Server) -> None:
    token = await server.powerless()
    me = (await server.ask("GET", "/api/me", token)).json()
    assert (await server.ask("DELETE", f"/api/tokens/{me['token_id']}")).status_code == 204
    assert (await server.ask("GET", "/api/me", token)).status_code == 401


async def test_a_foreign_host_is_refused(server: Server) -> None:
    assert (await server.ask("GET", "/api/me", headers={"host": "evil.example"})).status_code == 421
    assert (await server.ask("GET", "/api/me", headers={"host": "vault.example"})).status_code == 200


async def test_the_keyring_shows_no_key(server: Server) -> None:
    answer = (await server.ask("GET", "/api/keys")).json()
    assert answer["newest_term"] == 1
    assert set(answer["keys"][0]) == {"purpose", "term", "created_at", "encryptions_reserved", "rows"}
