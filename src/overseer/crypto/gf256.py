"""The field GF(2^8) of AES: polynomials over two elements modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, section 4.2).

Guarantee: :func:`scale` and :func:`multiply` do the same steps whatever the *data* is: no table is indexed by it and no branch
is taken on it, so neither the cache nor the branch predictor can tell it. The *scalars* of sharing are the numbers of shares,
which are public. (Python's integers are not constant-time to the last cycle: their length in digits shows. A vector here keeps
its length but for leading zero bytes.)

What it will not do: be fast for long data. It shares keys of 32 bytes.
"""

from __future__ import annotations

from typing import Final

_REDUCTION: Final = 0x1B  # x^8 = x^4 + x^3 + x + 1


def multiply(a: int, b: int) -> int:
    """The product of two elements (0 to 255)."""
    return scale(a, b, 1)


def inverse(a: int) -> int:
    """The element whose product with ``a`` is 1, as a^254. ZeroDivisionError for 0."""
    if a == 0:
        raise ZeroDivisionError("0 has no inverse")
    result = 1
    for bit in (1, 1, 1, 1, 1, 1, 1, 0):  # 254 in binary
        result = multiply(result, result)
        if bit:
            result = multiply(result, a)
    return result


def scale(vector: int, scalar: int, size: int) -> int:
    """Each of the ``size`` bytes of ``vector`` (a big-endian integer) times ``scalar`` (0 to 255), all at once.

    Multiplication by shifting and adding, on all bytes in one integer: ``low`` are the bits that stay inside their byte when
    they are shifted, ``top`` the ones that would leave it and are reduced instead.
    """
    ones = int.from_bytes(b"\x01" * size, "big")
    low = ones * 0x7F
    result = 0
    for bit in range(8):
        result ^= vector * (scalar >> bit & 1)
        top = vector >> 7 & ones
        vector = (vector & low) << 1 ^ top * _REDUCTION
    return result
