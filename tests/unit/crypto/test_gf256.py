"""GF(2^8), exhaustively: all products, all inverses, and the axioms of a field."""

from __future__ import annotations

import itertools
import random

import pytest

from overseer.crypto.gf256 import inverse, multiply, scale


def slow_product(a: int, b: int) -> int:
    """Polynomial multiplication and long division, as a schoolbook has it: another way to the same answer."""
    product = 0
    for bit in range(8):
        if b >> bit & 1:
            product ^= a << bit
    for bit in range(15, 7, -1):
        if product >> bit & 1:
            product ^= 0x11B << (bit - 8)
    return product


PRODUCTS = [[multiply(a, b) for b in range(256)] for a in range(256)]


def test_every_product_is_the_schoolbooks() -> None:
    assert [[slow_product(a, b) for b in range(256)] for a in range(256)] == PRODUCTS


def test_multiplication_commutes_has_a_one_and_a_zero_and_stays_inside() -> None:
    for a in range(256):
        assert PRODUCTS[a][1] == a
        assert PRODUCTS[a][0] == 0
        assert all(PRODUCTS[a][b] == PRODUCTS[b][a] for b in range(256))
        assert all(0 <= product < 256 for product in PRODUCTS[a])


def test_no_two_others_give_zero_and_every_row_is_a_permutation() -> None:
    assert all(sorted(PRODUCTS[a]) == list(range(256)) for a in range(1, 256))


def test_multiplication_distributes_over_addition_for_all_pairs_and_each_bit() -> None:
    """Addition is XOR and every element is a XOR of powers of x, so the powers are enough for the third operand."""
    for a, b in itertools.product(range(256), repeat=2):
        for power in (1 << bit for bit in range(8)):
            assert PRODUCTS[a][b ^ power] == PRODUCTS[a][b] ^ PRODUCTS[a][power]


def test_multiplication_associates() -> None:
    """By distribution it is enough that the powers of x associate with all pairs."""
    for a, b in itertools.product(range(256), repeat=2):
        for power in (1 << bit for bit in range(8)):
            assert PRODUCTS[PRODUCTS[a][b]][power] == PRODUCTS[a][PRODUCTS[b][power]]


def test_every_inverse() -> None:
    assert all(PRODUCTS[a][inverse(a)] == 1 for a in range(1, 256))
    with pytest.raises(ZeroDivisionError):
        inverse(0)


def test_a_vector_is_scaled_byte_by_byte() -> None:
    source = random.Random(7)  # noqa: S311 - test data
    for scalar in range(256):
        data = bytes(source.randrange(256) for _ in range(32))
        scaled = scale(int.from_bytes(data, "big"), scalar, 32).to_bytes(32, "big")
        assert scaled == bytes(PRODUCTS[byte][scalar] for byte in data)
