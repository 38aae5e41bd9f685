"""The rotation policy: a small, strict shape."""

from __future__ import annotations

from typing import Any

import pytest

from overseer.core.errors import InvalidInput
from overseer.core.rotation_policy import RotationPolicy


@pytest.mark.parametrize(
    ("fields", "stored"),
    [
        ({"generate": "hex"}, {"generate": "hex:32"}),
        ({"interval_days": 30}, {"interval_days": 30}),
        ({"generate": "password:20", "interval_days": 1}, {"generate": "password:20", "interval_days": 1}),
    ],
)
def test_stored_form(fields: dict[str, Any], stored: dict[str, Any]) -> None:
    policy = RotationPolicy.parse(fields)
    assert policy.to_fields() == stored
    assert RotationPolicy.parse(stored) == policy


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"generate": None},
        {"generate": 7},
        {"generate": "nonsense"},
        {"interval_days": 0},
        {"interval_days": 3651},
        {"interval_days": True},
        {"interval_days": "30"},
        {"interval_days": None},
        {"interval_days": 30.0},
        {"interval_days": 30, "hunter2": 1},
    ],
)
def test_anything_else_is_refused_without_being_repeated(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        RotationPolicy.parse(fields)
    assert "hunter2" not in str(caught.value)
    assert caught.value.problems
