"""Signing in through an identity provider, in a browser: a real provider process, real redirects, answers that are not good."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from overseer.core.errors import ConfigurationProblem
from tests.doubles.oidc_provider import CLIENT_ID, CLIENT_SECRET
from tests.doubles.provider_process import ProviderProcess, oidc_provider
from tests.e2e.web.conftest import chromium
from tests.e2e.web.site import PATIENCE, Site
from tests.integration.server_process.installation import Installation, RunningServer

__all__ = ["chromium"]


@pytest.fixture(scope="module")
def provider() -> Iterator[ProviderProcess]:
    with oidc_provider() as started:
        yield started


@pytest.fixture(scope="module")
def site(provider: ProviderProcess) -> Iterator[Site]:
    """A server whose sign-in page offers the provider."""
    home = Path(tempfile.mkdtemp(prefix="ovs-"))
    home.chmod(0o711)
    try:
        installation = Installation(home / "data")
    except ConfigurationProblem as problem:
        pytest.skip(problem.message)
    settings = installation.settings()
    secret = home / "client-secret"
    secret.write_text(CLIENT_SECRET)
    secret.chmod(0o600)
    (installation.home / "overseer.toml").write_text(
        f'[oidc.corp]\nissuer = "{provider.issuer}"\nclient_id = "{CLIENT_ID}"\nclient_secret_file = "{secret}"\n'
        f'redirect_uri = "http://{settings["OVERSEER_LISTEN"]}/sign-in/oidc/callback"\nallow_private = true\n'
        'provision = "everyone"\n'
    )
    server = RunningServer(settings, home / "server.log")
    try:
        server.wait_for("/health/ready", 200)
        yield Site(server, installation.owner_token)
    finally:
        server.stop()
        installation.postgres.stop()
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def page(site: Site, chromium: Browser) -> Iterator[Page]:
    context = chromium.new_context(base_url=site.server.url)
    context.set_default_timeout(PATIENCE)
    yield context.new_page()
    context.close()


def go_through(page: Page, name: str, wanted: str = "/account") -> None:
    """From the sign-in page to the provider, through its form, and back."""
    page.goto(f"/sign-in?next={wanted}")
    page.get_by_role("link", name="Continue with corp").click()
    page.get_by_label("User").fill(name)
    page.get_by_label("Password").fill(f"password-of-{name}")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()


def test_somebody_signs_in_and_arrives_where_they_wanted(page: Page, provider: ProviderProcess) -> None:
    name = f"kay-{uuid.uuid4().hex[:6]}"
    provider.user(name, preferred_username=name)
    go_through(page, name)
    expect(page.locator("h1")).to_have_text(name)
    assert page.url.endswith("/account")
    cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
    assert set(cookies) == {"overseer"}  # the ticket is gone
    assert cookies["overseer"]["httpOnly"]
    assert cookies["overseer"]["sameSite"] == "Lax"


@pytest.mark.parametrize("mode", ["wrong_issuer", "wrong_audience", "expired", "algorithm_none", "wrong_nonce"])
def test_an_answer_that_is_not_good_lets_nobody_in(page: Page, provider: ProviderProcess, mode: str) -> None:
    provider.user("mal", preferred_username="mal")
    provider.control(mode=mode)
    try:
        go_through(page, "mal")
    finally:
        provider.control(mode="")
    expect(page.get_by_role("alert")).to_contain_text("refused")
    assert page.context.cookies() == []


def test_an_answer_counts_for_the_browser_that_began(site: Site, chromium: Browser, provider: ProviderProcess) -> None:
    """Login CSRF: the address that the provider sent an attacker back with, opened by somebody else, signs nobody in."""
    provider.user("eve", preferred_username="eve")
    begun = site.server.get("/sign-in/oidc/corp", follow_redirects=False)
    sent_back = provider.log_in(begun.headers["location"], "eve")
    context = chromium.new_context(base_url=site.server.url)
    context.set_default_timeout(PATIENCE)
    victim = context.new_page()
    victim.goto(f"/sign-in/oidc/callback?code={sent_back['code']}&state={sent_back['state']}&iss={provider.issuer}")
    expect(victim.get_by_role("alert")).to_be_visible()
    assert [cookie["name"] for cookie in context.cookies()] == []
    context.close()


def test_a_provider_that_does_not_work_is_said_so(page: Page, provider: ProviderProcess) -> None:
    provider.user("pat", preferred_username="pat")
    provider.control(mode="token_endpoint_fails")
    try:
        go_through(page, "pat")
    finally:
        provider.control(mode="")
    expect(page.get_by_role("alert")).to_contain_text("the identity provider corp does not work at this moment")
