from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from overseer.cli.options import Connection
from tests.unit.cli.conftest import Overseer
from tests.unit.client.scripted_server import Reply, problem, scripted_server
from tests.unit.client.test_api import NOW

BINDING = {
    "id": "b",
    "principal": "ci",
    "principal_id": "p",
    "role": "viewer",
    "app": "*",
    "environment": "-",
    "node": "*",
    "name": "db-*",
    "expires_at": None,
    "created_at": NOW,
}
ME: dict[str, Any] = {
    "id": "p",
    "kind": "service_account",
    "name": "ci",
    "token_id": "t",
    "token_expires_at": NOW,
    "bindings": [BINDING],
}


def test_a_login_is_checked_kept_used_and_forgotten(overseer: Overseer, tmp_path: Path, monkeypatch: Any) -> None:
    token_file = tmp_path / "owner-token"
    token_file.write_text("ovs_canary\n")
    monkeypatch.delenv("OVERSEER_TOKEN")
    with scripted_server(lambda asked: Reply(body=ME)) as server:
        ended = overseer("login", server.url, "--token-file", str(token_file))
        assert ended.code == 0
        assert ended.out == b""
        assert "as ci" in ended.err
        assert "canary" not in ended.err
        shown = overseer("whoami", url=server.url)
        assert "viewer" in shown.text
        assert json.loads(overseer("whoami", "--json", url=server.url).out)["name"] == "ci"
        assert overseer("logout").code == 0
        assert overseer("whoami", url=server.url).code == 77
    assert all(asked.headers["authorization"] == "Bearer ovs_canary" for asked in server.asked)
    assert len(server.asked) == 3


def test_a_token_that_does_not_work_is_not_kept(overseer: Overseer, tmp_path: Path) -> None:
    with scripted_server(problem("unauthenticated", 401, "unknown token")) as server:
        assert overseer("login", server.url, "--stdin", stdin=b"ovs_bad\n").code == 77
    assert not (tmp_path / "config/overseer/login.json").exists()


def test_plain_http_elsewhere_is_refused_before_the_token_is_read(overseer: Overseer) -> None:
    assert overseer("login", "http://overseer.example.org", "--token-file", "/nonexistent").code == 78


def test_what_needs_no_token_asks_the_server_of_the_login_and_keeps_its_token(
    overseer: Overseer, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.delenv("OVERSEER_TOKEN")
    token_file = tmp_path / "owner-token"
    token_file.write_text("ovs_canary\n")
    with scripted_server(lambda asked: Reply(body=ME)) as server:
        assert overseer("login", server.url, "--token-file", str(token_file)).code == 0
        server.asked.clear()
        assert Connection().place() == (server.url, None)
        assert Connection("https://elsewhere.example.org").place() == ("https://elsewhere.example.org", None)
        with Connection().open_client() as client:
            client.http.request("GET", "/api/health/live")
    assert [asked.headers.get("authorization") for asked in server.asked] == [None]
    monkeypatch.setenv("OVERSEER_URL", "https://another.example.org")
    assert Connection().place() == ("https://another.example.org", None)
