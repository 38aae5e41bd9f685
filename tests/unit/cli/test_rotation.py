"""What people read about a schedule, whose next time the leader works out within seconds of a change."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from overseer.cli.commands.rotation import _due
from overseer.wire.rotations import RotationView
from overseer.wire.secrets import ScopeView

THEN = datetime(2026, 12, 1, 3, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("policy", "due_at", "text"),
    [
        ({"interval_days": 30}, THEN, "2026-12-01 03:00:00Z"),
        ({"cron": "0 3 1 * *"}, None, "worked out within seconds"),
        ({"generate": "hex:32"}, None, "on request"),
        (None, THEN, "on request"),  # the schedule was taken away a moment ago
    ],
)
def test_due(policy: dict[str, Any] | None, due_at: datetime | None, text: str) -> None:
    def view(paused: bool) -> RotationView:
        return RotationView(
            secret_id="s", name="n", scope=ScopeView(app="shop", environment=None, node=None), policy=policy, due_at=due_at,
            paused=paused, rotator=None, set_by=None, policy_set_by=None, stopped="", newest_run=None,
        )  # fmt: skip

    assert _due(view(False)).startswith(text)
    assert _due(view(True)) == f"{_due(view(False))} (paused)"
