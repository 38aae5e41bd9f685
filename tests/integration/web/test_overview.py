"""What pages say to somebody with few rights, and what they do not ask for in their name."""

from __future__ import annotations

import uuid

import pytest

from tests.integration.api.people import Server
from tests.integration.web.browsing import somebody

pytestmark = [pytest.mark.anyio, pytest.mark.postgres]


async def test_somebody_without_a_role_is_told_so(server: Server) -> None:
    assert "You have no rights yet" in (await (await somebody(server)).open("/")).text
    assert "You have no rights yet" not in (await (await somebody(server, "viewer")).open("/")).text


async def test_looking_into_the_inbox_is_no_denial(server: Server) -> None:
    """An approver of one app opens a page that has a part for approvers of everything: that is no row to look into."""
    role, app = f"approver-{uuid.uuid4().hex[:6]}", f"app-{uuid.uuid4().hex[:6]}"
    await server.made("/api/apps", name=app)
    await server.made("/api/roles", name=role, permissions=["approval:decide", "approval:list"])
    of_one_app, of_all = await somebody(server, role, app=app), await somebody(server, role)
    page = await of_one_app.open("/approvals")
    assert page.status_code == 200
    assert "Policies" not in page.text
    assert [row["outcome"] for row in await server.audit(page.headers["x-request-id"])] == ["allowed", "allowed"]
    assert "Policies" in (await of_all.open("/approvals")).text


async def test_the_rule_of_one_field_is_said_once(server: Server) -> None:
    browser = await somebody(server, "owner")
    answer = await browser.send(
        "/secrets/new", {"name": f"x-{uuid.uuid4().hex[:6]}", "app": "nowhere", "how": "generate", "generator": "password"}
    )
    assert (answer.status_code, answer.text.count("this app does not exist")) == (404, 1)
