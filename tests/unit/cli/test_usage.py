"""``overseer secret usage|unused|stale``, ``drift`` and ``compromised``: what they ask, print and carry out."""

from __future__ import annotations

import json
from typing import Any

from tests.unit.cli.conftest import Overseer
from tests.unit.cli.test_rollout import rollout
from tests.unit.cli.test_secret import view
from tests.unit.client.scripted_server import Asked, Reply, problem, scripted_server
from tests.unit.client.test_api import NOW

SCOPE = {"app": "shop", "environment": None, "node": None}
CONTAINER = {"service": "web", "container_id": "0123456789abcdef", "state": "running", "health": "", "exit_code": None}
CONSUMER = {
    "deployment_id": "d1",
    "app": "shop",
    "environment": None,
    "node": "n1",
    "node_state": "active",
    "project": "shop",
    "reference": "db@1",
    "version": 1,
    "pinned": True,
    "persists": False,
    "matches": None,
    "checked_at": None,
    "services": ["web"],
    "containers": [CONTAINER],
}
USAGE = {
    "secret_id": "id-1",
    "name": "db",
    "scope": SCOPE,
    "version": 2,
    "active_version": 2,
    "rollout": None,
    "last_released_at": None,
    "consumers": [CONSUMER],
}
DRIFT = {
    "kind": "mismatch",
    "deployment_id": "d1",
    "app": "shop",
    "environment": None,
    "node": "n1",
    "project": "shop",
    "reference": "db",
    "name": "db",
    "version": 2,
    "services": ["web"],
    "checked_at": None,
}


def step(name: str, order: int, **more: Any) -> dict[str, Any]:
    reasons = [{"kind": "released", "detail": "shop", "version": 1, "last_seen_at": NOW}]
    return {
        "order": order,
        "secret_id": f"id-{name}",
        "name": name,
        "scope": SCOPE,
        "active_version": 1,
        "rollout": None,
        "needed": True,
        "automatic": True,
        "elsewhere": 0,
        "last_seen_at": NOW,
        "reasons": reasons,
        "consumers": [CONSUMER],
    } | more


def page(*items: dict[str, Any]) -> Reply:
    return Reply(body={"items": list(items), "next_cursor": None})


def test_usage_shows_what_each_container_holds(overseer: Overseer) -> None:
    with scripted_server(page(view()), Reply(body={**USAGE, "rollout": "r1"}), page(view()), Reply(body=USAGE)) as server:
        ended = overseer("secret", "usage", "db", url=server.url)
        as_json = overseer("secret", "usage", "db", "--json", url=server.url)
    assert server.asked[1].path == "/api/secrets/id-1/usage"
    assert ended.text.splitlines()[1].split() == ["shop", "-", "n1", "web", "db@1", "1", "(pinned)", "?", "0123456789ab"]
    assert "overseer rollout show r1" in ended.err
    assert json.loads(as_json.out)["consumers"][0]["containers"] == [CONTAINER]


def test_unused_stale_and_drift(overseer: Overseer) -> None:
    with scripted_server(page({**USAGE, "consumers": []}), page(USAGE), page(DRIFT), page()) as server:
        unused = overseer("secret", "unused", url=server.url)
        stale = overseer("secret", "stale", url=server.url)
        drift = overseer("drift", "--node", "n1", url=server.url)
        nothing = overseer("drift", url=server.url)
    assert [asked.path for asked in server.asked] == [
        "/api/usage?filter=unused",
        "/api/usage?filter=stale",
        "/api/drift?node=n1",
        "/api/drift",
    ]
    assert unused.text.splitlines()[1].split() == ["db", "app=shop", "-"]
    assert stale.text.splitlines()[1].split()[:4] == ["db", "app=shop", "2", "shop"]
    assert drift.text.splitlines()[1].split()[:6] == ["mismatch", "shop", "-", "n1", "web", "db"]
    assert (nothing.out, "as it was deployed" in nothing.err) == (b"", True)


def test_the_plan_after_a_compromise(overseer: Overseer) -> None:
    with scripted_server(Reply(body={"secrets": [step("db", 1), step("key", 2, needed=False, automatic=False)]})) as server:
        ended = overseer("compromised", "--node", "n1", url=server.url)
    assert server.asked[0].json == {"secrets": None, "node": "n1", "user": None}
    first, second = ended.text.splitlines()[1:]
    assert first.split()[:2] == ["1", "db"]
    assert "made by Overseer" in first
    assert "released for shop (version 1)" in first
    assert "not needed" in second
    assert "bring one" in second
    for wrong in ((), ("db", "--node", "n1"), ("--node", "n1", "--user", "u")):
        assert overseer("compromised", *wrong).code == 2


def test_rotating_goes_on_in_order_whatever_becomes_of_one(overseer: Overseer) -> None:
    plan = [
        step("gone", 1),
        step("bad", 2),
        step("good", 3),
        step("flipped", 4),
        step("theirs", 5, automatic=False),
        step("safe", 6, needed=False),
    ]

    def answer(asked: Asked) -> Reply:
        answers = {
            "/api/compromised": Reply(body={"secrets": plan}),
            "/api/secrets/id-gone/rotate": problem("unavailable", 404, "secret: it does not exist"),
            "/api/secrets/id-bad/rotate": Reply(body=view() | {"rollout": "r-bad"}),
            "/api/rollouts/r-bad": Reply(body=rollout("withdrawn", error="unhealthy on n1")),
            "/api/secrets/id-good/rotate": Reply(body=view() | {"rollout": "r-good"}),
            "/api/rollouts/r-good": Reply(body=rollout("succeeded")),
            "/api/secrets/id-flipped/rotate": Reply(body=view()),
        }
        return answers[asked.path]

    with scripted_server(answer) as server:
        ended = overseer("compromised", "--user", "ci", "--rotate", "--yes", "--json", url=server.url)
    outcomes = {one["name"]: one["outcome"] for one in json.loads(ended.out)}
    assert outcomes == {
        "gone": "failed",
        "bad": "withdrawn",
        "good": "rotated",
        "flipped": "rotated",
        "theirs": "manual",
        "safe": "not_needed",
    }
    assert ended.code == 75
    assert "3 of 6 secrets are left: gone, bad, theirs" in ended.err
    assert [asked.path for asked in server.asked if "id-" in asked.path] == [
        f"/api/secrets/id-{name}/rotate" for name in ("gone", "bad", "good", "flipped")
    ]


def test_rotating_asks_first(overseer: Overseer, monkeypatch: Any) -> None:
    def no_terminal(*args: object) -> int:
        raise OSError("no such device or address")

    monkeypatch.setattr("overseer.cli.terminal.os.open", no_terminal)
    with scripted_server(Reply(body={"secrets": [step("db", 1)]})) as server:
        ended = overseer("compromised", "db", "--rotate", url=server.url)
    assert (ended.code, len(server.asked)) == (2, 1)
    with scripted_server(Reply(body={"secrets": [step("db", 1, needed=False)]})) as server:
        assert overseer("compromised", "db", "--rotate", url=server.url).code == 0
