"""Waiting for a rollout: each change is told once, and the wait is bounded."""

from __future__ import annotations

import pytest

from overseer.client.api import Client
from overseer.core.errors import NotReady
from tests.unit.cli.test_rollout import rollout
from tests.unit.client.scripted_server import Reply, scripted_server


def test_each_change_is_told_once() -> None:
    way = [rollout(), rollout(), rollout(node="acknowledged"), rollout("succeeded", "acknowledged")]
    seen: list[tuple[str, str]] = []
    with scripted_server(*[Reply(body=one) for one in way]) as server, Client(server.url, "t") as client:
        ended = client.rollouts.wait(
            "r1", 10, seen=lambda view: seen.append((view.state, view.nodes[0].state)), sleep=lambda _: None
        )
    assert ended.state == "succeeded"
    assert seen == [("running", "candidate"), ("running", "acknowledged"), ("succeeded", "acknowledged")]


def test_waiting_is_bounded() -> None:
    with (
        scripted_server(lambda _: Reply(body=rollout())) as server,
        Client(server.url, "t") as client,
        pytest.raises(NotReady, match="still running"),
    ):
        client.rollouts.wait("r1", 0, sleep=lambda _: None)
