"""Lengths of time in words."""

from __future__ import annotations

import pytest

from overseer.core.durations import span


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (1.6, "2 seconds"),
        (90, "90 seconds"),
        (300, "5 minutes"),
        (3600, "1 hour"),
        (5400, "90 minutes"),
        (172_800, "2 days"),
    ],
)
def test_the_largest_unit_that_divides_them(seconds: float, said: str) -> None:
    assert span(seconds) == said
