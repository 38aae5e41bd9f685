"""Backends, sources, rotations, backups, imports, policies and emergencies: what their forms do, refuse, and never send back."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from tests.integration.api.people import Server
from tests.integration.web.browsing import Browser, somebody

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

CANARY = "canary-Hb20xQ9wRt"
VAULT = {"kind": "vault", "settings.address": "https://127.0.0.1:1", "settings.auth": "token"}


def fresh(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:8]}"


async def outcomes(server: Server, answer: Any, action: str) -> list[str]:
    rows = await server.audit(answer.headers["x-request-id"])
    return [row["outcome"] for row in rows if row["action"] == action]


async def test_a_credential_goes_in_and_is_in_no_page_not_even_of_a_refused_form(server: Server) -> None:
    owner = await somebody(server, "owner")
    name = fresh("corp")
    for wrong in ({"name": "no such name!"}, {"name": name, "settings.auth": "song"}, {"name": name, "ttl": "x"}):
        refused = await owner.send("/backends/new", VAULT | {"credentials.token": CANARY} | wrong)
        assert refused.status_code == 422, wrong
        assert CANARY not in refused.text
        assert "https://127.0.0.1:1" in refused.text  # the rest need not be typed again
        assert 'aria-invalid="true"' in refused.text or "one of token" in refused.text
    made = await owner.send("/backends/new", VAULT | {"name": name, "credentials.token": CANARY})
    path = made.headers["location"].partition("?")[0]
    assert await outcomes(server, made, "backend:create") == ["allowed"]
    assert CANARY not in (await owner.open(path)).text
    for address in ("ftp://x", f"https://somebody:{CANARY}@vault.example.org"):
        elsewhere = VAULT | {"settings.address": address, "credentials.token": CANARY}
        for form in (f"{path}/settings", "/backends/new"):
            refused = await owner.send(form, elsewhere | {"name": fresh("corp")})
            assert (refused.status_code, CANARY in refused.text) == (422, False), form


async def test_a_test_says_at_which_stage_it_stopped_and_what_that_means(server: Server) -> None:
    owner = await somebody(server, "owner")
    made = await owner.send("/backends/new", VAULT | {"name": fresh("corp"), "credentials.token": CANARY})
    path = made.headers["location"].partition("?")[0]
    for headers in ({}, {"hx-request": "true"}):
        told = await owner.send(f"{path}/test", {}, **headers)
        assert told.status_code == 200
        assert "Stopped at <code>address</code>" in told.text
        assert ("<html" in told.text) == (not headers)
        assert await outcomes(server, told, "backend:test") == ["failed"]


async def test_a_backend_is_changed_not_from_an_old_page_and_deleted(server: Server) -> None:
    owner = await somebody(server, "owner")
    made = await owner.send("/backends/new", VAULT | {"name": fresh("corp"), "credentials.token": CANARY})
    path = made.headers["location"].partition("?")[0]
    times = await owner.send(f"{path}/change", {"description": "of the platform team", "ttl": "60"})
    assert times.status_code == 303
    shown = (await owner.open(path)).text
    assert "of the platform team" in shown
    assert "1 minute" in shown
    stale = await owner.send(f"{path}/change", {"ttl": "61", "etag": '"1"'})
    assert stale.status_code == 412
    assert (await owner.send(f"{path}/delete")).headers["location"] == "/backends?done=deleted"
    assert (await owner.open(path)).status_code == 404


@pytest.mark.parametrize("do", ["check", "import"])
async def test_what_was_pasted_is_not_sent_back(server: Server, do: str) -> None:
    developer = await somebody(server, "developer")
    name = fresh("pasted")
    tries = [
        ({"format": "json", "text": f'{{"{name}": "{CANARY}"'}, 422),
        ({"format": "dotenv", "text": f"{name}={CANARY}", "app": "nowhere"}, 404),
        ({"format": "dotenv", "text": f"not a name={CANARY}"}, 422),
        ({"format": "sops", "text": CANARY}, 422),
        ({"format": "dotenv", "text": f"{name}={CANARY}", "on_conflict": "perhaps"}, 422),
        ({"format": "dotenv", "text": " \r\n"}, 422),
    ]
    for fields, status in tries:
        for headers in ({}, {"hx-request": "true"}):
            answer = await developer.send("/imports/new", fields | {"do": do}, **headers)
            assert answer.status_code == (200 if headers else status), (fields["format"], answer.text)
            assert CANARY not in answer.text
            assert 'role="alert"' in answer.text


async def test_a_file_of_too_many_values_is_refused_before_the_store_hears_of_it(server: Server) -> None:
    """A form's import is made here and not decoded: the API's own limit was never asked, and 100,000 values held up everybody."""
    developer = await somebody(server, "developer")
    text = "".join(f"k{number}: v\n" for number in range(5001))
    refused = await developer.send("/imports/new", {"format": "yaml", "text": text})
    assert refused.status_code == 422
    assert "at most 5000 values" in refused.text
    assert await outcomes(server, refused, "import:create") == []


async def test_a_dry_run_changes_nothing_and_an_import_can_be_taken_back(server: Server) -> None:
    developer = await somebody(server, "developer")
    name, there = fresh("pasted"), fresh("there")
    await server.made("/api/secrets", name=there, value="other")
    text = f'{name}="{CANARY}\r\nsecond"\r\n{there}={CANARY}\r\n'
    fields = {"format": "dotenv", "text": text, "origin": "shop.env", "keep_names": "on"}
    dry = await developer.send("/imports/new", fields)
    assert dry.status_code == 200
    assert name in dry.text
    assert "in the way" in dry.text
    assert CANARY not in dry.text
    assert (await server.ask("GET", f"/api/secrets?name={name}")).json()["items"] == []
    refused = await developer.send("/imports/new", fields | {"do": "import"})
    assert refused.status_code == 409
    done = await developer.send("/imports/new", fields | {"do": "import", "on_conflict": "new-version"})
    assert await outcomes(server, done, "import:create") == ["allowed"]
    path = done.headers["location"].partition("?")[0]
    [made] = (await server.ask("GET", f"/api/secrets?name={name}")).json()["items"]
    value = (await server.ask("POST", f"/api/secrets/{made['id']}/value", json={})).json()["value"]
    assert value == f"{CANARY}\nsecond"  # the browser's line ends are not the file's
    shown = (await developer.open(path)).text
    assert "dotenv shop.env" in shown
    assert CANARY not in shown
    undone = await developer.send(f"{path}/undo")
    assert "deleted" in undone.text
    assert "restored" in undone.text
    assert (await server.ask("GET", f"/api/secrets?name={name}")).json()["items"] == []
    again = await developer.send(f"{path}/undo")
    assert again.status_code == 409


async def test_what_a_backend_refuses_is_told_on_the_page_that_asked(server: Server) -> None:
    owner, developer = await somebody(server, "owner"), await somebody(server, "developer")
    name = fresh("corp")
    await owner.send("/backends/new", VAULT | {"name": name, "credentials.token": CANARY})
    secret = await server.made("/api/secrets", name=fresh("tied"), value=CANARY)
    path = f"/secrets/{secret['id']}/source"
    for answer in (
        await owner.send(path, {"backend": name, "ref": "apps/db"}),
        await owner.send("/imports/backend", {"backend": name, "folder": "apps", "do": "import"}),
        await owner.send("/secrets/new", {"how": "backend", "name": fresh("new"), "backend": name, "ref": "apps/db"}),
    ):
        assert answer.status_code == 502
        assert f"backend {name} (address)" in answer.text
        assert "apps" in answer.text  # the form, with what was typed
    assert (await owner.send(path, {"backend": name, "ref": "apps/db", "mode": "pull", "etag": '"x"'})).status_code == 412
    assert (await owner.send(f"{path}/remove")).status_code == 409
    # Whoever may write, and not use the backend, hears nothing of it.
    refused = await developer.send(path, {"backend": name, "ref": "apps/db"})
    assert refused.status_code == 403
    assert "Tie it" not in refused.text
    assert (await developer.open("/imports/backend")).status_code == 403
    refused = await developer.send("/imports/backend", {"backend": name, "folder": "apps"})
    assert refused.status_code == 403


async def test_nobodys_file_is_looked_through(server: Server) -> None:
    """A file that cannot be read would be refused as such: who may write nothing is refused before."""
    viewer = await somebody(server, "viewer")
    answer = await viewer.send("/imports/new", {"format": "json", "text": "{"})
    assert answer.status_code == 403
    assert "secret:write" in answer.text
    assert "Import a file" not in (await viewer.open("/imports")).text


async def test_a_policy_is_set_refused_beside_its_field_and_taken_away(server: Server) -> None:
    developer, viewer = await somebody(server, "developer"), await somebody(server, "viewer")
    secret = await server.made("/api/secrets", name=fresh("rotated"), generate="password:20")
    path = f"/secrets/{secret['id']}/rotation"
    refused = await developer.send(path, {"when": "cron", "cron": "0 0 31 2 *"})
    assert refused.status_code == 422
    assert 'id="cron-problem"' in refused.text
    for fields, place in (({"when": "interval"}, "interval_days"), ({"when": "cron"}, "cron")):
        assert f'id="{place}-problem"' in (await developer.send(path, fields)).text
    done = await developer.send(path, {"when": "interval", "interval_days": "30", "grace_days": "2", "cron": "0 0 31 2 *"})
    assert done.status_code == 303, done.text
    assert await outcomes(server, done, "rotation:change") == ["allowed"]
    shown = (await server.ask("GET", f"/api/secrets/{secret['id']}/rotation")).json()
    assert shown["policy"] == {"interval_days": 30, "grace_days": 2}
    assert "every 30 days" in (await developer.open(path)).text
    held = await developer.send(f"{path}/hold", {"change": "hold"})
    assert held.status_code == 303
    tries: list[tuple[str, dict[str, str]]] = [("", {"change": "remove"}), ("/hold", {"change": "resume"}), ("/run", {})]
    for what, fields in [*tries, ("/rotator", {"change": "remove"})]:
        assert (await viewer.send(path + what, fields)).status_code == 403, what
    page = (await viewer.open(path)).text
    assert "every 30 days" in page
    for word in ("Rotate now", "Change the policy", "Resume the schedule", "rotator</summary>"):
        assert word not in page
    run = await developer.send(f"{path}/run")
    assert await outcomes(server, run, "rotation:run") == ["allowed"]
    assert "On its way" in (await developer.open(path)).text
    await developer.send(path, {"change": "remove"})
    assert (await server.ask("GET", f"/api/secrets/{secret['id']}/rotation")).json()["policy"] is None


async def test_a_rotator_is_named_by_its_administrators_secret(server: Server) -> None:
    owner, developer = await somebody(server, "owner"), await somebody(server, "developer")
    name, admin = fresh("login"), fresh("admin")
    secret = await server.made("/api/secrets", name=name, value='{"username": "app", "password": "x"}')
    credential = await server.made("/api/secrets", name=admin, value=CANARY)
    path = f"/secrets/{secret['id']}/rotation/rotator"
    fields = {"kind": "postgresql", "url": "postgresql://203.0.113.9/shop", "users": "app_a, app_b", "admin": admin}
    assert (await developer.send(path, fields)).status_code == 403
    refused = await owner.send(path, fields | {"admin": fresh("nobody")})
    assert refused.status_code == 422
    assert 'id="admin-problem"' in refused.text
    done = await owner.send(path, fields)
    assert done.status_code == 303, done.text
    rotator = (await server.ask("GET", f"/api/secrets/{secret['id']}/rotation")).json()["rotator"]
    assert rotator == {**{k: fields[k] for k in ("kind", "url")}, "users": ["app_a", "app_b"], "admin": credential["id"]}
    page = (await owner.open(f"/secrets/{secret['id']}")).text
    assert "New version with a value of yours" not in page  # the source would not know it
    assert CANARY not in page


async def test_a_policy_of_approvals_is_made_changed_and_deleted(server: Server) -> None:
    owner, auditor = await somebody(server, "owner"), await somebody(server, "auditor")
    everywhere = {"app": "*", "environment": "*", "node": "*"}
    fields = {"title": fresh("four-eyes"), "name": fresh("guarded"), "action": "delete"}
    fields |= {"approvers": "1", "waits": "60", "lives": "5"}
    refused = await owner.send("/approval-policies/new", fields | everywhere | {"action": "sing", "approvers": "9"})
    assert refused.status_code == 422
    assert 'id="approvers-problem"' in refused.text
    assert "some of activate" in refused.text
    made = await owner.send("/approval-policies/new", fields | everywhere)
    assert made.status_code == 303, made.text
    path = made.headers["location"].partition("?")[0]
    policy = (await server.ask("GET", f"/api{path}")).json()
    assert (policy["actions"], policy["waits_seconds"], policy["lives_seconds"]) == (["delete"], 3600, 300)
    seen = await auditor.open(path)
    assert seen.status_code == 200
    assert "Save the policy" not in seen.text
    assert (await auditor.send(f"{path}/change", fields | everywhere)).status_code == 403
    changed = await owner.send(f"{path}/change", fields | everywhere | {"approvers": "2"})
    assert changed.status_code == 303, changed.text
    assert (await server.ask("GET", f"/api{path}")).json()["approvers"] == 2
    assert (await owner.send(f"{path}/change", {"change": "delete"})).status_code == 303
    assert (await server.ask("GET", f"/api{path}")).status_code == 404


async def test_an_emergency_is_woken_with_a_reason_shown_on_every_page_and_ended(server: Server) -> None:
    browser, other = await somebody(server, "viewer"), await somebody(server, "viewer")
    assert "/emergencies" not in (await browser.open("/")).text
    me = await _name(browser)
    whole = {"app": "*", "environment": "*", "node": "*", "name": "*"}
    binding = await server.made("/api/bindings", principal=me, role="developer", active_seconds=600, **whole)
    assert 'href="/emergencies"' in (await browser.open("/")).text
    path = f"/emergencies/{binding['id']}"
    assert (await other.send(f"{path}/activate", {"reason": "curious"})).status_code == 404
    assert (await browser.send(f"{path}/activate", {"reason": " "})).status_code == 422
    woken = await browser.send(f"{path}/activate", {"reason": "checkout is down"})
    assert await outcomes(server, woken, "alarm:break_glass") == ["allowed"]
    for page in ("/", "/secrets"):
        assert "<strong>Emergency:</strong> you hold developer" in (await browser.open(page)).text
    assert "New secret" in (await browser.open("/secrets")).text
    assert (await browser.send(f"{path}/end")).status_code == 303
    assert "<strong>Emergency:</strong>" not in (await browser.open("/secrets")).text


async def _name(browser: Browser) -> str:
    page = (await browser.open("/account")).text
    return page.partition("<h1>")[2].partition("</h1>")[0]
