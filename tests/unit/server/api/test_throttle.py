"""Only failures cost, guessing from one address ends soon, and a good token is not locked out by it."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from overseer.core.errors import NotReady, RateLimited
from overseer.server.api.throttle import FAILURES_BURST, FAILURES_PER_SECOND, LARGE_AT_A_TIME, MAX_PEERS, Throttle

GOOD, BAD = b"g" * 32, b"b" * 32


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def guess(throttle: Throttle, peer: str, times: int) -> None:
    for _ in range(times):
        throttle.admit(peer, BAD)
        throttle.failed(BAD)


def test_failures_run_out_and_come_back() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    guess(throttle, "192.0.2.1", FAILURES_BURST)
    with pytest.raises(RateLimited) as caught:
        throttle.admit("192.0.2.1", None)
    assert caught.value.retry_after == 1
    throttle.admit("192.0.2.2", None)
    clock.now += 1
    guess(throttle, "192.0.2.1", int(FAILURES_PER_SECOND))
    with pytest.raises(RateLimited):
        throttle.admit("192.0.2.1", None)


def test_success_costs_nothing_and_frees_the_token() -> None:
    clock = Clock()
    throttle = Throttle(clock)
    for _ in range(10 * FAILURES_BURST):
        throttle.admit("192.0.2.1", GOOD)
        throttle.passed("192.0.2.1", GOOD, authenticated=True)
    guess(throttle, "192.0.2.1", FAILURES_BURST)
    throttle.admit("192.0.2.1", GOOD)
    with pytest.raises(RateLimited):
        throttle.admit("192.0.2.1", BAD)
    throttle.failed(GOOD)  # revoked
    with pytest.raises(RateLimited):
        throttle.admit("192.0.2.1", GOOD)


def test_an_open_route_frees_no_token() -> None:
    throttle = Throttle(Clock())
    throttle.admit("192.0.2.1", BAD)
    throttle.passed("192.0.2.1", BAD, authenticated=False)
    guess(throttle, "192.0.2.1", FAILURES_BURST)
    with pytest.raises(RateLimited):
        throttle.admit("192.0.2.1", BAD)


def test_an_ipv6_network_is_one_peer() -> None:
    throttle = Throttle(Clock())
    for number in range(FAILURES_BURST):
        guess(throttle, f"2001:db8:0:1::{number:x}", 1)
    with pytest.raises(RateLimited):
        throttle.admit("2001:db8:0:1:ffff::1", None)
    throttle.admit("2001:db8:0:2::1", None)


def test_large_bodies_of_strangers_are_few_at_a_time() -> None:
    throttle = Throttle(Clock())
    throttle.admit("192.0.2.1", GOOD)
    throttle.passed("192.0.2.1", GOOD, authenticated=True)
    with ExitStack() as held:
        for _ in range(LARGE_AT_A_TIME):
            held.enter_context(throttle.large_body(BAD))
        with pytest.raises(NotReady), throttle.large_body(None):
            pass
        for _ in range(3 * LARGE_AT_A_TIME):
            held.enter_context(throttle.large_body(GOOD))
    with throttle.large_body(BAD):
        pass


def test_memory_is_bounded() -> None:
    throttle = Throttle(Clock())
    for number in range(MAX_PEERS + 50):
        guess(throttle, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", 1)
    assert len(throttle._peers) == MAX_PEERS
