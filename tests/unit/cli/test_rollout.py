"""``overseer rollout …`` and how activating commands speak of a rollout."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.cli.conftest import Overseer
from tests.unit.cli.test_secret import view
from tests.unit.client.scripted_server import Reply, problem, scripted_server
from tests.unit.client.test_api import NOW

STEP = {
    "deployment_id": "d1",
    "app": "shop",
    "environment": None,
    "project": "shop",
    "step": "candidate",
    "state": "failed",
    "error": "it broke",
}


def rollout(state: str = "running", node: str = "candidate", **more: Any) -> dict[str, Any]:
    node_view = {"node": "n1", "state": node, "started_at": NOW, "acknowledged_at": None, "steps": [STEP]}
    waiting = {**node_view, "node": "n2", "state": "waiting", "steps": []}
    return {
        "id": "r1",
        "secret_id": "id-1",
        "name": "db",
        "scope": {"app": "shop", "environment": None, "node": None},
        "previous_version": 1,
        "candidate_version": 2,
        "state": state,
        "error": "",
        "node_count": 3,
        "nodes": [node_view, waiting],
        "created_by": "owner",
        "created_at": NOW,
        "finished_at": None,
    } | more


def test_list_and_show(overseer: Overseer) -> None:
    with scripted_server(Reply(body={"items": [rollout()], "next_cursor": None}), Reply(body=rollout())) as server:
        listed = overseer("rollout", "list", "--state", "running", url=server.url)
        shown = overseer("rollout", "show", "r1", url=server.url)
    assert server.asked[0].path == "/api/rollouts?state=running"
    assert listed.text.splitlines()[1].split()[:3] == ["r1", "db", "app=shop"]
    assert "1 → 2" in shown.text
    first, second = (line.split()[:4] for line in shown.text.splitlines()[-2:])
    assert (first, second) == (["n1", "candidate", "shop", "candidate"], ["n2", "waiting", "-", "-"])


def test_wait_ends_with_the_rollout(overseer: Overseer) -> None:
    ends = {"succeeded": (0, ""), "withdrawn": (75, "unhealthy on n1")}
    for state, (code, error) in ends.items():
        with scripted_server(Reply(body=rollout(state, "acknowledged", error=error))) as server:
            ended = overseer("rollout", "wait", "r1", url=server.url)
        assert ended.code == code
        assert error in ended.err
        assert ended.err.splitlines()[0] == f"db 1 → 2: {state} (1 acknowledged, 1 waiting)"
    with scripted_server(Reply(body=rollout())) as server:
        ended = overseer("rollout", "wait", "r1", "--timeout", "0s", url=server.url)
    assert (ended.code, "rollout show r1" in ended.err) == (69, True)


def test_withdraw(overseer: Overseer) -> None:
    with scripted_server(Reply(body=rollout("withdrawn")), problem("conflict", 409, "this rollout has ended already")) as server:
        ended = overseer("rollout", "withdraw", "r1", "--yes", "--json", url=server.url)
        again = overseer("rollout", "withdraw", "r1", "--yes", url=server.url)
    assert (server.asked[0].method, server.asked[0].path) == ("POST", "/api/rollouts/r1/withdraw")
    assert json.loads(ended.out)["state"] == "withdrawn"
    assert (again.code, "ended already" in again.err) == (75, True)


def test_commands_that_activate_name_the_rollout_and_can_do_without(overseer: Overseer) -> None:
    page = Reply(body={"items": [view()], "next_cursor": None})
    started = Reply(body=view() | {"rollout": "r1"})
    for arguments in (("rotate", "db"), ("activate", "db", "2"), ("set", "db", "--generate", "uuid")):
        with scripted_server(page, started, page, started) as server:
            ended = overseer("secret", *arguments, url=server.url)
            overseer("secret", *arguments, "--immediate", url=server.url)
        assert "overseer rollout wait r1" in ended.err
        assert [asked.json["immediate"] for asked in server.asked if asked.body] == [False, True]
    assert overseer("secret", "set", "db", "--no-activate", "--immediate", "--generate", "uuid").code == 2
