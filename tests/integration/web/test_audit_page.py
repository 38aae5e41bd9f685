"""The audit page: its filters, its search that goes on, and what matches as a file."""

from __future__ import annotations

import csv
import io
import uuid

import pytest

from overseer.server.storage import audit_reading
from tests.integration.api.people import Server
from tests.integration.web.browsing import Html, somebody

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_what_matches_is_saved_as_csv(server: Server) -> None:
    name = f"db-{uuid.uuid4().hex[:8]}"
    await server.made("/api/secrets", name=name, value="x")
    browser = await somebody(server, "auditor")
    answer = await browser.send("/audit/export", {"resource": name, "action": "secret:*"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.headers["content-disposition"] == 'attachment; filename="audit.csv"'
    assert answer.headers["cache-control"] == "no-store"
    rows = list(csv.DictReader(io.StringIO(answer.text, newline="")))
    assert [(row["action"], row["resource_name"]) for row in rows] == [("secret:create", name)]


async def test_too_much_for_a_page_is_refused_in_words(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await somebody(server, "auditor")
    monkeypatch.setattr("overseer.server.web.pages.audit.MAX_EXPORT", 1)
    answer = await browser.send("/audit/export", {"outcome": "allowed"})
    assert answer.status_code == 422
    assert "narrow the time" in answer.text


async def test_a_search_that_is_not_at_its_end_says_so_and_goes_on(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = await somebody(server, "auditor")
    monkeypatch.setattr(audit_reading.search, "__defaults__", (3,))
    page = await browser.open("/audit?peer=203.0.113.77")
    assert "part of the log that was searched" in page.text
    assert "cursor=" in page.text


async def test_the_file_holds_what_the_filters_found_and_not_what_the_page_began_with(server: Server) -> None:
    """htmx replaces the rows and nothing else, so the form that saves them has to come with them."""
    browser = await somebody(server, "auditor")
    part = await browser.open("/audit?outcome=denied&actor=nobody", **{"hx-request": "true"})
    assert "Save as CSV" not in part.text  # nothing was found
    part = await browser.open("/audit?outcome=allowed&action=session:create", **{"hx-request": "true"})
    hidden = {
        fields.get("name"): fields.get("value")
        for tag, fields in Html(part.text).elements
        if tag == "input" and fields.get("type") == "hidden"
    }
    assert hidden.pop("csrf")
    assert hidden == {"outcome": "allowed", "action": "session:create"}
