"""Guessing through the pages costs what guessing through the API costs."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from overseer.server.api.throttle import Throttle
from tests.integration.api.people import Server
from tests.integration.web.browsing import HERE, PASSWORD, somebody

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]

TRIES = 3


@pytest.fixture
def few_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """A small budget of attempts, so that the test need not hash a hundred passwords."""
    made = Throttle.__init__

    def small(self: Throttle, *, per_second: float, **rest: Any) -> None:  # the budget of the settings is not used
        made(self, per_second=TRIES / 10, **rest)

    monkeypatch.setattr(Throttle, "__init__", small)


@pytest.mark.parametrize("form", ["password", "invitation"])
@pytest.mark.parametrize("signed_in", [False, True])
async def test_a_wrong_word_is_a_page_and_a_spent_attempt(few_tries: None, server: Server, form: str, signed_in: bool) -> None:
    """One password for many names at once is not stopped by the limits of a name; nor does a session of one's own free it."""
    browser = await somebody(server)
    cookie = {"cookie": f"overseer={browser.session}"} if signed_in else {}
    codes = []
    for _ in range(TRIES + 1):
        fields = {"name": f"nobody-{uuid.uuid4().hex[:8]}", "password": PASSWORD, "again": PASSWORD, "invitation": "ovsi_x"}
        path = "/sign-in" if form == "password" else "/invitation"
        codes.append((await server.ask("POST", path, "", data=fields, headers={"origin": HERE} | cookie)).status_code)
    assert codes == [401] * TRIES + [429]
