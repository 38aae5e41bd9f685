"""Backends, rotations, backups, imports and emergencies in a real browser: as somebody who may, and as somebody who may not."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.doubles.vault_kv import Kv2
from tests.doubles.vault_server import VaultServer, served
from tests.e2e.web.site import PATIENCE, Site, sign_in

VALUE = "canary-9kWq2-value"


@pytest.fixture(scope="module")
def vault() -> Iterator[tuple[str, str]]:
    """The address of a vault with one value, and a token that reads it."""
    server, engine = VaultServer(), Kv2()
    server.mounts["secret"] = engine
    server.allow("reader", "secret/data/*", "read")
    server.allow("reader", "secret/metadata/*", "list")
    engine.put("apps/shop/db", password=VALUE)
    with served(server) as address:
        yield address, server.token("reader")


def fresh(word: str) -> str:
    return f"{word}-{uuid.uuid4().hex[:6]}"


def test_a_value_comes_from_a_backend_that_was_set_up_and_tested(
    site: Site, chromium: Browser, vault: tuple[str, str]
) -> None:
    address, token = vault
    backend, name = fresh("corp"), fresh("db")
    with site.visitor(chromium, "owner") as page:
        page.goto("/backends")
        page.get_by_role("link", name="Set one up").click()
        page.get_by_role("link", name="HashiCorp Vault").click()
        page.get_by_label("Name", exact=True).fill(backend)
        page.get_by_label("Address").fill(address)
        page.get_by_label("Auth", exact=True).select_option("approle")
        expect(page.get_by_label("Token", exact=True)).to_be_hidden()
        page.get_by_label("Auth", exact=True).select_option("token")
        page.get_by_label("Token", exact=True).fill(token + "x")
        page.get_by_role("button", name="Set it up").click()
        page.get_by_role("button", name="Test it now").click()
        expect(page.get_by_role("alert")).to_contain_text("Stopped at auth")
        page.get_by_text("New settings or credentials").click()
        page.get_by_label("Token", exact=True).fill(token)
        page.get_by_role("button", name="Save both").click()
        page.get_by_role("button", name="Test it now").click()
        expect(page.locator("#told")).to_contain_text("It works.")
        assert token not in page.content()

        page.goto("/secrets/new")
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Take it from a backend").check()
        page.get_by_label("Backend", exact=True).fill(backend)
        page.get_by_label("Reference").fill("apps/shop/db")
        page.get_by_label("Field", exact=True).fill("password")
        page.get_by_role("button", name="Store the secret").click()
        expect(page.locator("h1")).to_have_text(name)
        expect(page.get_by_text("kept since")).to_be_visible()
        assert VALUE not in page.content()
        page.get_by_role("button", name="Reveal").click()
        expect(page.locator("output")).to_have_text(VALUE)
        page.get_by_role("link", name="Look or change").click()
        page.get_by_role("button", name="Ask the backend now").click()
        expect(page.get_by_text("The backend was asked")).to_be_visible()
        page.get_by_role("button", name="Untie").click()
        expect(page.get_by_role("heading", name="Values of its own")).to_be_visible()

        page.goto("/imports/backend")
        page.get_by_label("Backend", exact=True).fill(backend)
        page.get_by_label("Folder", exact=True).fill("apps/shop")
        page.get_by_role("button", name="Say what it would do").click()
        expect(page.locator("#report")).to_contain_text("apps/shop/db#password")
        assert VALUE not in page.content()
    with site.visitor(chromium, "developer") as page:
        assert page.locator("nav a[href='/backends']").count() == 0
        assert page.locator("nav a[href='/backups']").count() == 0
        assert page.goto("/backends").status == 403  # type: ignore[union-attr]
        page.goto("/secrets/new")
        assert page.get_by_label("Take it from a backend").count() == 0


def test_a_schedule_is_set_and_a_rotation_is_followed(site: Site, chromium: Browser) -> None:
    secret = site.made("/api/secrets", name=fresh("rotated"), generate="password:20")
    path = f"/secrets/{secret['id']}/rotation"
    with site.visitor(chromium, "developer") as page:
        page.goto(f"/secrets/{secret['id']}")
        page.get_by_role("link", name="Set a schedule").click()
        page.get_by_label("When").select_option("cron")
        page.get_by_label("Cron").fill("0 0 31 2 *")
        page.get_by_role("button", name="Save the policy").click()
        expect(page.locator("#cron-problem")).to_contain_text("no time that ever comes")
        page.get_by_label("When").select_option("interval")
        page.get_by_label("Days", exact=True).fill("30")
        page.get_by_role("button", name="Save the policy").click()
        expect(page.get_by_text("The policy holds")).to_be_visible()
        page.get_by_role("button", name="Rotate now").click()
        expect(page.locator("#state")).to_contain_text("succeeded")  # it asks by itself
    with site.visitor(chromium, "viewer") as page:
        page.goto("/rotations")
        for _ in range(150):  # until the leader has counted its next time
            if page.get_by_role("link", name=secret["name"]).count():
                break
            page.wait_for_timeout(200)
            page.reload()
        page.get_by_role("link", name=secret["name"]).click()
        expect(page.get_by_text("every 30 days")).to_be_visible()
        assert page.url.endswith(path)
        assert page.locator("main button").count() == 0


def test_a_file_is_looked_at_imported_and_taken_back(site: Site, chromium: Browser, tmp_path: Path) -> None:
    name = fresh("IMPORTED").upper().replace("-", "_")
    file = tmp_path / "shop.yaml"
    file.write_text(f"{name}: {VALUE}\n")
    made = name.lower().replace("_", "-")
    with site.visitor(chromium, "developer") as page:
        page.goto("/imports/new")
        page.get_by_label("File").set_input_files(file)
        expect(page.get_by_label("Format")).to_have_value("yaml")
        page.get_by_role("button", name="Say what it would do").click()
        expect(page.locator("#report")).to_contain_text("It would work.")
        expect(page.locator("#report")).to_contain_text(made)
        assert VALUE not in page.content()
        expect(page.get_by_label("Content")).to_have_value(f"{name}: {VALUE}\n")
        page.get_by_role("button", name="Import", exact=True).click()
        expect(page.get_by_text("Everything is stored")).to_be_visible()
        assert VALUE not in page.content()
        page.get_by_role("button", name="Undo the import").click()
        expect(page.get_by_role("row", name=made)).to_contain_text("deleted")


def test_a_dry_run_works_without_scripts_and_forgets_the_file(site: Site, chromium: Browser) -> None:
    context = chromium.new_context(base_url=site.server.url, java_script_enabled=False)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    sign_in(page, site.person("developer"))
    page.goto("/imports/new")
    page.get_by_label("Content").fill(f"PLAIN={VALUE}")
    page.get_by_role("button", name="Say what it would do").click()
    expect(page.locator("#report")).to_contain_text("It would work.")
    assert VALUE not in page.content()
    assert page.get_by_label("File").count() == 0 or page.get_by_label("File").is_hidden()
    context.close()


def test_a_backup_is_asked_for_and_seen_to_its_end(site: Site, chromium: Browser) -> None:
    with site.visitor(chromium, "owner") as page:
        page.goto("/backups")
        expect(page.get_by_text("the last 3")).to_be_visible()
        page.get_by_role("button", name="Back up now").click()
        expect(page.locator("#state")).to_contain_text("It is made")
        expect(page.locator("#state")).to_contain_text("overseer backup verify")


def test_an_emergency_is_woken_and_ended(site: Site, chromium: Browser) -> None:
    with site.visitor(chromium, "viewer") as page:
        assert page.locator("nav a[href='/emergencies']").count() == 0
        whole = {"app": "*", "environment": "*", "node": "*", "name": "*"}
        site.made("/api/bindings", principal=_who(page), role="developer", active_seconds=600, **whole)
        page.goto("/")
        page.get_by_role("link", name="Emergencies").click()
        page.get_by_label("Reason").fill("checkout is down")
        page.get_by_role("button", name="Activate it").click()
        expect(page.get_by_text("you hold developer until")).to_be_visible()
        page.goto("/secrets")
        expect(page.get_by_role("link", name="New secret")).to_be_visible()
        page.get_by_role("link", name="Look, or end it").click()
        page.get_by_role("button", name="It is over").click()
        expect(page.get_by_text("you hold developer until")).to_have_count(0)


def _who(page: Page) -> str:
    return page.locator(".who .name").inner_text()
