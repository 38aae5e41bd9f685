"""Sessions over HTTP: signing in, the cookie with and without its proof, other origins."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.integration.api.people import Server

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

PASSWORD = "plum tractor violet moss"
HERE = "http://127.0.0.1:8420"


async def signed_in(server: Server) -> dict[str, Any]:
    """A new user's session."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    user = await server.made("/api/users", name=name)
    invited = await server.made(f"/api/users/{user['id']}/reset")
    accepted = await server.ask(
        "POST", "/api/auth/invitation", "", json={"invitation": invited["invitation"], "password": PASSWORD}
    )
    assert accepted.status_code == 204, accepted.text
    answer = await server.ask("POST", "/api/auth/sign-in", "", json={"name": name, "password": PASSWORD})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_a_session_is_a_bearer_credential_until_it_signs_out(server: Server) -> None:
    session = (await signed_in(server))["session"]
    assert (await server.ask("GET", "/api/me", session)).json()["kind"] == "user"
    assert (await server.ask("POST", "/api/auth/sign-out", session)).status_code == 204
    assert (await server.ask("GET", "/api/me", session)).status_code == 401


async def test_a_cookie_is_accepted_with_its_proof_alone(server: Server) -> None:
    cookie = {"cookie": f"overseer={(await signed_in(server))['session']}"}
    proof, origin = {"x-overseer-csrf": "1"}, {"origin": HERE}

    async def status(method: str, path: str, headers: dict[str, str]) -> int:
        return (await server.ask(method, path, "", headers=headers)).status_code

    assert await status("GET", "/api/me", cookie) == 401
    assert await status("GET", "/api/me", cookie | proof) == 200
    for headers in (cookie, cookie | origin, cookie | proof):
        assert await status("POST", "/api/auth/sign-out", headers) == 401
    foreign = {"origin": "https://evil.example"}
    assert await status("POST", "/api/auth/sign-out", cookie | proof | foreign) == 403
    assert await status("POST", "/api/auth/sign-out", cookie | proof | {"origin": "null"}) == 403
    assert await status("POST", "/api/auth/sign-out", cookie | proof | origin) == 204
    assert await status("GET", "/api/me", cookie | proof) == 401


async def test_no_preflight_is_answered(server: Server) -> None:
    asked = {"origin": "https://evil.example", "access-control-request-headers": "x-overseer-csrf"}
    answer = await server.ask("OPTIONS", "/api/auth/sign-out", "", headers=asked | {"access-control-request-method": "POST"})
    assert answer.status_code == 405
    assert not [name for name in answer.headers if name.startswith("access-control-")]


async def test_a_second_factor_is_asked_for_by_a_code_of_its_own(server: Server) -> None:
    made = await signed_in(server)
    started = await server.ask("POST", "/api/me/totp", made["session"], json={"password": PASSWORD})
    assert started.status_code == 200
    from base64 import b32decode
    from time import time

    from overseer.core.secret_value import SecretValue
    from overseer.crypto.one_time_codes import code_at

    code = code_at(SecretValue(b32decode(started.json()["secret"])), int(time()) // 30)
    confirmed = await server.ask("POST", "/api/me/totp/confirm", made["session"], json={"code": code})
    assert len(confirmed.json()["codes"]) == 10
    body = {"name": made["user"], "password": PASSWORD}
    needed = await server.ask("POST", "/api/auth/sign-in", "", json=body)
    assert (needed.status_code, needed.json()["code"]) == (401, "second_factor_needed")
    answer = await server.ask("POST", "/api/auth/sign-in", "", json=body | {"code": confirmed.json()["codes"][0]})
    assert answer.status_code == 201


async def test_too_many_failures_say_when_to_come_back(server: Server) -> None:
    body = {"name": f"nobody-{uuid.uuid4().hex[:8]}", "password": "x"}
    codes = [(await server.ask("POST", "/api/auth/sign-in", "", json=body)).status_code for _ in range(6)]
    assert codes == [401] * 5 + [429]
    answer = await server.ask("POST", "/api/auth/sign-in", "", json=body)
    assert 1 <= int(answer.headers["retry-after"]) <= 30
