"""The web pages in a real browser: each built-in role, and the ways that people go through them."""

from __future__ import annotations

import time
import uuid
from base64 import b32decode

import pytest
from playwright.sync_api import Browser, Page, expect

from overseer.core.permissions import BUILT_IN_ROLES
from overseer.core.secret_value import SecretValue
from overseer.crypto.one_time_codes import code_at
from tests.e2e.web.site import PASSWORD, PATIENCE, Site, sign_in

ROLES = [None, *sorted(set(BUILT_IN_ROLES) - {"node"})]
VALUE = "canary-3fQz7-value"


@pytest.fixture(scope="module")
def secret(site: Site) -> dict[str, str]:
    made: dict[str, str] = site.made("/api/secrets", name="stripe-key", value=VALUE, description="of the shop")
    return made


@pytest.mark.parametrize("role", ROLES)
def test_each_role_sees_what_it_can_use_and_every_link_works(
    site: Site, chromium: Browser, secret: dict[str, str], role: str | None
) -> None:
    held = BUILT_IN_ROLES[role] if role else frozenset()
    with site.visitor(chromium, role) as page:
        links = page.locator("nav a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        assert ("/audit" in links) == ("audit:read" in held)
        assert ("/secrets" in links) == ("secret:list" in held)
        for link in links:
            answer = page.goto(link)
            assert answer is not None
            assert answer.status == 200, link
            expect(page.locator("nav a[aria-current]")).to_have_count(1)
            assert VALUE not in page.content()
        answer = page.goto(f"/secrets/{secret['id']}")
        assert answer is not None
        assert answer.status == (200 if "secret:list" in held else 404)
        reveal = page.get_by_role("button", name="Reveal")
        assert reveal.count() == (1 if "secret:reveal" in held else 0)
        assert page.get_by_role("button", name="Rotate now").count() == (1 if "secret:rotate" in held else 0)


def test_a_value_is_shown_on_a_click_and_hidden_again(site: Site, chromium: Browser, secret: dict[str, str]) -> None:
    with site.visitor(chromium, "developer") as page:
        page.clock.install()
        page.goto(f"/secrets/{secret['id']}")
        assert VALUE not in page.content()
        page.get_by_role("button", name="Reveal").click()
        expect(page.locator("output")).to_have_text(VALUE)
        assert VALUE not in page.url
        page.clock.run_for(31_000)
        expect(page.locator("output")).to_have_count(0)
        assert VALUE not in page.content()
    rows = site.asked("/api/audit?action=secret:reveal&resource=stripe-key")["items"]
    assert rows[0]["actor"].startswith("developer-")
    assert rows[0]["client"] == "browser"


def test_a_revealed_value_is_not_in_the_page_that_one_goes_back_to(
    site: Site, chromium: Browser, secret: dict[str, str]
) -> None:
    with site.visitor(chromium, "developer") as page:
        page.goto(f"/secrets/{secret['id']}")
        page.get_by_role("button", name="Reveal").click()
        expect(page.locator("output")).to_have_text(VALUE)
        page.goto("/secrets")
        page.go_back()
        page.wait_for_load_state()
        assert VALUE not in page.content()


def test_the_life_of_a_secret(site: Site, chromium: Browser) -> None:
    name = f"db-{uuid.uuid4().hex[:6]}"
    with site.visitor(chromium, "owner") as page:
        page.goto("/secrets/new")
        page.get_by_label("Name", exact=True).fill("not a name")
        page.get_by_role("button", name="Store the secret").click()
        expect(page.get_by_role("alert")).to_be_visible()
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_label("Type or paste it").check()
        page.locator("#value").fill("first\nsecond")
        page.get_by_role("button", name="Store the secret").click()
        expect(page.locator("h1")).to_have_text(name)
        page.get_by_role("button", name="Reveal").click()
        expect(page.locator("output")).to_have_text("first\nsecond")
        page.get_by_role("button", name="Rotate now").click()
        expect(page.get_by_text("version 2 is active")).to_be_visible()
        page.get_by_text("New version with a value of yours").click()
        page.locator("#value").fill("third")
        page.get_by_role("button", name="Store the version").click()
        expect(page.get_by_text("version 3 is active")).to_be_visible()
        page.get_by_role("button", name="Activate").last.click()
        expect(page.get_by_text("version 1 is active")).to_be_visible()
        page.get_by_text("Delete with all of its history").click()
        page.get_by_role("button", name=f"Delete {name}").click()
        expect(page.get_by_role("alert")).to_contain_text("type the name")
        page.get_by_text("Delete with all of its history").click()
        page.get_by_label("Type the name to confirm").fill(name)
        page.get_by_role("button", name=f"Delete {name}").click()
        page.wait_for_url("**/secrets?deleted=*")
        assert page.get_by_role("link", name=name, exact=True).count() == 0


def test_filters_change_the_list_and_the_address(site: Site, chromium: Browser, secret: dict[str, str]) -> None:
    site.made("/api/secrets", name="other-key", value="v")
    with site.visitor(chromium, "viewer") as page:
        page.goto("/secrets")
        expect(page.get_by_role("link", name="other-key", exact=True)).to_be_visible()
        page.locator("#q").type("stripe")
        expect(page.get_by_role("link", name="other-key", exact=True)).to_have_count(0)
        expect(page.get_by_role("link", name="stripe-key", exact=True)).to_be_visible()
        page.wait_for_url("**/secrets?q=stripe**")
        page.reload()
        expect(page.get_by_role("link", name="other-key", exact=True)).to_have_count(0)


def test_somebody_is_invited_given_a_role_and_signs_in_with_a_second_factor(site: Site, chromium: Browser) -> None:
    name = f"ada-{uuid.uuid4().hex[:6]}"
    with site.visitor(chromium, "owner") as page:
        page.goto("/users")
        page.get_by_label("Name", exact=True).fill(name)
        page.get_by_role("button", name="Add", exact=True).click()
        invitation = page.locator("#invitation").inner_text()
        page.goto("/bindings")
        page.get_by_label("Its name").fill(name)
        page.locator("#role").select_option("viewer")
        for part in ("app", "environment", "node"):
            page.locator(f"#{part}").select_option("*")
        page.get_by_role("button", name="Give it").click()
        expect(page.get_by_text("The binding holds")).to_be_visible()
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/sign-in**")
        page.get_by_role("link", name="Set your password").click()
        page.locator("#invitation").fill(invitation)
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Set the password").click()
        page.wait_for_url("**/sign-in**")
        sign_in(page, name)
        codes = _set_up_second_factor(page)
        page.get_by_role("button", name="Sign out").click()
        sign_in(page, name)
        expect(page.get_by_role("alert")).to_contain_text("a code is needed")
        sign_in(page, name, code=codes[0])
        expect(page.locator("h1")).to_have_text(f"Hello, {name}")


def test_the_audit_log_is_explored(site: Site, chromium: Browser) -> None:
    with site.visitor(chromium, "auditor") as page:
        page.goto("/audit")
        page.locator("#outcome").select_option("denied")
        page.wait_for_url("**outcome=denied**")
        expect(page.locator("#rows")).not_to_contain_text("allowed")


def test_the_theme_is_chosen_and_kept(site: Site, chromium: Browser) -> None:
    with site.visitor(chromium, "viewer") as page:
        page.get_by_role("button", name="Theme: system").click()
        page.get_by_role("button", name="Theme: light").click()
        ground = "getComputedStyle(document.body).backgroundColor"
        assert page.evaluate(ground) == "rgb(15, 21, 21)"
        page.reload()
        assert page.evaluate(ground) == "rgb(15, 21, 21)"


IN_SIGHT = """selector => {
  const line = document.querySelector('.side nav').getBoundingClientRect();
  const link = document.querySelector(selector).getBoundingClientRect();
  return link.left >= line.left - 1 && link.right <= line.right + 1;
}"""


@pytest.mark.parametrize("width", [390, 768, 1280])
def test_the_link_of_this_page_is_in_sight_and_nothing_is_wider_than_the_screen(
    site: Site, chromium: Browser, width: int
) -> None:
    with site.visitor(chromium, "owner") as page:
        page.set_viewport_size({"width": width, "height": 844})
        links = page.locator("nav a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
        for link in links:
            page.goto(link)
            assert page.evaluate(IN_SIGHT, ".side nav a[aria-current]"), link
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), link
        page.locator("nav a").first.focus()
        for link in links[1:]:
            page.keyboard.press("Tab")
            expect(page.locator(".side nav a:focus")).to_be_in_viewport()  # a browser leaves what is seen in part where it is
            assert page.evaluate("document.activeElement.getAttribute('href')") == link
        for link in ("/approval-policies/new", "/account"):
            page.goto(link)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), link
        assert page.get_by_text("New recovery codes, or take it away").count() == 0  # who has no second factor has none


def test_pages_work_without_scripts(site: Site, chromium: Browser, secret: dict[str, str]) -> None:
    context = chromium.new_context(base_url=site.server.url, java_script_enabled=False)
    context.set_default_timeout(PATIENCE)
    page = context.new_page()
    sign_in(page, site.person("developer"))
    page.goto(f"/secrets/{secret['id']}")
    page.get_by_role("button", name="Reveal").click()
    expect(page.locator("output")).to_have_text(VALUE)
    page.goto("/secrets?q=stripe")
    expect(page.get_by_role("link", name="stripe-key", exact=True)).to_be_visible()
    context.close()


def _set_up_second_factor(page: Page) -> list[str]:
    page.goto("/account")
    page.get_by_text("Set one up").click()
    page.locator("#totp-password").fill(PASSWORD)
    page.get_by_role("button", name="Show the code for my authenticator").click()
    expect(page.locator("svg.qr")).to_be_visible()
    secret = page.locator("li code").inner_text()
    page.locator("#code").fill(code_at(SecretValue(b32decode(secret)), int(time.time()) // 30))
    page.get_by_role("button", name="Put it into force").click()
    return page.locator("#codes").inner_text().split()
