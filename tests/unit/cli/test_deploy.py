from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.unit.cli.conftest import Overseer
from tests.unit.client.scripted_server import Asked, Reply, problem, scripted_server
from tests.unit.client.test_api import NOW, deployment

LATER_SEEN = "2100-01-01T00:00:00Z"
BUNDLE = {"id": "b", "app": "shop", "digest": "d" * 64, "size": 10, "references": ["db"], "created_at": NOW}

COMPOSE = "services: {web: {image: x, volumes: ['./data:/data:ro']}}\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("overseer.client.deployments.time.sleep", lambda seconds: None)


def _node(last_seen_at: str | None) -> dict[str, Any]:
    return {
        "id": "n", "name": "local", "description": "", "state": "active", "agent_version": "0.1.0", "created_at": NOW,
        "last_seen_at": last_seen_at,
    }  # fmt: skip


def _reference(matches: bool | None) -> dict[str, Any]:
    return {
        "reference": "db", "secret_id": "s", "name": "db", "version": 4, "kinds": ["environment"], "services": ["web"],
        "persists": True, "matches": matches,
    }  # fmt: skip


def _script(*states: str, **more: Any) -> Any:
    left = list(states)

    def answer(asked: Asked) -> Reply:
        if asked.path.endswith("/events"):
            return Reply(body=b"", media_type="text/event-stream")
        if asked.path.endswith("/bundles"):
            return Reply(201, BUNDLE)
        if asked.path.startswith("/api/nodes/"):
            return Reply(body=_node(LATER_SEEN))
        if asked.method == "POST":
            return Reply(201, deployment("queued"))
        return Reply(body={**deployment(left.pop(0)), "references": [_reference(True)], **more})

    return answer


def _stack(tmp_path: Path) -> str:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    (tmp_path / "data").write_bytes(b"A=\xff")
    return str(tmp_path)


def test_deploy_sends_the_project_and_waits_for_the_end(overseer: Overseer, tmp_path: Path) -> None:
    with scripted_server(_script("queued", "applying", "applying", "succeeded")) as server:
        ended = overseer(
            "deploy",
            _stack(tmp_path),
            "--app",
            "shop",
            "--env",
            "demo",
            "--node",
            "local",
            "--var",
            "TAG=1",
            "--wait",
            "90s",
            url=server.url,
        )
    assert ended.code == 0
    bundle, created = server.asked[0].json, server.asked[1].json
    assert [(file["path"], file["content"], file["content_base64"]) for file in bundle["files"]] == [
        ("compose.yaml", COMPOSE, None),
        ("data", None, "QT3/"),
    ]
    assert (bundle["compose_files"], bundle["variables"]) == (["compose.yaml"], {"TAG": "1"})
    assert (created["bundle"], created["environment"], created["action"], created["wait_timeout"]) == (
        "d" * 64,
        "demo",
        "deploy",
        90,
    )
    states = [line.split()[0] for line in ended.err.splitlines() if line.startswith("  ")]
    assert states == ["queued", "applying", "succeeded"]
    assert ended.text.splitlines()[1].split() == ["db", "4", "web", "environment", "persists", "yes"]


@pytest.mark.parametrize("state", ["failed", "superseded"])
def test_a_deployment_that_did_not_succeed_ends_with_76(overseer: Overseer, tmp_path: Path, state: str) -> None:
    with scripted_server(_script(state, error="web is unhealthy", output="line \x1b[1mone\nline two")) as server:
        ended = overseer("deploy", _stack(tmp_path), "--app", "shop", "--node", "local", url=server.url)
    assert ended.code == 76
    assert "  line two" in ended.err
    assert "\x1b" not in ended.err
    assert f"deployment d {state}: web is unhealthy" in ended.err


def test_json_goes_to_stdout_alone_even_on_failure(overseer: Overseer, tmp_path: Path) -> None:
    with scripted_server(_script("failed")) as server:
        ended = overseer("deploy", _stack(tmp_path), "--app", "shop", "--node", "local", "--json", url=server.url)
    assert ended.code == 76
    assert json.loads(ended.out)["state"] == "failed"


def test_a_stored_bundle_and_detached(overseer: Overseer) -> None:
    with scripted_server(_script()) as server:
        ended = overseer("deploy", "--bundle", "e" * 64, "--app", "shop", "--node", "local", "--detach", url=server.url)
    assert ended.code == 0
    (asked,) = server.asked
    assert asked.json["bundle"] == "e" * 64


def test_undeploy(overseer: Overseer) -> None:
    with scripted_server(_script("succeeded")) as server:
        assert overseer("undeploy", "--app", "shop", "--node", "local", url=server.url).code == 0
    assert server.asked[0].json["action"] == "undeploy"
    assert server.asked[0].json["bundle"] is None


@pytest.mark.parametrize(
    "arguments",
    [(), ("--bundle", "x", "-f", "y"), ("--bundle", "x", "--var", "A=b")],
    ids=["neither", "bundle and file", "bundle and var"],
)
def test_a_project_or_a_bundle(overseer: Overseer, arguments: tuple[str, ...]) -> None:
    assert overseer("deploy", *arguments, "--app", "a", "--node", "n").code == 2


def test_a_deployment_is_shown_with_everything(overseer: Overseer) -> None:
    services = [{"service": "web", "container_id": "abcdefabcdef99", "state": "running", "health": "healthy", "exit_code": None}]
    body = {**deployment("failed"), "references": [_reference(None)], "services": services, "error": "broken", "output": "out"}
    with scripted_server(lambda asked: Reply(body=body)) as server:
        shown = overseer("deployment", "show", "d", url=server.url)
        listed = overseer("deployment", "list", url=server.url)
    assert "not reported" in shown.text
    assert "abcdefabcdef" in shown.text
    assert "error: broken" in shown.text
    assert listed.code in {65, 78}  # this script answers a list with no page


def _refusal(status: int, code: str, detail: str, problems: list[dict[str, str]]) -> Reply:
    more = {"type": f"urn:overseer:error:{code}", "title": "No", "status": status, "request_id": "r"}
    return Reply(status, {**more, "code": code, "detail": detail, "problems": problems}, media_type="application/problem+json")


def test_what_no_server_could_allow_is_told_with_what_the_server_knows_and_nothing_is_stored(
    overseer: Overseer, tmp_path: Path
) -> None:
    text = "    labels: {a: '${SECRET:a}'}\n    ports: ['${SECRET:b}']\n    hostname: ${SECRET: c}\n"
    (tmp_path / "compose.yaml").write_text(f"services:\n  web:\n    image: x\n{text}")
    command = ["deploy", str(tmp_path), "--app", "shop", "--node", "local"]
    missing = [{"place": "compose.yaml:4:18", "rule": 'secret "a" does not exist', "code": "missing"}]
    replies = [_refusal(400, "references_refused", "no", missing), _refusal(404, "unavailable", "there is none", [])]
    with scripted_server(lambda asked: replies.pop(0)) as server:
        ended = overseer(*command, url=server.url)
        allowed = overseer(*command, "--allow-persisting", url=server.url)
        assert [(one.path, one.json["deploying"]) for one in server.asked] == [("/api/plans", True)] * 2
    assert (ended.code, ended.out) == (65, b"")
    places = [line.split(": ")[0] for line in ended.err.splitlines()[1:]]
    assert places == ["compose.yaml:4:18", "compose.yaml:4:18", "compose.yaml:5:14", "compose.yaml:6:15"]
    assert 'compose.yaml:4:18: secret "a" does not exist' in ended.err.splitlines()
    first, _, *rest = allowed.err.splitlines()
    assert first == "whether secrets are missing, too, is not known: there is none"
    assert [line.split(": ")[0] for line in rest] == places[2:]


@pytest.mark.parametrize(
    ("last_seen_at", "said"),
    [
        ("2026-01-01T11:48:00Z", "node local was last seen 12 minutes ago (2026-01-01 11:48:00Z)"),
        ("2025-12-29T12:00:00Z", "node local was last seen 3 days ago"),
        (None, "node local was never seen"),
        ("2026-01-01T11:59:40Z", ""),
    ],
)
def test_it_is_said_whose_agent_is_away(overseer: Overseer, last_seen_at: str | None, said: str) -> None:
    answer = _script("succeeded")

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/api/nodes/"):
            return Reply(body=_node(last_seen_at))
        if asked.method == "POST":
            return Reply(201, {**deployment("queued"), "created_at": "2026-01-01T12:00:00Z"})
        reply: Reply = answer(asked)
        return reply

    with scripted_server(script) as server:
        ended = overseer("deploy", "--bundle", "d" * 64, "--app", "shop", "--node", "local", url=server.url)
    assert ended.code == 0
    assert said in ended.err
    assert ("node local was" in ended.err) == bool(said)


def test_who_may_not_see_nodes_deploys_all_the_same_and_asks_once(overseer: Overseer) -> None:
    answer = _script("queued", "queued", "succeeded")
    asked_for: list[str] = []

    def script(asked: Asked) -> Reply:
        if asked.path.startswith("/api/nodes/"):
            asked_for.append(asked.path)
            return problem("denied", 403)
        reply: Reply = answer(asked)
        return reply

    with scripted_server(script) as server:
        assert overseer("deploy", "--bundle", "d" * 64, "--app", "shop", "--node", "local", url=server.url).code == 0
    assert asked_for == ["/api/nodes/local"]
