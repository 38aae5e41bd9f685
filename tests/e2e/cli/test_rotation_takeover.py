"""A schedule is set again as it is, in the name of whoever sets it."""

from __future__ import annotations

import json

import pytest

from tests.e2e.cli.conftest import Overseer

pytestmark = [pytest.mark.postgres]


def test_what_is_set_is_set_again_unchanged(overseer: Overseer) -> None:
    overseer("secret", "set", "taken-over", "--stdin", stdin=b"first")
    overseer("rotation", "set", "taken-over", "--again", code=2)  # nothing is set yet
    made = json.loads(overseer("rotation", "set", "taken-over", "--every", "30", "--grace", "2", "--json").stdout)
    again = json.loads(overseer("rotation", "set", "taken-over", "--again", "--json").stdout)
    assert again["policy"] == made["policy"] == {"interval_days": 30, "grace_days": 2}
    assert (again["policy_set_by"], again["stopped"]) == ("owner", "")
    listed = overseer("rotation", "list").stdout.decode()
    assert "SET BY" in listed
    assert "owner" in listed
    overseer("secret", "delete", "taken-over", "--yes")
