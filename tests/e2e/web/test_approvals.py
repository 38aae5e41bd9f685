"""Two people and a browser each: one asks to see a value, the other agrees, and it is shown once."""

from __future__ import annotations

import os
import uuid

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.e2e.web.site import Site

pytestmark = [pytest.mark.postgres]

VALUE = "heron-lantern-42"


def shot(page: Page, name: str) -> None:
    """A picture for whoever looks at the pages: where OVERSEER_SHOTS names a directory."""
    if os.environ.get("OVERSEER_SHOTS"):
        page.screenshot(path=f"{os.environ['OVERSEER_SHOTS']}/{name}.png", full_page=True)


def test_one_asks_another_approves_and_the_value_is_shown_once(site: Site, chromium: Browser) -> None:
    name = f"guarded-{uuid.uuid4().hex[:6]}"
    secret = site.made("/api/secrets", name=name, value=VALUE)["id"]
    anywhere = {"app": "*", "environment": "*", "node": "*"}
    site.made("/api/approval-policies", title=name, actions=["reveal", "delete"], name=name, **anywhere)
    with site.visitor(chromium, "developer") as asking, site.visitor(chromium, "owner") as deciding:
        asking.goto(f"/secrets/{secret}")
        asking.get_by_role("button", name="Reveal").first.click()
        asking.get_by_label("Reason").fill("the database does not answer")
        shot(asking, "ask")
        assert VALUE not in asking.content()
        asking.get_by_role("button", name="Ask for approval").click()
        expect(asking.get_by_text("It is asked.")).to_be_visible()
        shot(asking, "asked")

        deciding.goto("/secrets")
        expect(deciding.locator("nav").get_by_text("1", exact=True)).to_be_visible()
        deciding.get_by_role("link", name="Approvals").click()
        shot(deciding, "inbox")
        deciding.get_by_role("link", name=f"reveal {name}").click()
        expect(deciding.get_by_text("the database does not answer")).to_be_visible()
        assert VALUE not in deciding.content()
        deciding.get_by_label("Comment").fill("go on")
        shot(deciding, "decide")
        deciding.get_by_role("button", name="Approve").click()
        expect(deciding.get_by_text("Your decision is recorded.")).to_be_visible()
        assert deciding.get_by_role("button", name="Approve").count() == 0

        asking.goto("/approvals")
        asking.get_by_role("link", name=f"reveal {name}").click()
        expect(asking.get_by_text("go on")).to_be_visible()
        asking.get_by_role("link", name="go to the secret").click()
        asking.get_by_role("button", name="Reveal").first.click()
        expect(asking.get_by_text(VALUE)).to_be_visible()
        asking.reload()
        asking.get_by_role("button", name="Reveal").first.click()
        expect(asking.get_by_text("Another person has to approve this.")).to_be_visible()


def test_a_refused_change_offers_to_ask(site: Site, chromium: Browser) -> None:
    name = f"kept-{uuid.uuid4().hex[:6]}"
    secret = site.made("/api/secrets", name=name, value=VALUE)["id"]
    anywhere = {"app": "*", "environment": "*", "node": "*"}
    site.made("/api/approval-policies", title=name, actions=["delete"], name=name, **anywhere)
    with site.visitor(chromium, "developer") as page:
        page.goto(f"/secrets/{secret}")
        page.get_by_text("Delete with all of its history").click()
        page.get_by_label("Type the name to confirm").fill(name)
        page.get_by_role("button", name=f"Delete {name}").click()
        page.get_by_label("Reason").fill("nobody uses it")
        page.get_by_role("button", name="Ask for approval").click()
        expect(page.get_by_text("It is asked.")).to_be_visible()
        page.get_by_role("button", name="Withdraw it").click()
        expect(page.get_by_text("It is taken back.")).to_be_visible()
    assert site.asked(f"/api/secrets/{secret}")["name"] == name
