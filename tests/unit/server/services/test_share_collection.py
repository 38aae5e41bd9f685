"""Shares that come in: one set, each number once, forgotten in time."""

from __future__ import annotations

from overseer.crypto.keys import Key
from overseer.crypto.shares import split
from overseer.server.services.share_collection import KEEP_SECONDS, Collected, ShareBox

KEY = Key(bytes(range(32)))


class Clock:
    """Monotonic seconds that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_enough_different_shares_give_the_key() -> None:
    box, shares = ShareBox(), split(KEY, 3, 5)
    assert box.give(shares[4]) == Collected(1)
    assert box.give(shares[4]) == Collected(1)
    assert box.give(shares[0]) == Collected(2)
    complete = box.give(shares[2])
    assert complete.given == 3
    assert complete.root_key is not None
    assert complete.root_key.reveal() == KEY.reveal()
    assert KEY.reveal().hex() not in repr(complete)


def test_they_stay_until_they_are_forgotten_so_that_a_failed_unseal_can_be_tried_again() -> None:
    box, shares = ShareBox(), split(KEY, 2, 3)
    box.give(shares[0])
    assert box.give(shares[1]).root_key is not None
    assert box.give(shares[1]).root_key is not None
    box.forget()
    assert box.given() == 0


def test_anew_and_another_set_forget_the_others() -> None:
    box, shares, newer = ShareBox(), split(KEY, 3, 5), split(KEY, 3, 5)
    box.give(shares[0])
    box.give(shares[1])
    assert box.give(shares[2], anew=True) == Collected(1)
    assert box.give(newer[0]) == Collected(1)
    assert box.give(newer[1]) == Collected(2)


def test_they_are_forgotten_in_time() -> None:
    clock = Clock()
    box, shares = ShareBox(clock), split(KEY, 3, 5)
    box.give(shares[0])
    clock.now = KEEP_SECONDS - 1
    assert box.give(shares[1]) == Collected(2)
    clock.now += KEEP_SECONDS - 1
    assert box.given() == 2
    clock.now += 1
    assert box.given() == 0
    assert box.give(shares[2]) == Collected(1)
