"""Over HTTP: a session that can only set up a second factor, at every route and every page."""

from __future__ import annotations

from uuid import uuid4

import asyncpg
import pytest

from overseer.core.principals import PrincipalKind
from overseer.server.api.catalogue import ROUTES
from overseer.server.api.route import Open
from tests.integration.api.messages import least_body, path_of
from tests.integration.api.people import Server
from tests.integration.api.test_every_route import name
from tests.integration.server_process.installation import Installation
from tests.integration.web.browsing import HERE, PASSWORD, Browser, Html, somebody
from tests.integration.web.test_every_page import CLOSED

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

LET_IN = {"confirm_totp", "get_me", "sign_out", "start_totp"}
ENROL = "/account/second-factor"


async def limited(server: Server, installation: Installation) -> Browser:
    """An owner's session, as a sign-in with a password alone makes it where a second factor is required."""
    browser = await somebody(server, "owner")
    await browser.known_proof()
    connection = await asyncpg.connect(installation.url)
    try:
        await connection.execute("UPDATE token SET enrolling = true WHERE hash = sha256($1)", browser.session.encode())
    finally:
        await connection.close()
    return browser


async def test_every_route_but_setting_it_up_and_leaving_is_refused(server: Server, installation: Installation) -> None:
    browser = await limited(server, installation)
    seen = set()
    for route in ROUTES:
        if isinstance(route.permission, Open) or route.name in LET_IN:
            seen.add(route.name)
            continue
        body = {} if route.body is None else {"json": least_body(route.body)}
        answer = await server.ask(route.method, path_of(route), browser.session, **body)
        assert (answer.status_code, answer.json()["code"]) == (403, "second_factor_unset"), name(route)
    assert seen >= LET_IN
    me = await server.ask("GET", "/api/me", browser.session)
    assert (me.status_code, me.json()["enrolling"], me.json()["kind"]) == (200, True, PrincipalKind.USER.value)


async def test_every_page_leads_to_where_it_is_set_up(server: Server, installation: Installation) -> None:
    browser = await limited(server, installation)
    led = 0
    for page in CLOSED:
        if page.enrolling:
            continue
        path = page.path.format_map({parameter: str(uuid4()) for parameter in page.parameters})
        answer = await (browser.open(path) if page.method == "GET" else browser.send(path))
        assert (answer.status_code, answer.headers["location"]) == (303, ENROL), path
        led += 1
    assert led > 20
    fragment = await browser.open("/secrets", **{"hx-request": "true"})
    assert fragment.headers["hx-redirect"] == ENROL
    assert {page.path for page in CLOSED if page.enrolling} == {ENROL, f"{ENROL}/confirm", "/sign-out"}


async def test_it_is_set_up_in_the_browser(server: Server, installation: Installation) -> None:
    browser = await limited(server, installation)
    shown = await browser.open(ENROL)
    assert shown.status_code == 200
    assert "This server requires one" in shown.text
    assert {a["action"] for tag, a in Html(shown.text).elements if tag == "form"} == {ENROL, "/sign-out"}
    wrong = await browser.send(ENROL, {"password": "wrong"})
    assert wrong.status_code == 403
    assert "This server requires one" in wrong.text
    started = await browser.send(ENROL, {"password": PASSWORD})
    assert (started.status_code, "<svg" in started.text) == (200, True)
    out = await browser.post("/sign-out", {"csrf": await browser.known_proof()}, {"origin": HERE})
    assert out.headers["location"] == "/sign-in?done=out"
