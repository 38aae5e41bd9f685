"""Times, sizes and ages in words."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from overseer.server.web.amounts import ago, size, span

NOW = datetime(2027, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 seconds"), (1, "1 second"), (90, "90 seconds"), (300, "5 minutes"), (3600, "1 hour"), (604_800, "7 days")],
)
def test_a_span_is_exact(seconds: int, words: str) -> None:
    assert span(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1_572_864, "1.5 MiB"), (2**30, "1.0 GiB"), (2**52, "4096.0 TiB")],
)
def test_a_size_has_a_binary_prefix(count: int, words: str) -> None:
    assert size(count) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (3, "now"),
        (-3, "now"),
        (59, "59 seconds ago"),
        (61, "1 minute ago"),
        (7_200, "2 hours ago"),
        (100_000, "1 day ago"),
        (-80, "in 1 minute"),
        (-2_591_940, "in 30 days"),
        (-2_592_000, "in 30 days"),
    ],
)
def test_an_age_is_rounded_down_and_what_comes_to_the_nearest(seconds: int, words: str) -> None:
    assert ago(NOW - timedelta(seconds=seconds), NOW) == words
