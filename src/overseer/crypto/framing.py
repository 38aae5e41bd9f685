"""Length-prefixed byte strings: the one encoding of everything that is authenticated, signed or hashed here.

Guarantee: ``frame`` is injective. Each field is preceded by its length (4 bytes, big-endian), so no two different sequences of
fields give the same bytes, and ``frame(a, b) == frame(a) + frame(b)``. The first field of every use is a label that says what
the bytes are for (domain separation), so a signature or tag made for one purpose is never valid for another.
"""

from __future__ import annotations


def frame(*fields: bytes) -> bytes:
    """``fields``, each with its length in front. A field has less than 2^32 bytes (else OverflowError)."""
    return b"".join([len(field).to_bytes(4, "big") + field for field in fields])


def unframe(data: bytes, count: int) -> tuple[bytes, ...]:
    """The exactly ``count`` fields of ``data``; ValueError where it is not a frame of that many."""
    fields = []
    at = 0
    for _ in range(count):
        start = at + 4
        end = start + int.from_bytes(data[at:start], "big")
        if start > len(data) or end > len(data):
            raise ValueError("a frame ends too early")
        fields.append(data[start:end])
        at = end
    if at != len(data):
        raise ValueError("a frame has bytes after its last field")
    return tuple(fields)


def unsigned(number: int) -> bytes:
    """A number of 0 to 2^64 - 1 as 8 bytes, big-endian; OverflowError outside."""
    return number.to_bytes(8, "big")
