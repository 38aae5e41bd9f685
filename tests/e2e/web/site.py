"""The site as its visitors meet it: things made over the API, people who sign in through the page."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.integration.server_process.installation import RunningServer

PASSWORD = "plum tractor violet moss"
#: Milliseconds for what a page has to come to: Playwright's own five seconds are few on a busy machine.
PATIENCE = 60_000


class Site:
    """The running server, and its owner's hands."""

    def __init__(self, server: RunningServer, owner: str) -> None:
        self.server = server
        self._owner = owner

    def made(self, path: str, **body: Any) -> Any:
        answer = self.server.request("POST", path, self._owner, json=body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def asked(self, path: str) -> Any:
        return self.server.get(path, self._owner).json()

    def person(self, role: str | None) -> str:
        """The name of a new user with a password, and with ``role`` over everything."""
        name = f"{role or 'nobody'}-{uuid.uuid4().hex[:6]}"
        user = self.made("/api/users", name=name)
        invited = self.made(f"/api/users/{user['id']}/reset")
        body = {"invitation": invited["invitation"], "password": PASSWORD}
        assert self.server.request("POST", "/api/auth/invitation", json=body).status_code == 204
        if role is not None:
            self.made("/api/bindings", principal=name, role=role, app="*", environment="*", node="*", name="*")
        return name

    @contextmanager
    def visitor(self, chromium: Browser, role: str | None) -> Iterator[Page]:
        """Somebody with ``role`` who has signed in. Fails where the browser complained about a page meanwhile."""
        complaints: list[str] = []

        def listen(message: ConsoleMessage) -> None:
            # A refusal is answered by its true status, which a browser prints; anything else is a defect of ours.
            if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
                complaints.append(message.text)

        context = chromium.new_context(base_url=self.server.url, viewport={"width": 1280, "height": 900})
        context.set_default_timeout(PATIENCE)
        page = context.new_page()
        page.on("console", listen)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())
        try:
            sign_in(page, self.person(role))
            yield page
        finally:
            context.close()
        assert complaints == []


def sign_in(page: Page, name: str, password: str = PASSWORD, code: str = "") -> None:
    """Through the form of the sign-in page."""
    page.goto("/sign-in")
    page.get_by_label("Name", exact=True).fill(name)
    page.get_by_label("Password", exact=True).fill(password)
    if code:
        page.locator("#code").fill(code)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_load_state()
