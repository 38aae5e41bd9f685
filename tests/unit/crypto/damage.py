"""Ways to damage a stored blob, each of which must be refused."""

from __future__ import annotations

from collections.abc import Iterator


def flipped_bits(blob: bytes) -> Iterator[bytes]:
    """``blob`` with each single bit flipped in turn."""
    for at in range(len(blob) * 8):
        damaged = bytearray(blob)
        damaged[at // 8] ^= 1 << at % 8
        yield bytes(damaged)


def cut_or_grown(blob: bytes) -> Iterator[bytes]:
    """``blob`` cut at each length, and with a byte more at either end."""
    for length in range(len(blob)):
        yield blob[:length]
    yield blob + b"\0"
    yield b"\0" + blob
