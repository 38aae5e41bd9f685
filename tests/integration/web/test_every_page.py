"""What holds for every page, by enumeration: who is let in, what proves a form, which headers, no script in the text."""

from __future__ import annotations

import uuid
from typing import Any

import asyncpg
import pytest

from overseer.core.permissions import Permission
from overseer.server.api.route import Open
from overseer.server.web.catalogue import PAGES
from overseer.server.web.page import Page
from overseer.server.web.rendering import PAGE_POLICY
from tests.integration.api.people import Server
from tests.integration.server_process.installation import Installation
from tests.integration.web.browsing import HERE, Html, somebody

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

CANARY = "canary-Zq81vT0pLw"
OTHER_SCHEME = HERE.replace("http://", "https://")
CLOSED = [page for page in PAGES if not isinstance(page.permission, Open)]
FORMS = [page for page in CLOSED if page.method == "POST"]
VISITS = [page for page in PAGES if page.method == "GET"]


@pytest.fixture
async def things(server: Server, installation: Installation) -> dict[str, str]:
    """The ids that addresses are made with; every one exists. The secret's value is the canary."""
    mark = uuid.uuid4().hex[:8]
    secret = await server.made("/api/secrets", name=f"db-{mark}", value=CANARY)
    user = await server.made("/api/users", name=f"ann-{mark}")
    group = await server.made("/api/groups", name=f"group-{mark}")
    role = await server.made("/api/roles", name=f"role-{mark}", permissions=["secret:list"])
    account = await server.made("/api/service-accounts", name=f"ci-{mark}")
    token = await server.made("/api/tokens", principal=account["name"])
    binding = await server.made(
        "/api/bindings", principal=account["name"], role="viewer", app="*", environment="*", node="*", name="*"
    )
    whole = {"app": "*", "environment": "*", "node": "*"}
    guarded = await server.made("/api/secrets", name=f"guarded-{mark}", value=CANARY)
    policy = {"title": f"policy-{mark}", "actions": ["delete"], "name": guarded["name"], **whole}
    four_eyes = await server.made("/api/approval-policies", **policy)
    approval = await server.made("/api/approvals", action="delete", secret_id=guarded["id"], reason="it is not used")
    vault = {"address": "https://127.0.0.1:1", "auth": "token"}
    backend = await server.made(
        "/api/backends", name=f"corp-{mark}", kind="vault", settings=vault, credentials={"token": CANARY}
    )
    entries = [{"name": f"imported-{mark}", "value": CANARY}]
    imported = (await server.ask("POST", "/api/import", json={"entries": entries, "origin": "dotenv"})).json()
    known = {"secret": secret, "user": user, "group": group, "role": role, "token": token, "binding": binding}
    known |= {"approval": approval, "policy": four_eyes, "backend": backend, "import": imported}
    known |= {"backup": {"id": await _backup(installation)}}
    return {f"{noun}_id": made["id"] for noun, made in known.items()} | {"session_id": str(uuid.uuid4()), "name": "x"}


async def _backup(installation: Installation) -> str:
    """One that waits for a leader, who is not here."""
    backup_id = str(uuid.uuid4())
    connection = await asyncpg.connect(installation.url)
    try:
        row = "INSERT INTO backup_run (id, target, reason, state) VALUES ($1, $2, 'asked', 'waiting')"
        await connection.execute(row, backup_id, f"to-{backup_id[:8]}")
    finally:
        await connection.close()
    return backup_id


def address(page: Page, things: dict[str, str]) -> str:
    missing = set(page.parameters) - set(things)
    assert not missing, f"{page.path}: make one of these in the fixture, so that the new page is tested like the others"
    return page.path.format(**things)


async def test_a_stranger_is_sent_to_the_sign_in_page_and_comes_back(server: Server, things: dict[str, str]) -> None:
    for page in CLOSED:
        answer = await server.ask(page.method, address(page, things), "", headers={"origin": HERE})
        assert answer.status_code == 303, (page.method, page.path, answer.text)
        where = answer.headers["location"]
        assert where.startswith("/sign-in"), page.path
        if page.method == "GET" and page.path != "/":
            assert where == "/sign-in?next=" + address(page, things).replace("/", "%2F")
    answer = await server.ask("GET", "/secrets", "", headers={"cookie": "overseer=ovss_unknown"})
    assert answer.status_code == 303
    assert "Max-Age=0" in answer.headers["set-cookie"]


async def test_a_bearer_token_is_no_session_of_a_page(server: Server) -> None:
    assert (await server.ask("GET", "/secrets")).status_code == 303


async def test_every_form_needs_its_proof_and_an_origin(server: Server, things: dict[str, str]) -> None:
    owner, other = await somebody(server, "owner"), await somebody(server, "owner")
    proof = await owner.known_proof()
    ours, foreign, other_scheme = {"origin": HERE}, {"origin": "https://evil.example"}, {"origin": OTHER_SCHEME}
    for page in FORMS:
        path = address(page, things)
        tries: list[tuple[dict[str, str], dict[str, str]]] = [
            ({}, ours),
            ({"csrf": "0" * 64}, ours),
            ({"csrf": await other.known_proof()}, ours),
            ({"csrf": proof}, {}),
            ({"csrf": proof}, foreign),
            ({"csrf": proof}, other_scheme),
            ({"csrf": proof}, {"origin": "null"}),
            ({}, ours | {"x-csrf-token": "0" * 64}),
        ]
        for fields, headers in tries:
            answer = await owner.post(path, fields, headers)
            assert answer.status_code == 403, (path, headers)
    left = await server.ask("GET", f"/api/secrets/{things['secret_id']}")
    assert left.json()["version"] == 1


async def test_open_forms_need_an_origin_of_ours(server: Server) -> None:
    for page in PAGES:
        if page.method == "POST" and isinstance(page.permission, Open):
            for headers in ({}, {"origin": "https://evil.example"}, {"origin": OTHER_SCHEME}, {"origin": "null"}):
                answer = await server.ask("POST", page.path, "", data={"name": "x"}, headers=headers)
                assert answer.status_code == 403, page.path


async def test_whoever_holds_nothing_is_refused_everywhere(server: Server, things: dict[str, str]) -> None:
    powerless = await somebody(server)
    names = await _names(server)
    for page in CLOSED:
        if not isinstance(page.permission, Permission):
            continue
        path = address(page, things)
        answer = await (powerless.open(path) if page.method == "GET" else powerless.send(path))
        assert answer.status_code in (403, 404, 422), (page.method, path, answer.status_code)
        assert not [name for name in names if name in answer.text], path
        rows = await server.audit(answer.headers["x-request-id"])
        assert "allowed" not in {row["outcome"] for row in rows if row["action"] != "identity:read"}, (path, rows)


async def test_every_page_keeps_browsers_from_mischief(server: Server, things: dict[str, str]) -> None:
    owner = await somebody(server, "owner")
    for page in VISITS:
        answer = await owner.open(address(page, things))
        # No provider is configured here, and nobody was sent to one: refused, by a page like any other.
        expected = (401, 422) if page.path.startswith("/sign-in/oidc/") else (200,)
        assert answer.status_code in expected, (page.path, answer.status_code)
        headers = answer.headers
        assert headers["content-security-policy"] == PAGE_POLICY.decode()
        assert headers.get_list("content-security-policy") == [PAGE_POLICY.decode()]
        assert headers["cache-control"] == "no-store"
        assert headers["x-frame-options"] == "DENY"
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "same-origin"
        _is_strict(answer.text, page.path)


async def test_no_value_is_in_any_page_before_a_reveal(server: Server, things: dict[str, str]) -> None:
    owner = await somebody(server, "owner")
    for page in VISITS:
        assert CANARY not in (await owner.open(address(page, things))).text, page.path
    path = f"/secrets/{things['secret_id']}"
    revealed = await owner.send(f"{path}/reveal")
    assert CANARY in revealed.text
    assert revealed.headers["cache-control"] == "no-store"
    rows = await server.audit(revealed.headers["x-request-id"])
    assert [row["outcome"] for row in rows if row["action"] == "secret:reveal"] == ["allowed"]
    assert CANARY not in (await owner.open(path)).text


async def test_what_was_typed_is_not_sent_back(server: Server, things: dict[str, str]) -> None:
    owner = await somebody(server, "owner")
    refused = await owner.send("/secrets/new", {"name": "no such name!", "how": "type", "value": CANARY, "owner": "team-a"})
    assert refused.status_code == 422
    assert CANARY not in refused.text
    assert "team-a" in refused.text
    wrong = await server.ask("POST", "/sign-in", "", data={"name": "ada", "password": CANARY}, headers={"origin": HERE})
    assert wrong.status_code == 401
    assert CANARY not in wrong.text
    long = await owner.send(f"/secrets/{things['secret_id']}/value", {"how": "type", "value": CANARY * 100_000, "activate": "on"})
    assert long.status_code == 413
    assert CANARY not in long.text


async def test_text_of_people_is_text(server: Server) -> None:
    owner = await somebody(server, "owner")
    script = "<script>alert(1)</script>\" onload='x'"
    made = await server.made("/api/secrets", name=f"xss-{uuid.uuid4().hex[:8]}", value="v", description=script, owner=script)
    for path in ("/secrets", f"/secrets/{made['id']}", "/"):
        page = (await owner.open(path)).text
        assert script not in page
        _is_strict(page, path)


async def test_a_part_asked_for_by_htmx_is_a_part(server: Server) -> None:
    owner = await somebody(server, "owner")
    part = await owner.open("/secrets", **{"hx-request": "true"})
    assert part.status_code == 200
    assert "<html" not in part.text
    refused = await owner.open("/secrets/no-id", **{"hx-request": "true"})
    assert (refused.status_code, refused.headers["hx-retarget"]) == (200, "#notices")
    gone = await server.ask("GET", "/secrets", "", headers={"hx-request": "true"})
    assert gone.status_code == 200, gone.headers
    assert gone.headers["hx-redirect"].startswith("/sign-in")


async def test_where_nothing_is_people_get_a_page_and_programs_a_problem(server: Server) -> None:
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
    page = await server.ask("GET", "/no-such-page", "", headers=browser)
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    _is_strict(page.text, "/no-such-page")
    for path, headers in (("/no-such-page", {"accept": "*/*"}), ("/api/no-such-route", browser)):
        answer = await server.ask("GET", path, "", headers=headers)
        assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json"), path


async def test_assets_are_kept_and_nothing_else_is_below_their_path(server: Server) -> None:
    page = Html((await server.ask("GET", "/sign-in", "")).text)
    linked = [a.get("src") or a.get("href") or "" for tag, a in page.elements if tag in ("script", "link", "img")]
    assert len(set(linked)) == 4
    for path in linked:
        answer = await server.ask("GET", path, "")
        assert answer.status_code == 200, path
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"
    for path in ("/static/0000000000000000/overseer.css", "/static/x/..%2f..%2fpyproject.toml"):
        assert (await server.ask("GET", path, "")).status_code == 404, path


def _is_strict(text: str, path: str) -> None:
    """Nothing that the policy would refuse: no inline script or style, no handler, no address of another host."""
    page = Html(text)
    assert page.inline == [], path
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith(("on", "hx-on")), (path, tag, name)
            assert name != "style", (path, tag)
            if name in ("src", "href", "action", "formaction") and value:
                assert value.startswith(("/", "#")), (path, tag, value)
                assert not value.startswith("//"), (path, tag, value)


async def _names(server: Server) -> list[str]:
    """What a page might give away: names of secrets, groups and roles of our own."""
    found: list[Any] = []
    for noun in ("secrets", "groups"):
        found += (await server.ask("GET", f"/api/{noun}")).json()["items"]
    return [one["name"] for one in found]


