"""Whose agent is away is said once for each node, however long a deployment waits for it."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from overseer.cli.absent_agents import ABSENT_SECONDS, AGAIN_SECONDS, AbsentAgents
from overseer.client.api import Client
from overseer.wire.deployments import DeploymentEvent, DeploymentView
from tests.unit.client.scripted_server import Asked, Reply, scripted_server
from tests.unit.client.test_api import NOW, deployment


def _ordered(deployment_id: str, node: str) -> DeploymentView:
    described = {**deployment("queued"), "id": deployment_id, "node": node, "created_at": "2026-01-01T12:00:00Z"}
    return msgspec.convert(described, DeploymentView)


def _nodes(**seen: str | None) -> Reply:
    about = {"description": "", "state": "active", "agent_version": "1", "created_at": NOW}
    items: list[dict[str, Any]] = [{**about, "id": name, "name": name, "last_seen_at": at} for name, at in seen.items()]
    return Reply(body={"items": items, "next_cursor": None} if len(items) > 1 else items[0])


def test_each_node_is_told_once_and_one_that_goes_away_later_then(capsys: pytest.CaptureFixture[str]) -> None:
    now = 0.0

    def script(asked: Asked) -> Reply:
        late, lost = "2026-01-01T11:59:30Z", "2026-01-01T09:00:00Z"
        return _nodes(late=late) if asked.path.endswith("/late") else _nodes(late=late, lost=lost)

    with scripted_server(script) as server:
        client = Client(server.url, "ovs_test")
        absent = AbsentAgents(client, [_ordered("a", "late"), _ordered("b", "lost")], lambda: now)
        said = []
        for step in range(4):
            now = step * max(AGAIN_SECONDS, ABSENT_SECONDS)
            absent()
            said.append(capsys.readouterr().err.splitlines())
        absent.heard(DeploymentEvent(deployment="a", node="late", state="applying"))
        client.close()
    assert said == [
        ["  node lost was last seen 3 hours ago (2026-01-01 09:00:00Z): the deployment waits until its agent is back"],
        ["  node late was last seen 1 minute ago (2026-01-01 11:59:30Z): the deployment waits until its agent is back"],
        [],
        [],
    ]
    assert len(server.asked) == 2  # when all was said nobody asks any more
