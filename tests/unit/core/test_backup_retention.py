"""Which backups stay."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from overseer.core.backup_retention import Retention

START = datetime(2026, 3, 2, 3, 15, tzinfo=UTC)  # a Monday


def kept(retention: Retention, made: list[datetime]) -> list[datetime]:
    gone = set(retention.to_remove(made))
    return [at for index, at in enumerate(made) if index not in gone]


def test_the_last_of_them_stay_in_whatever_order_they_are_given() -> None:
    made = [START + timedelta(hours=hour) for hour in (3, 1, 2, 0)]
    assert sorted(kept(Retention(last=2), made)) == [START + timedelta(hours=2), START + timedelta(hours=3)]


def test_the_newest_of_each_day_and_week_stays() -> None:
    made = [START + timedelta(days=day, hours=hour) for day in range(21) for hour in (0, 6)]
    assert kept(Retention(daily=3), made) == [START + timedelta(days=day, hours=6) for day in (18, 19, 20)]
    assert kept(Retention(weekly=2), made) == [START + timedelta(days=day, hours=6) for day in (13, 20)]
    together = kept(Retention(last=1, daily=2, weekly=3), made)
    assert together == [START + timedelta(days=day, hours=6) for day in (6, 13, 19, 20)]


def test_days_without_a_backup_do_not_count() -> None:
    made = [START, START + timedelta(days=100)]
    assert kept(Retention(daily=2), made) == made


@given(st.lists(st.integers(0, 9000).map(lambda hours: START + timedelta(hours=hours))), st.integers(0, 3))
def test_the_newest_always_stays_and_nothing_goes_without_a_rule(made: list[datetime], count: int) -> None:
    assert Retention().to_remove(made) == []
    for retention in (Retention(last=count), Retention(daily=count), Retention(weekly=count)):
        left = kept(retention, made)
        assert not made or max(made) in left
