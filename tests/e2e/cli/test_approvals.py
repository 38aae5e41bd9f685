"""The commands of approvals, by two people: what the guide says, done against a server that runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.e2e.cli.conftest import Overseer
from tests.e2e.cli.test_people import PASSWORD, invited

pytestmark = [pytest.mark.postgres]

#: Whoever asks here has made who approves, a moment before.
NEAR = ("--distance", "0")


def told(done: Any) -> Any:
    return json.loads(done.stdout)


@pytest.fixture
def ann(overseer: Overseer, tmp_path: Path) -> Overseer:
    """Another owner, who is logged in."""
    name = f"ann-{uuid4().hex[:6]}"
    person = invited(overseer, tmp_path, name)
    everywhere = ("--app", "*", "--env", "*", "--node", "*", "--name", "*")
    overseer("binding", "create", name, "owner", *everywhere)
    person("login", "--user", name, "--stdin", stdin=f"{PASSWORD}\n".encode())
    return person


def test_a_value_waits_for_another_person(overseer: Overseer, ann: Overseer) -> None:
    name = f"guarded-{uuid4().hex[:6]}"
    overseer("secret", "set", name, "--stdin", stdin=b"hush")
    anywhere = ("--app", "*", "--env", "*", "--node", "*")
    overseer("approval-policy", "create", name, "--action", "reveal", "--action", "delete", *NEAR, *anywhere, "--name", name)
    refused = overseer("secret", "get", name, code=77)
    assert (refused.stdout, b"overseer approval request" in refused.stderr) == (b"", True)
    asked = overseer("secret", "get", name, "--ask", "ticket 4711", code=77)
    assert asked.stdout == b""
    [mine] = [one for one in told(overseer("approval", "list", "--mine", "--json")) if one["name"] == name]
    assert (mine["action"], mine["state"], mine["reason"]) == ("reveal", "pending", "ticket 4711")
    assert b"asked for already" in overseer("secret", "get", name, "--ask", "again", code=77).stderr
    overseer("approval", "approve", mine["id"], code=77)
    assert name.encode() in ann("approval", "list", "--inbox").stdout
    assert b"ticket 4711" in ann("approval", "show", mine["id"]).stdout
    ann("approval", "approve", mine["id"], "--comment", "seen")
    assert overseer("secret", "get", name, "--approval", mine["id"]).stdout == b"hush"
    assert b"is used" in overseer("secret", "get", name, "--approval", mine["id"], code=75).stderr


def test_requests_are_refused_and_withdrawn_and_policies_change(overseer: Overseer, ann: Overseer) -> None:
    name = f"kept-{uuid4().hex[:6]}"
    overseer("secret", "set", name, "--stdin", stdin=b"hush")
    anywhere = ("--app", "*", "--env", "*", "--node", "*")
    overseer("approval-policy", "create", name, "--action", "delete", *NEAR, *anywhere, "--name", name, "--approvers", "2")
    asked = told(overseer("approval", "request", "delete", name, "--reason", "not used", "--json"))
    assert asked["approvers"] == 2
    assert told(ann("approval", "refuse", asked["id"], "--json"))["state"] == "refused"
    assert b"is refused" in overseer("secret", "delete", name, "--yes", "--approval", asked["id"], code=75).stderr
    again = told(overseer("approval", "request", "delete", name, "--reason", "not used", "--json"))
    assert told(overseer("approval", "withdraw", again["id"], "--json"))["state"] == "withdrawn"
    changed = told(overseer("approval-policy", "update", name, "--approvers", "1", "--lives", "10m", "--json"))
    assert (changed["approvers"], changed["lives_seconds"]) == (1, 600)
    third = told(overseer("approval", "request", "delete", name, "--reason", "not used", "--json"))
    ann("approval", "approve", third["id"])
    overseer("secret", "delete", name, "--yes")
    assert name.encode() in overseer("approval-policy", "list").stdout
    assert told(overseer("approval-policy", "show", name, "--json"))["actions"] == ["delete"]
    overseer("approval-policy", "delete", name, "--yes")
    overseer("approval-policy", "show", name, code=66)
