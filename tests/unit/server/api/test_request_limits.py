"""What one credential may have going at once and in a second; others are not touched by it."""

from __future__ import annotations

from contextlib import ExitStack
from uuid import UUID

import pytest

from overseer.core.errors import RateLimited
from overseer.server.api.request_limits import MAX_KEYS, Limits, RequestLimits
from overseer.server.api.throttle import Throttle
from overseer.server.services.token_holders import MAX_TOKENS, TokenHolders
from tests.unit.server.api.test_throttle import Clock

ONE, OTHER = b"1" * 32, b"2" * 32


def test_a_burst_of_long_polls_leaves_room_for_requests_and_for_others() -> None:
    limits = RequestLimits(Limits(in_flight=8, per_second=0))
    with ExitStack() as held:
        for _ in range(2):
            held.enter_context(limits.take(ONE, waits=True))
        with pytest.raises(RateLimited) as refused, limits.take(ONE, waits=True):
            raise AssertionError
        assert refused.value.retry_after == 1
        for _ in range(6):
            held.enter_context(limits.take(ONE, waits=False))
        with pytest.raises(RateLimited), limits.take(ONE, waits=False):
            raise AssertionError
        with limits.take(OTHER, waits=True):
            pass
    with limits.take(ONE, waits=True), limits.take(ONE, waits=True):  # every place came back
        pass


def test_a_place_comes_back_whatever_ends_its_request() -> None:
    limits = RequestLimits(Limits(in_flight=4, per_second=0))
    for _ in range(20):
        with pytest.raises(ZeroDivisionError), limits.take(ONE, waits=True):
            raise ZeroDivisionError


def test_the_rate_is_a_bucket_of_two_seconds() -> None:
    clock = Clock()
    limits = RequestLimits(Limits(in_flight=4, per_second=10), clock)

    def taken(key: bytes) -> int:
        for count in range(100):
            try:
                with limits.take(key, waits=False):
                    pass
            except RateLimited:
                return count
        return 100

    assert taken(ONE) == 20
    assert taken(OTHER) == 20
    clock.now += 0.5
    assert taken(ONE) == 5


def test_a_flood_of_keys_stays_within_its_memory_and_frees_no_place_that_is_held() -> None:
    limits = RequestLimits(Limits(in_flight=4, per_second=0))
    with ExitStack() as held:
        for _ in range(4):
            held.enter_context(limits.take(ONE, waits=False))
        for number in range(MAX_KEYS + 50):
            with limits.take(f"peer {number}", waits=False):
                pass
        with pytest.raises(RateLimited), limits.take(ONE, waits=False):
            raise AssertionError
    assert len(limits._uses) <= MAX_KEYS


def test_made_up_tokens_count_for_their_peer_and_good_ones_for_themselves() -> None:
    throttle = Throttle(Clock())
    assert throttle.holder("192.0.2.1", ONE) == throttle.holder("192.0.2.1", OTHER) == throttle.holder("192.0.2.1", None)
    assert throttle.holder("2001:db8::1", None) == throttle.holder("2001:db8::2", None)
    throttle.admit("192.0.2.1", ONE)
    throttle.passed("192.0.2.1", ONE, authenticated=True)
    assert throttle.holder("192.0.2.1", ONE) == ONE


def test_the_tokens_of_one_principal_share_its_places() -> None:
    """Long polls of a node under twenty tokens are one node's; who is not known to the gate yet counts for the token."""
    holders = TokenHolders()
    throttle, limits = Throttle(Clock(), holders=holders), RequestLimits(Limits(in_flight=8, per_second=0))
    tokens, principal = [bytes([number]) * 32 for number in range(20)], UUID(int=7)
    for token in tokens:
        throttle.admit("192.0.2.1", token)
        holders.learn(token, principal)
        throttle.passed("192.0.2.1", token, authenticated=True)
    with ExitStack() as held:
        for token in tokens[:2]:
            held.enter_context(limits.take(throttle.holder("192.0.2.1", token), waits=True))
        with pytest.raises(RateLimited), limits.take(throttle.holder("192.0.2.2", tokens[2]), waits=True):
            raise AssertionError
    throttle.failed(tokens[0])  # revoked: it is whoever sends it
    assert throttle.holder("192.0.2.1", tokens[0]) == "192.0.2.1"
    assert throttle.holder("192.0.2.1", tokens[1]) == principal


def test_what_is_remembered_of_tokens_is_bounded() -> None:
    holders = TokenHolders()
    for number in range(MAX_TOKENS + 10):
        holders.learn(number.to_bytes(32), UUID(int=number))
    assert len(holders._principals) == MAX_TOKENS
    assert holders.of((0).to_bytes(32)) is None
    assert holders.of((MAX_TOKENS).to_bytes(32)) == UUID(int=MAX_TOKENS)
